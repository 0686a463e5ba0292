"""Release what a recovery kept aside, and discard what one that ended in the middle left behind."""

from collections.abc import Callable
from typing import Any

from pydantic import Field
from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.ledger import Ledger
    from activities.postgres.fence import Fencing
    from activities.postgres.quiet import Quiet
    from activities.postgres.receiver import Protection
    from activities.postgres.release import Releasing
    from activities.services import Services
    from domain import names
    from domain.backups import ReceiveOrder
    from domain.order import Order, Target, TargetOrder, Value
    from domain.recovery import ServicesOrder
    from domain.release import DiscardOrder, Released, ReleaseOrder
    from workflows.backup import BackupRequest, load
    from workflows.errand import errand
    from workflows.pace import Trouble


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
    """Remove what a recovery that ended in the middle left, and undo what it changed; kept data stays."""

    @workflow.run
    async def run(self, request: DiscardRequest = DiscardRequest()) -> Released:  # noqa: B008 - frozen
        """Do it while no recovery is open: this run holds the stack's lock itself."""
        facts = await load(BackupRequest(stack=request.stack))
        target, recovery_id = facts.target, request.recovery_id
        lock = names.recovery_workflow_id(target.stack)
        if workflow.info().workflow_id != lock or not recovery_id:
            raise ApplicationError(
                f"it must name a recovery and run under the workflow id {lock}",
                "lock-missing",
                type="Refused",
                non_retryable=True,
            )
        order = DiscardOrder(target=target, recovery_id=recovery_id)
        discarded = await errand("Remove the restored copy", Releasing.ensure_discarded, order)
        if recovery_id not in facts.unfinished:
            return discarded
        undone = [await self._try(*step) for step in _way_back(target, recovery_id)]
        return discarded.model_copy(update={"sentence": f"{discarded.sentence}. {' '.join(undone)}"})

    async def _try(self, title: str, hand: Callable[[Any, Any], Any], order: Order) -> str:
        """Undo one change; what cannot be undone is said, and the others are undone all the same."""
        try:
            done = await errand(title, hand, order)
        except ActivityError as error:
            return f"{title}: failed: {Trouble.of(error).sentence}."
        return f"{done.sentence}."


def _way_back(target: Target, recovery_id: str) -> list[tuple[str, Callable[[Any, Any], Any], Order]]:
    """Return the steps that undo what a run changed, whether it ended before its swap or after."""
    over = TargetOrder(target=target, recovery_id=recovery_id)
    database = (target.postgres.service,)
    return [
        ("Open the server again", Fencing.ensure_unfenced, over),
        (
            "Start PostgreSQL again",
            Services.ensure_services_started,
            ServicesOrder(target=target, recovery_id=recovery_id, services=database),
        ),
        (
            "Stream the WAL",
            Protection.ensure_receiving,
            ReceiveOrder(target=target, recovery_id=recovery_id),
        ),
        (
            "Start what was stopped",
            Services.ensure_services_started,
            ServicesOrder(target=target, recovery_id=recovery_id),
        ),
        ("Let vacuum run again", Quiet.ensure_unquiet, over),
        ("Resume the ledger's markers", Ledger.ensure_markers_resumed, over),
        ("Note that the recovery is over", Ledger.ensure_recovery_cleared, over),
    ]
