"""What the catalogue says of the due backups, and which of them are restored. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice

from domain.backups import Level, spoken_bytes
from domain.durations import spoken
from domain.entries import Entry
from domain.jobs import WORK
from domain.stack import Stack
from domain.verification import ARCHIVED_FOR, Checked, Looked, Pick
from domain.verification_due import MADE_BY, Due, Place

_LEAST_SHARE = 0.5
_AHEAD = timedelta(days=1)
"""A backup dated later than so far ahead was taken by a clock that cannot be believed."""


def look(due: Iterable[Due], entries: Sequence[Entry], *, as_of: datetime) -> list[Checked]:
    """Judge by the catalogue whether every due backup is there, fresh and of the right size."""
    kept = _by_place(entries)
    found: list[Checked] = []
    for one in due:
        alike = kept.get(one.place, [])
        if not alike and one.optional and not _given(one, kept):
            continue
        found += _looked_at(one, alike, as_of, _ended_by(one, kept))
    return found + _foreign(kept)


def unprotected(stack: Stack) -> list[Checked]:
    """Return a failure for each service that nothing backs up, because another one of its kind is.

    What ``backup.leave_out`` names is meant so.
    """
    found: list[Checked] = []
    for job, places in MADE_BY.items():
        kind = WORK[job].needs
        if not kind or stack.backup.timing(job) is None:
            continue
        alike = (name for name, service in stack.services.items() if service.kind == kind)
        found += [
            Checked(
                what="there",
                store=places[0][0],
                entry_id=name,
                passed=False,
                evidence=f"nothing backs up the service {name}: of kind {kind} only the first one is;"
                " backup.leave_out says that this is meant",
            )
            for name in islice(alike, 1, None)
            if name not in stack.backup.leave_out
        ]
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


def _looked_at(one: Due, alike: list[Entry], as_of: datetime, ended_by: str) -> list[Checked]:
    if not alike:
        said = "the policy wants it, and the shelf holds none"
        return [Checked(what="there", store=one.store, kind=one.kind, passed=False, evidence=said)]
    newest = alike[0]
    return [
        _check("there", newest, passed=True, evidence=f"{len(alike)} on the shelf"),
        _ended(newest, ended_by) if ended_by else _fresh(one, newest, as_of),
        _sized(newest, alike[1] if len(alike) > 1 else None),
    ]


def _fresh(one: Due, newest: Entry, as_of: datetime) -> Checked:
    due_at = _due_at(newest)
    age = (as_of - due_at).total_seconds()
    passed: bool | None = age <= one.within_seconds
    said = f"{spoken(max(age, 0.0))} old, {spoken(one.within_seconds)} are allowed"
    if as_of < min(due_at, newest.ended_at) - _AHEAD:
        passed, said = False, f"it is dated ahead of the clock: {due_at:%Y-%m-%d %H:%MZ}"
    elif not passed and one.paused_because:
        passed, said = None, f"{said}; paused by the stack file: {one.paused_because}"
    return _check("fresh", newest, passed=passed, evidence=said)


def _ended(newest: Entry, by: str) -> Checked:
    said = f"the last of its kind: by the record of {by} the store keeps none any more"
    return _check("fresh", newest, passed=True, evidence=said)


def _sized(newest: Entry, before: Entry | None) -> Checked:
    said = spoken_bytes(newest.bytes)
    passed = newest.bytes > 0
    if before is not None:
        said = f"{said}, the one before had {spoken_bytes(before.bytes)}"
        if newest.bytes < before.bytes * _LEAST_SHARE:
            passed, said = False, f"suspiciously small: {said}"
    return _check("size", newest, passed=passed, evidence=said if newest.bytes else f"it is empty: {said}")


def _foreign(kept: Mapping[Place, list[Entry]]) -> list[Checked]:
    """Return a failure for each newest dump of another server than the newest base backup is of (F-C7).

    That base backup is the server's own: the archived WAL goes on from it.
    """
    newest = next(iter(kept.get(ARCHIVED_FOR, ())), None)
    mine = newest.source.system_identifier if newest is not None else ""
    dumps = [alike[0] for place, alike in kept.items() if place[0] == ARCHIVED_FOR[0]]
    return [
        _check(
            "there",
            one,
            passed=False,
            evidence=f"it is of system {one.source.system_identifier}, the base backups are of {mine}",
        )
        for one in dumps
        if mine and one.source.system_identifier not in {"", mine}
    ]


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
    return _due_at(entry), entry.ended_at, entry.id


def _due_at(entry: Entry) -> datetime:
    """Return when a backup was due: never later than it began, whatever somebody typed."""
    return min(entry.scheduled_for or entry.started_at, entry.started_at)


def _last_restored(entry: Entry) -> tuple[bool, str, str]:
    at = entry.verified_at if entry.verified is Level.RESTORED else None
    return at is not None, at.isoformat() if at else "", entry.id


def _given(one: Due, kept: Mapping[Place, list[Entry]]) -> bool:
    """Tell whether a store can give an optional kind: its newest other backups say so, if there are any."""
    siblings = [alike[0] for place, alike in kept.items() if place[0] == one.store and place != one.place]
    return not siblings or any(one.kind in sibling.source.also for sibling in siblings)


def _ended_by(one: Due, kept: Mapping[Place, list[Entry]]) -> str:
    """Return which newer backup of the store says that it gives an optional kind no longer, or nothing.

    That backup is judged by its own age; one that was rebuilt knows nothing of the store.
    """
    alike = kept.get(one.place, [])
    siblings = [kin[0] for place, kin in kept.items() if place[0] == one.store and place != one.place]
    if not one.optional or not alike or not siblings:
        return ""
    newest = max(siblings, key=_age_key)
    says = not newest.rebuilt and one.kind not in newest.source.also
    return newest.id if says and newest.ended_at > alike[0].ended_at else ""
