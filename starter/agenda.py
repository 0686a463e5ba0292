"""The schedules of a stack on the server: looked at, made, corrected, paused, resumed."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime

from pydantic import BaseModel
from temporalio.client import (
    Client,
    ScheduleAlreadyRunningError,
    ScheduleDescription,
    ScheduleListActionStartWorkflow,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.service import RPCError, RPCStatusCode

from domain.errors import Refused
from domain.jobs import WORK, Job
from domain.stack import Stack
from starter.timetable import WORKFLOW, Wanted, drift, schedule_of, wanted

_LONGEST = 200


class Line(BaseModel):
    """One schedule: what is wanted of it, what is there, what was done."""

    id: str
    job: str = ""
    state: str = "missing"
    """``running``, ``paused``, ``missing``, or ``unknown`` to the stack file."""
    did: str = ""
    at: str = ""
    comment: str = ""
    note: str = ""
    drift: list[str] = []
    next: datetime | None = None
    last: datetime | None = None
    since: datetime | None = None
    """When it was made on the server."""


class Agenda:
    """What the file of a stack wants of the server, and what is there."""

    def __init__(self, client: Client, stack: Stack, queue: str) -> None:
        """``queue`` is where the runs are worked on."""
        self._client = client
        self._stack = stack.stack
        self._wanted = {want.job: want for want in wanted(stack, queue)}

    async def apply(self, *, prune: bool = False) -> list[Line]:
        """Make the schedules what the file says; what a person paused stays paused."""
        lines = [await self._apply(want) for want in self._wanted.values()]
        for line in await self._unknown():
            if prune:
                await self._client.get_schedule_handle(line.id).delete()
            line.did = "removed" if prune else "left"
            lines.append(line)
        return lines

    async def look(self) -> list[Line]:
        """Return every schedule of the file, and those of ours that it does not know."""
        return [await self._see(want) for want in self._wanted.values()] + await self._unknown()

    async def pause(self, jobs: Iterable[Job], by: str, reason: str) -> list[Line]:
        """Pause the schedules of jobs, of all when none is named. Raises ``Refused``."""
        lines, note = [], f"held by {_said(by)}: {_said(reason)}"
        for want in self._chosen(jobs):
            with _explained(want):
                await self._client.get_schedule_handle(want.id).pause(note=note)
            lines.append(await self._see(want, "paused"))
        return lines

    async def resume(self, jobs: Iterable[Job], by: str, reason: str) -> list[Line]:
        """Let schedules go on, all that the file does not pause when none is named. Raises ``Refused``."""
        named, note = list(jobs), f"resumed by {_said(by)}: {_said(reason)}"
        lines = []
        for want in self._chosen(named):
            if want.pause and not named:
                continue
            if want.pause:
                hint = (
                    "change the stack file" if WORK[want.job].workflow else "install a version that does it"
                )
                raise Refused(
                    f"{want.id} is {want.pause}",
                    hint=f"{hint}, then dr schedules apply",
                    code="paused-by-file",
                )
            with _explained(want):
                await self._client.get_schedule_handle(want.id).unpause(note=note)
            lines.append(await self._see(want, "resumed"))
        return lines

    def _chosen(self, jobs: Iterable[Job]) -> list[Wanted]:
        named = list(jobs)
        strange = [job for job in named if job not in self._wanted]
        if strange:
            raise Refused(
                f"the stack file has no schedule for {', '.join(strange)}",
                hint=f"it has: {', '.join(self._wanted)}",
                code="schedule-missing",
            )
        return [self._wanted[job] for job in named or self._wanted]

    async def _apply(self, want: Wanted) -> Line:
        seen = await self._see(want)
        if seen.state != "missing" and not seen.drift:
            return seen.model_copy(update={"did": "unchanged"})
        with _explained(want):
            if seen.state == "missing":
                try:
                    await self._client.create_schedule(want.id, schedule_of(want))
                except ScheduleAlreadyRunningError:
                    # Somebody else was faster; whether it is right is looked at again.
                    return await self._apply(want)
                return await self._see(want, "created")
            await self._client.get_schedule_handle(want.id).update(_correction(want))
        return await self._see(want, f"corrected: {'; '.join(seen.drift)}")

    async def _see(self, want: Wanted, did: str = "") -> Line:
        at = f"{want.timing.at} {want.timing.time_zone}"
        line = Line(id=want.id, job=want.job, at=at, comment=want.timing.comment or "", did=did)
        try:
            found = await self._client.get_schedule_handle(want.id).describe()
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return line
        line.drift = await drift(self._client, want, found.schedule)
        return _standing(line, found)

    async def _unknown(self) -> list[Line]:
        """Return schedules of ours for this stack that its file does not ask for; others' are none."""
        known = {want.id for want in self._wanted.values()}
        lines = []
        async for found in await self._client.list_schedules():
            action = found.schedule.action if found.schedule is not None else None
            ours = isinstance(action, ScheduleListActionStartWorkflow) and action.workflow == WORKFLOW
            if ours and found.id.startswith(f"{self._stack}/") and found.id not in known:
                lines.append(Line(id=found.id, state="unknown", drift=["the stack file has no such job"]))
        return lines


def _standing(line: Line, found: ScheduleDescription) -> Line:
    state, info = found.schedule.state, found.info
    line.state = "paused" if state.paused else "running"
    line.note = state.note or ""
    line.next = info.next_action_times[0] if info.next_action_times and not state.paused else None
    line.last = info.recent_actions[-1].started_at if info.recent_actions else None
    line.since = info.created_at
    return line


def _correction(want: Wanted) -> Callable[[ScheduleUpdateInput], ScheduleUpdate]:
    def corrected(now: ScheduleUpdateInput) -> ScheduleUpdate:
        return ScheduleUpdate(schedule=schedule_of(want, now.description.schedule.state))

    return corrected


def _said(text: str) -> str:
    """Return a name or a reason; ``Refused`` when nothing is said, or not on one readable line."""
    if not text.strip() or not text.isprintable() or len(text) > _LONGEST:
        raise Refused(
            "who and why is kept with the schedule",
            hint=f"say it on one line of up to {_LONGEST} characters",
            code="reason-missing",
        )
    return text


@contextmanager
def _explained(want: Wanted) -> Iterator[None]:
    """Turn what the server says about one schedule into what a person can do about it."""
    try:
        yield
    except RPCError as error:
        match error.status:
            case RPCStatusCode.NOT_FOUND:
                said, hint, code = "is not there yet", "dr schedules apply makes it", "schedule-missing"
            case RPCStatusCode.INVALID_ARGUMENT:
                said = f"is refused by the server: {error.message}"
                hint = f"see backup.schedules.{want.job} in the stack file"
                code = "schedule-refused"
            case _:
                raise
        raise Refused(f"{want.id} {said}", hint=hint, code=code) from None
