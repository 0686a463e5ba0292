"""What the catalogue says of the due backups, and which of them are restored. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from domain.backups import Level, spoken_bytes
from domain.durations import spoken
from domain.entries import Entry
from domain.verification import Checked, Looked, Pick
from domain.verification_due import Due, Place

_LEAST_SHARE = 0.5
_AHEAD = timedelta(days=1)
"""A backup dated later than so far ahead was taken by a clock that cannot be believed."""


def look(due: Iterable[Due], entries: Sequence[Entry], *, as_of: datetime) -> list[Checked]:
    """Judge by the catalogue whether every due backup is there, fresh and of the right size."""
    kept = _by_place(entries)
    found: list[Checked] = []
    for one in due:
        alike = kept.get(one.place, [])
        if not alike and one.optional and any(kept.get(p) for p in _siblings(one, kept)):
            continue
        found += _looked_at(one, alike, as_of)
    return found


def picked(due: Iterable[Due], entries: Sequence[Entry], seed: int) -> list[Pick]:
    """Return what is restored: the latest of each kind, one by chance, and the oldest in rotation.

    In rotation means: of the oldest ones of all kinds the one whose last restore is longest ago.
    """
    kept = _by_place(entries)
    picks = [Pick(entry=kept[one.place][0], why="the latest") for one in due if kept.get(one.place)]
    taken = {pick.entry.id for pick in picks}
    rest = [entry for entry in entries if entry.id not in taken]
    if rest:
        chosen = rest[seed % len(rest)]
        picks.append(Pick(entry=chosen, why="by chance"))
        taken.add(chosen.id)
    oldest = [alike[-1] for alike in kept.values() if alike[-1].id not in taken]
    if oldest:
        picks.append(Pick(entry=min(oldest, key=_last_restored), why="the oldest"))
    return picks


def _looked_at(one: Due, alike: list[Entry], as_of: datetime) -> list[Checked]:
    if not alike:
        said = "the policy wants it, and the shelf holds none"
        return [Checked(what="there", store=one.store, kind=one.kind, passed=False, evidence=said)]
    newest = alike[0]
    return [
        _check("there", newest, passed=True, evidence=f"{len(alike)} on the shelf"),
        _fresh(one, newest, as_of),
        _sized(newest, alike[1] if len(alike) > 1 else None),
    ]


def _fresh(one: Due, newest: Entry, as_of: datetime) -> Checked:
    due_at = newest.scheduled_for or newest.started_at
    age = (as_of - due_at).total_seconds()
    passed: bool | None = age <= one.within_seconds
    said = f"{spoken(max(age, 0.0))} old, {spoken(one.within_seconds)} are allowed"
    if as_of < min(due_at, newest.ended_at) - _AHEAD:
        passed, said = False, f"it is dated ahead of the clock: {due_at:%Y-%m-%d %H:%MZ}"
    elif not passed and one.paused_because:
        passed, said = None, f"{said}; paused by the stack file: {one.paused_because}"
    return _check("fresh", newest, passed=passed, evidence=said)


def _sized(newest: Entry, before: Entry | None) -> Checked:
    said = spoken_bytes(newest.bytes)
    passed = newest.bytes > 0
    if before is not None:
        said = f"{said}, the one before had {spoken_bytes(before.bytes)}"
        if newest.bytes < before.bytes * _LEAST_SHARE:
            passed, said = False, f"suspiciously small: {said}"
    return _check("size", newest, passed=passed, evidence=said if newest.bytes else f"it is empty: {said}")


def _check(what: Looked, entry: Entry, *, passed: bool | None, evidence: str) -> Checked:
    return Checked(
        what=what, store=entry.store, kind=entry.kind, entry_id=entry.id, passed=passed, evidence=evidence
    )


def _by_place(entries: Iterable[Entry]) -> dict[Place, list[Entry]]:
    """Return the entries of each store and kind, the newest first by the time they were due."""
    found: dict[Place, list[Entry]] = {}
    for entry in sorted(entries, key=_age_key, reverse=True):
        found.setdefault((entry.store, entry.kind), []).append(entry)
    return found


def _age_key(entry: Entry) -> tuple[datetime, datetime, str]:
    return entry.scheduled_for or entry.started_at, entry.ended_at, entry.id


def _last_restored(entry: Entry) -> tuple[bool, str, str]:
    at = entry.verified_at if entry.verified is Level.RESTORED else None
    return at is not None, at.isoformat() if at else "", entry.id


def _siblings(one: Due, kept: Mapping[Place, list[Entry]]) -> list[Place]:
    return [place for place in kept if place[0] == one.store and place != one.place]
