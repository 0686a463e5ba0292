"""A later release of the runbook that forgot about open runs: one more step, no patch."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.postgres.assess import Diagnosis
    from domain.diagnosis import Assessment
    from domain.incident import RecoveryRequest, RecoveryResult
    from domain.order import Target, TargetOrder
    from workflows.database_corruption import DatabaseCorruption


@workflow.defn(name="DatabaseCorruption")
class Changed(DatabaseCorruption):
    """Looks twice before it believes."""

    @workflow.run
    async def run(self, request: RecoveryRequest = RecoveryRequest()) -> RecoveryResult:  # noqa: ARG002, B008
        """Run the same scenario."""
        return await self.conduct(self.recover)

    async def assess(self, target: Target) -> Assessment:
        order = TargetOrder(target=target)
        await self.step("Look twice", Diagnosis.assess_corruption, order, step_id="assess:again")
        return await super().assess(target)
