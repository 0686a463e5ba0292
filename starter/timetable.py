"""The schedules of a stack as its file wants them, and how far the server's differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from pydantic import ValidationError
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleCalendarSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleRange,
    ScheduleSpec,
    ScheduleState,
)

from domain.backup_policy import Timing
from domain.calendars import Calendar, parse_calendar, spans
from domain.jobs import WORK, Job, schedule_id
from domain.stack import Kind, Stack
from workflows.scheduled import JobRequest

WORKFLOW = "Scheduled"
_TASK_TIMEOUT = timedelta(seconds=3)
_BY_FILE = "paused by the stack file: "
_BY_US = "paused by dr: "
_NOTHING_YET = "nothing does this job yet"
RUNS = "as the stack file says; dr schedules apply puts it back"


@dataclass(frozen=True)
class Wanted:
    """A schedule that the stack file asks for, spelled out or by default."""

    id: str
    stack: str
    job: Job
    timing: Timing
    queue: str

    @property
    def pause(self) -> str:
        """The note of a schedule that shall be paused, or nothing."""
        if self.timing.paused_because:
            return f"{_BY_FILE}{self.timing.paused_because}"
        return "" if WORK[self.job].workflow else f"{_BY_US}{_NOTHING_YET}"


def wanted(stack: Stack, queue: str) -> list[Wanted]:
    """Return the schedules of a stack: of every job that it has a service for and does not exclude."""
    found = []
    for job in Job:
        timing, needs = stack.backup.timing(job), WORK[job].needs
        if timing is not None and (not needs or stack.only(Kind(needs)) is not None):
            found.append(Wanted(schedule_id(stack.stack, job), stack.stack, job, timing, queue))
    return found


def schedule_of(want: Wanted, known: ScheduleState | None = None) -> Schedule:
    """Return the schedule; one that somebody paused (``known``) stays paused with his reason."""
    timing = want.timing
    return Schedule(
        action=ScheduleActionStartWorkflow(
            WORKFLOW,
            JobRequest(stack=want.stack, job=want.job),
            id=f"scheduled/{want.id}",
            task_queue=want.queue,
            task_timeout=_TASK_TIMEOUT,
        ),
        spec=ScheduleSpec(
            calendars=[_calendar_spec(parse_calendar(timing.at or ""), timing.comment or "")],
            jitter=timing.jitter,
            time_zone_name=timing.time_zone,
        ),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=timing.catch_up),
        state=_state(want, known),
    )


def held(state: ScheduleState) -> bool:
    """Tell whether a person paused it: neither the file did nor we because nothing does the job."""
    return state.paused and not (state.note or "").startswith((_BY_FILE, _BY_US))


async def drift(client: Client, want: Wanted, found: Schedule) -> list[str]:
    """Return in which points the server's schedule is not what the file says, a sentence each."""
    expected = await _points(client, schedule_of(want))
    actual = await _points(client, found)
    told = [
        f"{point}: {actual[point] or 'none'} instead of {value or 'none'}"
        for point, value in expected.items()
        if actual[point] != value
    ]
    if want.pause and not found.state.paused:
        told.append(f"it runs instead of being {want.pause}")
    elif found.state.paused and not held(found.state) and found.state.note != want.pause:
        told.append(f"it is {found.state.note} instead of {want.pause or 'running'}")
    return told


def _state(want: Wanted, known: ScheduleState | None) -> ScheduleState:
    if known is not None and held(known):
        return ScheduleState(paused=True, note=known.note)
    if want.pause:
        return ScheduleState(paused=True, note=want.pause)
    running = known is not None and not known.paused
    return ScheduleState(paused=False, note=known.note if known is not None and running else RUNS)


async def _points(client: Client, schedule: Schedule) -> dict[str, str]:
    """Return what matters of a schedule in words, alike however it was written down."""
    action, spec = schedule.action, schedule.spec
    if not isinstance(action, ScheduleActionStartWorkflow):
        return dict.fromkeys(_NAMES, "unreadable")
    more = len(spec.intervals) + len(spec.cron_expressions) + len(spec.skip)
    bounds = [f"{at:%Y-%m-%d %H:%MZ}" for at in (spec.start_at, spec.end_at) if at is not None]
    values = (
        " or ".join(_said(one) for one in spec.calendars),
        " / ".join(one.comment or "" for one in spec.calendars),
        spec.time_zone_name or "UTC",
        f"{more} more" if more else "",
        " to ".join(bounds),
        _seconds(spec.jitter),
        _seconds(schedule.policy.catchup_window),
        schedule.policy.overlap.name,
        "yes" if schedule.policy.pause_on_failure else "no",
        str(schedule.state.remaining_actions) if schedule.state.limited_actions else "",
        action.workflow,
        await _request_in(client, action),
        action.id,
        action.task_queue,
    )
    return dict(zip(_NAMES, values, strict=True))


_NAMES = (
    "calendar",
    "comment",
    "time zone",
    "further times",
    "only from or to",
    "jitter",
    "catch-up window",
    "overlap",
    "pause on failure",
    "remaining runs",
    "workflow",
    "input",
    "workflow id",
    "task queue",
)


async def _request_in(client: Client, action: ScheduleActionStartWorkflow) -> str:
    given: Sequence[object] = action.args
    if len(given) == 1 and isinstance(given[0], JobRequest):
        return given[0].model_dump_json()
    try:
        (request,) = await client.data_converter.decode(action.args, [JobRequest])
    except (ValueError, ValidationError, RuntimeError):
        return "unreadable"
    return request.model_dump_json() if isinstance(request, JobRequest) else "unreadable"


def _calendar_spec(calendar: Calendar, comment: str) -> ScheduleCalendarSpec:
    def ranges(values: Sequence[int]) -> list[ScheduleRange]:
        return [ScheduleRange(first, last) for first, last in spans(values)]

    return ScheduleCalendarSpec(
        minute=ranges(calendar.minute),
        hour=ranges(calendar.hour),
        day_of_month=ranges(calendar.day_of_month),
        month=ranges(calendar.month),
        day_of_week=ranges(calendar.day_of_week),
        comment=comment,
    )


def _said(spec: ScheduleCalendarSpec) -> str:
    fields = Calendar(
        *(
            _values(ranges)
            for ranges in (spec.minute, spec.hour, spec.day_of_month, spec.month, spec.day_of_week)
        )
    )
    seconds, years = _values(spec.second), _values(spec.year)
    odd = (f" at second {_list(seconds)}" if seconds != (0,) else "") + (
        f" in {_list(years)}" if years else ""
    )
    return f"{fields}{odd}"


def _values(ranges: Sequence[ScheduleRange]) -> tuple[int, ...]:
    return tuple(sorted({at for one in ranges for at in range(one.start, one.end + 1, one.step)}))


def _list(values: Sequence[int]) -> str:
    return ",".join(str(value) for value in values)


def _seconds(span: timedelta | None) -> str:
    return f"{span.total_seconds():g} s" if span else ""
