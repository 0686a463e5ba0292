"""How the schedules of a stack stand, by the word of the server that runs them; nothing is changed."""

from collections.abc import Awaitable, Callable

from temporalio import activity
from temporalio.client import Client, ScheduleActionStartWorkflow, ScheduleDescription
from temporalio.service import RPCError, RPCStatusCode

from domain.errors import Unavailable
from domain.jobs import Job, schedule_id
from domain.order import StackOrder
from domain.verification_standing import Standing, Standings

_WORKFLOW = "Scheduled"


class Schedules:
    """Looks at the schedules of a stack's jobs."""

    def __init__(self, connect: Callable[[], Awaitable[Client]]) -> None:
        """Ask ``connect`` for a client each time; it may keep one."""
        self._connect = connect

    @activity.defn
    async def observe_schedules(self, order: StackOrder) -> Standings:
        """Return how the schedule of each job stands; none for one that is not there. ``Unavailable``."""
        client = await self._connect()
        found = [await self._standing(client, order.stack, job) for job in Job]
        known = tuple(one for one in found if one is not None)
        return Standings(standings=known, sentence=f"{len(known)} schedules of {order.stack} were seen")

    async def _standing(self, client: Client, stack: str, job: Job) -> Standing | None:
        try:
            found = await client.get_schedule_handle(schedule_id(stack, job)).describe()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return None
            raise Unavailable(
                f"the schedules cannot be seen: {error.message}",
                where=schedule_id(stack, job),
                hint="look whether Temporal answers",
                code="schedules-unreadable",
            ) from None
        return _said(found, job) if await _runs(client, found, stack, job) else None


async def _runs(client: Client, found: ScheduleDescription, stack: str, job: Job) -> bool:
    """Tell whether a schedule runs this very job, and not something else under its name."""
    action = found.schedule.action
    if not isinstance(action, ScheduleActionStartWorkflow) or action.workflow != _WORKFLOW:
        return False
    try:
        given = await client.data_converter.decode(action.args)
    except (ValueError, RuntimeError):
        return False
    return given == [{"stack": stack, "job": job.value}]


def _said(found: ScheduleDescription, job: Job) -> Standing:
    state, info = found.schedule.state, found.info
    ended = state.limited_actions and not state.remaining_actions
    times = info.num_actions + info.num_actions_missed_catchup_window + info.num_actions_skipped_overlap
    return Standing(
        job=job,
        paused=state.paused or ended,
        created_at=info.created_at,
        next_at=min(info.next_action_times, default=None),
        times=times + len(info.running_actions),
    )
