"""What a run's own history says about its steps and about what tried to stop it.

The history holds for each stretch of work the last attempt's worker and the failure before it, so a worker
that died is told by the attempt that followed. A restart of the server leaves no trace in it.
"""

import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType, TimeoutType, WorkflowTaskFailedCause
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client
from temporalio.service import RPCError

from domain.errors import Unavailable
from domain.report import Interruption, Span, StepLine

_ENDS = {
    EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED: ("activity_task_completed_event_attributes", "done"),
    EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED: ("activity_task_failed_event_attributes", "failed"),
    EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT: ("activity_task_timed_out_event_attributes", "failed"),
    EventType.EVENT_TYPE_ACTIVITY_TASK_CANCELED: ("activity_task_canceled_event_attributes", "cancelled"),
}
_SILENT = (TimeoutType.TIMEOUT_TYPE_HEARTBEAT, TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE)
_ORDINARY = (
    # A signal or an update came in while the task was worked on: the task is simply done again.
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND,
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_FORCE_CLOSE_COMMAND,
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW,
)


@dataclass
class _Work:
    """One scheduled activity, from its schedule event to its end."""

    id: str
    title: str
    scheduled_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    attempts: int = 0
    worker: str = ""
    failure: Failure | None = None
    """Of the attempt before the last."""
    outcome: str = "running"
    sentence: str = ""

    def span(self) -> Span:
        return Span(
            started_at=self.scheduled_at,
            ended_at=self.ended_at,
            attempts=self.attempts,
            last_attempt_at=self.started_at,
            outcome=self.outcome,
        )


@dataclass
class _Reading:
    works: dict[int, _Work] = field(default_factory=dict)
    seen: list[tuple[datetime, str]] = field(default_factory=list)
    """Identities of workers in the order they showed up, for activities and workflow tasks."""
    decided: list[tuple[datetime, str]] = field(default_factory=list)
    """The same for workflow tasks alone."""
    flags: list[Interruption] = field(default_factory=list)


class Histories:
    """Reads the histories of runs from the server."""

    def __init__(self, connect: Callable[[], Awaitable[Client]]) -> None:
        """Ask ``connect`` for a client each time; it may keep one."""
        self._connect = connect

    async def fetch(self, workflow_id: str, run_id: str) -> Sequence[HistoryEvent]:
        """Return all events of a run; raises ``Unavailable`` when the server does not give them."""
        try:
            client = await self._connect()
            history = await client.get_workflow_handle(workflow_id, run_id=run_id or None).fetch_history()
        except (RPCError, RuntimeError, OSError) as error:
            raise Unavailable(
                "the history of the run cannot be read",
                where=f"{workflow_id} {run_id}".strip(),
                hint=f"look whether Temporal answers: {error}",
                code="history-unreadable",
            ) from error
        return history.events


def read_history(
    events: Iterable[HistoryEvent], *, until_step: str = ""
) -> tuple[tuple[StepLine, ...], tuple[Interruption, ...]]:
    """Return the steps and the interruptions that a history shows, in the order of time.

    ``until_step`` names the step that is reading: what was recorded since it was last asked for is left out,
    and so is the step itself, so that a repeated reading gives the same.
    """
    reading = _Reading()
    for event in _before(list(events), until_step):
        _take(reading, event)
    # Hands that are no step of the runbook, such as telling people, have the number Temporal gave them as id.
    works = [w for w in reading.works.values() if not w.id.isdecimal() and w.id != until_step]
    by_id: dict[str, list[_Work]] = {}
    for work in works:
        by_id.setdefault(work.id, []).append(work)
    changes = _changes(reading.decided)
    flags = [*_unexplained(reading, changes), *changes]
    flags += [flag for work in works if (flag := _interruption(work, reading.seen)) is not None]
    steps = tuple(_line(group) for group in by_id.values())
    return steps, tuple(sorted(flags, key=lambda flag: flag.at))


def _before(events: list[HistoryEvent], step: str) -> list[HistoryEvent]:
    asked = [
        place
        for place, event in enumerate(events)
        if step and event.activity_task_scheduled_event_attributes.activity_id == step
    ]
    return events[: asked[-1]] if asked else events


def _take(reading: _Reading, event: HistoryEvent) -> None:
    at = _moment(event.event_time)
    match event.event_type:
        case EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            asked = event.activity_task_scheduled_event_attributes
            title = _plain(event.user_metadata.summary)
            reading.works[event.event_id] = _Work(
                id=asked.activity_id,
                title=title if isinstance(title, str) and title else asked.activity_type.name,
                scheduled_at=at,
            )
        case EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED:
            _take_up(reading, event, at)
        case EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED:
            identity = event.workflow_task_started_event_attributes.identity
            reading.seen.append((at, identity))
            reading.decided.append((at, identity))
        case EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT:
            _note_silence(reading, event, at)
        case EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
            _note_failure(reading, event, at)
        case kind if kind in _ENDS:
            _end(reading, event, at)
        case _:
            pass


def _take_up(reading: _Reading, event: HistoryEvent, at: datetime) -> None:
    started = event.activity_task_started_event_attributes
    reading.seen.append((at, started.identity))
    work = reading.works.get(started.scheduled_event_id)
    if work is not None:
        work.started_at = at
        work.worker = started.identity
        work.attempts = started.attempt
        work.failure = started.last_failure if started.HasField("last_failure") else None


def _end(reading: _Reading, event: HistoryEvent, at: datetime) -> None:
    name, outcome = _ENDS[event.event_type]
    ended = getattr(event, name)
    work = reading.works.get(ended.scheduled_event_id)
    if work is None:
        return
    work.ended_at = at
    work.outcome = outcome
    if outcome == "done":
        result = _plain(ended.result.payloads[0]) if ended.result.payloads else None
        sentence = result.get("sentence") if isinstance(result, dict) else None
        work.sentence = sentence if isinstance(sentence, str) else ""
    elif outcome == "failed":
        work.sentence = _innermost(ended.failure)


def _line(group: list[_Work]) -> StepLine:
    last = group[-1]
    worked = [(w.ended_at - w.scheduled_at).total_seconds() if w.ended_at else None for w in group]
    return StepLine(
        id=last.id,
        title=last.title,
        attempts=sum(w.attempts for w in group),
        workers=tuple(dict.fromkeys(w.worker for w in group if w.worker)),
        started_at=group[0].scheduled_at,
        seconds=None if None in worked else round(sum(s for s in worked if s is not None), 3),
        outcome=last.outcome,
        sentence=last.sentence,
        spans=tuple(w.span() for w in group),
    )


def _interruption(work: _Work, seen: list[tuple[datetime, str]]) -> Interruption | None:
    if work.attempts < 2 or work.failure is None or work.started_at is None:  # noqa: PLR2004 - a second attempt
        return None
    followed = f"attempt {work.attempts} by {work.worker} took it up"
    if work.failure.timeout_failure_info.timeout_type not in _SILENT:
        if work.outcome not in ("done", "running"):
            return None  # the last attempt failed too: that was not survived
        said = f"An attempt at '{work.title}' failed ({_innermost(work.failure)}); {followed}."
        return Interruption(kind="attempt_retried", at=work.started_at, sentence=said)
    dead = _gone(work, seen)
    if dead:
        said = f"The worker {dead} died while '{work.title}' ran; {followed}."
        return Interruption(kind="worker_killed", at=work.started_at, sentence=said)
    said = f"No sign of life came from the worker while '{work.title}' ran; {followed}."
    return Interruption(kind="worker_silent", at=work.started_at, sentence=said)


def _gone(work: _Work, seen: list[tuple[datetime, str]]) -> str:
    """Return the worker of the same host that was there before the last attempt and not since, or ``""``."""
    host, process = _place(work.worker)
    taken = work.started_at or work.scheduled_at
    since = {_place(identity) for at, identity in seen if at >= taken}
    for at, identity in reversed(seen):
        place = _place(identity)
        if at < taken and place[0] == host and place[1] != process and place not in since:
            return identity
    return ""


def _place(identity: str) -> tuple[str, str]:
    """Return host and process of an identity ``<role>@<host>/<pid>``."""
    host, _, process = identity.partition("@")[2].rpartition("/")
    return host, process


def _changes(decided: list[tuple[datetime, str]]) -> list[Interruption]:
    """Return the moments since when a new worker carried the run on and the old one was not seen again."""
    flags = []
    for place, (at, identity) in enumerate(decided[1:], start=1):
        before = decided[place - 1][1]
        later = {who for _, who in decided[place:]}
        earlier = {who for _, who in decided[:place]}
        if identity not in earlier and before not in later:
            said = f"The worker {identity} carried the run on; before it was {before}."
            flags.append(Interruption(kind="worker_changed", at=at, sentence=said))
    return flags


def _unexplained(reading: _Reading, changes: list[Interruption]) -> list[Interruption]:
    """Return the flags that are not merely the silence before a change of workers."""
    changed_at = {change.at for change in changes}

    def next_decided(flag: Interruption) -> datetime | None:
        return next((at for at, _ in reading.decided if at >= flag.at), None)

    return [f for f in reading.flags if f.kind != "worker_silent" or next_decided(f) not in changed_at]


def _note_silence(reading: _Reading, event: HistoryEvent, at: datetime) -> None:
    missed = event.workflow_task_timed_out_event_attributes.timeout_type
    if missed == TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_START:
        said = "No worker fetched the next decision from its own queue in time; it was offered to all."
    else:
        said = "A worker took the next decision and did not answer in time; it was offered again."
    reading.flags.append(Interruption(kind="worker_silent", at=at, sentence=said))


def _note_failure(reading: _Reading, event: HistoryEvent, at: datetime) -> None:
    failed = event.workflow_task_failed_event_attributes
    if failed.cause in _ORDINARY:
        return
    why = _innermost(failed.failure)
    said = f"The runbook's code failed on {failed.identity} ({why}); it was tried again."
    reading.flags.append(Interruption(kind="runbook_failed", at=at, sentence=said))


def _innermost(failure: Failure) -> str:
    """Return the message of the cause that says most: the innermost one that says anything."""
    message = failure.message
    while failure.HasField("cause"):
        failure = failure.cause
        message = failure.message or message
    return message


def _plain(payload: Payload) -> object:
    """Return the value of a payload that is plain JSON, else ``None``."""
    if payload.metadata.get("encoding", b"") != b"json/plain":
        return None
    try:
        value: object = json.loads(payload.data)
    except ValueError:
        return None
    return value


def _moment(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(tzinfo=UTC)
