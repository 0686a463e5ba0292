"""Release what a recovery kept aside, once people no longer need it."""

from pydantic import Field
from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.postgres.release import Releasing
    from domain.order import Value
    from domain.release import Released, ReleaseOrder
    from workflows.errand import errand


class ReleaseRequest(Value):
    """Which recovery's kept data to remove."""

    recovery_id: str = Field(default="", max_length=64, pattern=r"^[0-9TZa-f-]*$")


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
