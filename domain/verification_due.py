"""Which backups a stack's policy wants, and how old the newest of each kind may be. Pure."""

from collections.abc import Mapping
from datetime import date, timedelta
from functools import lru_cache
from itertools import pairwise

from domain.calendars import Calendar, parse_calendar
from domain.jobs import WORK, Job
from domain.order import Value
from domain.stack import Kind, Stack

Place = tuple[str, str]
"""Store and kind."""

MADE_BY: Mapping[Job, tuple[Place, ...]] = {
    Job.POSTGRES_BASE: (("postgres", "base"),),
    Job.POSTGRES_DAILY: (("postgres", "daily"),),
    Job.POSTGRES_WEEKLY: (("postgres", "weekly"),),
    Job.REDIS: (("redis", "rdb"), ("redis", "aof")),
    Job.MINIO: (("minio", "copy"),),
    Job.MEILISEARCH: (("meilisearch", "snapshot"), ("meilisearch", "dump")),
    Job.HASURA: (("hasura", "metadata"),),
    Job.STACK: (("stack", "configuration"),),
}
"""What each job puts on the shelf."""
OPTIONAL: frozenset[Place] = frozenset({("redis", "aof")})
"""Left out by its job where the store does not have it."""
_LONGEST_GRACE = timedelta(hours=6)
_DAYS = 9 * 366
"""Enough to meet every date that a calendar can name twice, the 29th of February too."""
_FIRST_DAY = date(2000, 1, 1)


class Due(Value):
    """One kind of backup that the policy wants."""

    job: Job
    store: str
    kind: str
    within_seconds: float
    """So old its newest may be: the longest time between two runs, and a grace."""
    optional: bool = False
    paused_because: str = ""
    """What the stack file says; what is paused may be old."""

    @property
    def place(self) -> Place:
        """Store and kind."""
        return self.store, self.kind


def due_of(stack: Stack) -> tuple[Due, ...]:
    """Return every kind of backup that a stack's policy wants, in the order of the jobs."""
    found = []
    for job, places in MADE_BY.items():
        within = allowed_age(stack, job)
        timing = stack.backup.timing(job)
        if within is None or timing is None:
            continue
        found += [
            Due(
                job=job,
                store=store,
                kind=kind,
                within_seconds=within.total_seconds(),
                optional=(store, kind) in OPTIONAL,
                paused_because=timing.paused_because or "",
            )
            for store, kind in places
        ]
    return tuple(found)


def allowed_age(stack: Stack, job: Job) -> timedelta | None:
    """Return how long ago the last run of a job may have been, or ``None`` for one that shall not run."""
    timing, needs = stack.backup.timing(job), WORK[job].needs
    if timing is None or (needs and stack.only(Kind(needs)) is None):
        return None
    longest = longest_interval(parse_calendar(timing.at or ""))
    return longest + min(longest / 2, _LONGEST_GRACE) + timing.jitter + timing.catch_up


@lru_cache(maxsize=256)
def longest_interval(calendar: Calendar) -> timedelta:
    """Return the longest time between two neighbouring times of a calendar."""
    times = sorted(hour * 60 + minute for hour in calendar.hour for minute in calendar.minute)
    widest = max((after - before for before, after in pairwise(times)), default=0)
    # From the last time of a day to the first of the next one that matches.
    overnight = times[0] - times[-1]
    last: int | None = None
    for number in range(_DAYS):
        if not _matches(calendar, _FIRST_DAY + timedelta(days=number)):
            continue
        if last is not None:
            widest = max(widest, (number - last) * 24 * 60 + overnight)
        last = number
    return timedelta(minutes=widest)


def _matches(calendar: Calendar, day: date) -> bool:
    return (
        day.month in calendar.month
        and day.day in calendar.day_of_month
        and day.isoweekday() % 7 in calendar.day_of_week
    )
