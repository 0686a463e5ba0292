"""What the far side holds, against what should have arrived there. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from domain.durations import spoken
from domain.entries import Entry
from domain.objects_copy import KIND as COPY
from domain.objects_copy import STORE as OBJECTS
from domain.offsite_copies import FarEntry, FetchOrder
from domain.offsite_look import OffsiteList
from domain.verification import ARCHIVED_FOR, Checked

_READ_AT_ONCE = timedelta(days=80)
"""Older copies may lie in an archive class, from which nothing comes back at once."""


class ProveFarOrder(FetchOrder):
    """Fetch one copy into a shelf of its own and compare it; its WAL stays there.

    Of the contents of a copy of objects all are looked for, and as many are fetched as ``sample`` says.
    """

    wal: bool = False
    sample: int | None = 20


def look_far(
    listed: OffsiteList, entries: Sequence[Entry], *, within: timedelta | None, as_of: datetime
) -> list[Checked]:
    """Judge the listing: every kind is there whole, the newest copy is not older than due, all would open.

    ``within`` is how long ago the last copying may have been; ``None`` when none is scheduled.
    """
    whole = [far for far in listed.entries if far.finished]
    if not whole:
        return [Checked(what="far listed", passed=False, evidence="off-site there is no whole copy")]
    found = [_newest(whole, within, as_of)]
    found += [Checked(what="far listed", passed=False, evidence=said) for said in listed.unopened]
    for store, kind in sorted({(entry.store, entry.kind) for entry in entries}):
        alike = [far for far in whole if (far.store, far.kind) == (store, kind)]
        due = _due(entries, store, kind, within, as_of)
        found.append(_of_kind(store, kind, alike, due=due, scheduled=within is not None))
    return found


def far_pick(listed: OffsiteList, seed: int, *, as_of: datetime) -> FarEntry | None:
    """Return the copy that is fetched: drawn by the seed, another one each day."""
    near = [
        far
        for far in listed.entries
        if far.finished and (far.copied_at is None or as_of - far.copied_at < _READ_AT_ONCE)
    ]
    return near[seed % len(near)] if near else None


def _newest(whole: Sequence[FarEntry], within: timedelta | None, as_of: datetime) -> Checked:
    times = [far.copied_at for far in whole if far.copied_at is not None]
    if not times:
        return Checked(what="far listed", passed=None, evidence="it is not known when copies were made")
    age = (as_of - max(times)).total_seconds()
    if within is None:
        said = f"the newest copy is {spoken(max(age, 0))} old; none is scheduled, so none is due"
        return Checked(what="far listed", passed=True, evidence=said)
    said = f"the newest copy is {spoken(max(age, 0))} old, {spoken(within.total_seconds())} are allowed"
    return Checked(what="far listed", passed=age <= within.total_seconds(), evidence=said)


def _due(entries: Sequence[Entry], store: str, kind: str, within: timedelta | None, as_of: datetime) -> str:
    """Return the newest of a kind that a copying has taken along by now; nothing while all are too young."""
    alike = [entry for entry in entries if (entry.store, entry.kind) == (store, kind)]
    return max((one.id for one in alike if within is None or as_of - one.ended_at >= within), default="")


def _of_kind(store: str, kind: str, alike: Sequence[FarEntry], *, due: str, scheduled: bool) -> Checked:
    if not alike:
        said = "none of it is off-site" if due else "it is younger than the last copying"
        return Checked(what="far listed", store=store, kind=kind, passed=not due, evidence=said)
    newest = max(alike, key=lambda far: far.id)
    if scheduled and newest.id < due:
        said = f"{due} should be off-site by now, and the newest there is {newest.id}"
        return Checked(what="far listed", store=store, kind=kind, passed=False, evidence=said)
    said = {
        True: "every object of its manifest is there, of its size",
        False: newest.problem or "it is not as its manifest says",
        None: "it was not compared with its manifest",
    }[newest.checked]
    if newest.checked and (store, kind) == (OBJECTS, COPY):
        went = f"; {newest.contents:,} contents of objects are there" if newest.contents is not None else ""
        said += went or "; the objects themselves are not off-site"
    passed = newest.checked
    if newest.checked and (store, kind) == ARCHIVED_FOR:
        passed = newest.follows
        said = f"{said}, {newest.wal}" if passed else f"its WAL there does not follow it: {newest.wal}"
        said = f"its WAL there could not be followed: {newest.wal}" if passed is None else said
    return Checked(
        what="far listed", store=store, kind=kind, entry_id=newest.id, passed=passed, evidence=said
    )
