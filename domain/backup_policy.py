"""How long backups are kept and when they are taken, as ``stack.yaml`` states it under ``backup``."""

from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from domain.calendars import parse_calendar
from domain.durations import Duration
from domain.errors import Refused
from domain.fact import INVISIBLE, Fact, Line
from domain.host_own import plain_path
from domain.jobs import WORK, Job
from domain.objects_policy import ObjectsPolicy, SecondStore
from domain.paths import host_path, path_under
from domain.secret_ref import ServiceName

_LONGEST = timedelta(days=36_500)
"""A hundred years: a longer one would reach behind the first date there is."""

Keep = Annotated[Duration, Field(gt=timedelta(), le=_LONGEST)]
Count = Annotated[int, Field(ge=1, le=100_000, strict=True)]
ZoneName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_+/-]{0,63}$")]


def _fit_shelf(text: str) -> str:
    try:
        return host_path(text, "the shelf") if text.startswith("/") else str(path_under("", text))
    except Refused as refused:
        raise ValueError(refused.what) from None


def _fit_calendar(text: str) -> str:
    parse_calendar(text)
    return " ".join(text.split())


def _fit_place(text: str) -> str:
    if plain_path(text) == "/":
        raise ValueError("a host does not provide everything")
    return plain_path(text)


HostPlace = Annotated[
    str,
    StringConstraints(pattern=rf"^/[^{INVISIBLE}/][^{INVISIBLE}]*$", max_length=1000),
    AfterValidator(_fit_place),
]


class Timing(Fact):
    """When a job runs; what is not said is as usual."""

    at: Annotated[str, StringConstraints(max_length=200), AfterValidator(_fit_calendar)] | None = None
    """Minute, hour, day of month, month, day of week, as in a crontab."""
    comment: Line | None = None
    time_zone: ZoneName = "UTC"
    jitter: Annotated[Duration, Field(ge=timedelta(), le=timedelta(hours=1))] = timedelta(minutes=1)
    """It starts up to so much later, so that several stacks do not start at once."""
    catch_up: Annotated[Duration, Field(ge=timedelta(seconds=10), le=timedelta(days=1))] = timedelta(
        minutes=10
    )
    """What fell due while Temporal was away is made up for when that is no longer ago than this."""
    paused_because: Line | None = None


class BackupPolicy(Fact):
    """Where backups are kept, for how long, and when they are taken."""

    shelf: Annotated[str, AfterValidator(_fit_shelf)] = "shelf"
    """Directory; a relative one is taken from the state directory."""
    wal_switch_every: Keep | None = None
    """So old the job ``postgres-wal`` lets an open segment get; ``None`` closes none (decision 0011)."""
    keep_wal: Keep = timedelta(days=7)
    """And as long as a base backup that is kept needs it."""
    keep_base: Keep = timedelta(days=7)
    keep_daily: Keep = timedelta(days=30)
    keep_weekly: Keep = timedelta(weeks=12)
    keep_redis: Count = 7
    """How many of each kind."""
    keep_versions: Count = 30
    """How many versions of an object, and how many copies."""
    keep_search: Count = 5
    """How many of each kind."""
    keep_hasura: Keep = timedelta(days=30)
    keep_stack: Keep = timedelta(days=30)
    keep_offsite: Annotated[Duration, Field(ge=timedelta(days=365), le=_LONGEST)] = timedelta(days=365)
    objects: ObjectsPolicy = ObjectsPolicy()
    second_store: SecondStore | None = None
    """Where the objects are copied to; ``None`` is the shelf."""
    leave_out: tuple[ServiceName, ...] = ()
    """Services of a kind of which another one is backed up, and which nobody wants a backup of."""
    provided_by_host: tuple[HostPlace, ...] = ()
    """What services mount from outside the project's directory and every host has to bring along."""
    schedules: dict[Job, Timing | None] = Field(default_factory=dict)
    """A job that is not listed runs as usual; one with ``null`` does not run at all."""

    def timing(self, job: Job) -> Timing | None:
        """Return when a job runs, with time and comment filled in, or ``None`` when it shall not."""
        given = self.schedules.get(job, Timing())
        if given is None:
            return None
        work = WORK[job]
        return given.model_copy(update={"at": given.at or work.usual, "comment": given.comment or work.says})
