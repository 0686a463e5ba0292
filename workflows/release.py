"""Release what a recovery kept aside, and discard what one that ended in the middle left behind."""

from pydantic import Field
from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.ledger import Ledger
    from activities.postgres.release import Releasing
    from domain import names
    from domain.order import TargetOrder, Value
    from domain.release import DiscardOrder, Released, ReleaseOrder
    from workflows.backup import BackupRequest, load
    from workflows.errand import errand


class ReleaseRequest(Value):
    """Which recovery's kept data to remove."""

    recovery_id: str = Field(default="", max_length=64, pattern=r"^[0-9TZa-f-]*$")


class DiscardRequest(ReleaseRequest):
    """Which recovery's restored copy to remove, and of which stack."""

    stack: str = Field(default="", max_length=63, pattern=r"^([a-z0-9][a-z0-9_-]*)?$")


@workflow.defn(name="Release")
class Release:
    """Remove the old data that a recovery kept aside."""

    @workflow.run
    async def run(self, request: ReleaseRequest = ReleaseRequest()) -> Released:  # noqa: B008 - frozen
        """Remove the keeper and the kept volume of that recovery, and nothing else."""
        return await errand(
            "Release what was kept aside",
            Releasing.ensure_released,
            ReleaseOrder(release_of=request.recovery_id),
        )


@workflow.defn(name="Discard")
class Discard:
    """Remove the restored copy of a recovery that ended in the middle; what was kept aside stays."""

    @workflow.run
    async def run(self, request: DiscardRequest = DiscardRequest()) -> Released:  # noqa: B008 - frozen
        """Remove it while no recovery is open: this run holds the stack's lock itself."""
        target = (await load(BackupRequest(stack=request.stack))).target
        lock = names.recovery_workflow_id(target.stack)
        if workflow.info().workflow_id != lock or not request.recovery_id:
            raise ApplicationError(
                f"it must name a recovery and run under the workflow id {lock}",
                "lock-missing",
                type="Refused",
                non_retryable=True,
            )
        order = DiscardOrder(target=target, recovery_id=request.recovery_id)
        discarded = await errand("Remove the restored copy", Releasing.ensure_discarded, order)
        over = TargetOrder(target=target, recovery_id=request.recovery_id)
        await errand("Note that the recovery is over", Ledger.ensure_recovery_cleared, over)
        return discarded
