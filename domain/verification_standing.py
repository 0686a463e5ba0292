"""Which due backup is missing because its first time has not come: by the schedules' own word. Pure.

That nothing is there never says so by itself. A job is not due yet when its schedule exists, is not paused,
was never due since it was made, and when its next run is no later than the policy allows from then on.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from pydantic import AwareDatetime

from domain.backups import PassedOver
from domain.durations import spoken
from domain.jobs import Job
from domain.order import Outcome, Value
from domain.verification import Checked
from domain.verification_due import Due


class Standing(Value):
    """One schedule, as the server that runs it knows it."""

    job: Job
    paused: bool
    created_at: AwareDatetime
    next_at: AwareDatetime | None = None
    times: int = 0
    """How often it was due, or was started by hand: begun, missed and skipped runs."""


class Standings(Outcome):
    """The schedules of a stack that run its jobs; one that is not there, or runs something else, is none."""

    standings: tuple[Standing, ...] = ()


def not_due_until(
    job: Job, within: timedelta, standings: Standings, now: datetime
) -> tuple[datetime, str] | None:
    """Return when a job is due for the first time, and the evidence that it was not yet; or ``None``.

    ``within`` is how long ago its last run may be: its first one is no later than that after it was made.
    """
    found = [one for one in standings.standings if one.job == job]
    if len(found) != 1:
        return None
    (one,) = found
    never = not one.paused and not one.times and one.created_at <= now
    if not never or one.next_at is None or not now < one.next_at <= one.created_at + within:
        return None
    age = spoken((now - one.created_at).total_seconds())
    return one.next_at, f"not due until {one.next_at:%Y-%m-%d %H:%MZ}: its schedule was made {age} ago"


def excused(
    due: Iterable[Due],
    checks: Sequence[Checked],
    strangers: Sequence[PassedOver],
    standings: Standings,
    now: datetime,
) -> list[Checked]:
    """Return the checks, with what is missing and not due yet told as such.

    Where something of the kind lies on the shelf and is no backup, it was made, and is missing.
    """
    kinds = {one.place: one for one in due}
    found = []
    for check in checks:
        one = kinds.get((check.store, check.kind))
        missing = one is not None and check.what == "there" and check.passed is False and not check.entry_id
        if (
            one is None
            or not missing
            or _ran(one, checks)
            or any(_is_of(one, stranger) for stranger in strangers)
        ):
            found.append(check)
            continue
        first = not_due_until(one.job, timedelta(seconds=one.within_seconds), standings, now)
        found.append(check if first is None else not_yet(check, *first))
    return found


def not_yet(check: Checked, until: datetime, evidence: str) -> Checked:
    """Return what was missing as not due yet."""
    told = {"passed": None, "not_due_until": until, "evidence": evidence}
    return Checked.model_validate(check.model_dump() | told)


def _ran(one: Due, checks: Sequence[Checked]) -> bool:
    """Tell whether the job of an optional kind has put another one of its store on the shelf."""
    there = [check for check in checks if check.what == "there" and check.passed and check.store == one.store]
    return one.optional and bool(there)


def _is_of(one: Due, stranger: PassedOver) -> bool:
    return f"-{one.kind}" in stranger.id or stranger.id in {one.store, f"{one.store}/{one.kind}"}
