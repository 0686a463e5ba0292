"""Whether a recovery of a stack is open, by the word of the server that runs it."""

from collections.abc import Awaitable, Callable

from temporalio import activity
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from domain.errors import Unavailable
from domain.inert import Quoted
from domain.names import recovery_workflow_id
from domain.order import Outcome, StackOrder


class OpenRecovery(Outcome):
    """Why backups and retention pause; empty when no recovery is open."""

    because: Quoted = ""


class OpenRuns:
    """Looks at the runs that hold a stack; changes nothing."""

    def __init__(self, connect: Callable[[], Awaitable[Client]]) -> None:
        """Ask ``connect`` for a client each time; it may keep one."""
        self._connect = connect

    @activity.defn
    async def observe_open_recovery(self, order: StackOrder) -> OpenRecovery:
        """Tell whether somebody holds the stack's lock. Raises ``Unavailable``."""
        lock = recovery_workflow_id(order.stack)
        try:
            client = await self._connect()
            found = await client.get_workflow_handle(lock).describe()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return OpenRecovery(sentence=f"There was never a run {lock}")
            raise Unavailable(
                f"whether a recovery is open cannot be seen: {error.message}",
                where=lock,
                hint="look whether Temporal answers",
                code="runs-unreadable",
            ) from None
        if found.status is not WorkflowExecutionStatus.RUNNING:
            return OpenRecovery(sentence=f"The last run {lock} has ended")
        said = f"{found.workflow_type} is open as {lock}, run {found.run_id}"
        return OpenRecovery(sentence=said, because=said)
