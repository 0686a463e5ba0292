"""DatabaseCorruption: restore while people decide.

Symptoms: errors such as "invalid page in block" or "could not read block", wrong or missing rows, a
PostgreSQL that does not start because its files are damaged.

Promise: the damaged data is never touched and is kept aside; people decide on what was measured on a
restored copy; a server that still answers goes on serving until they have decided.

1. Load the stack
2. Assess the corruption
3. Keep the damage from spreading
4. Choose a backup that was proven restorable
5. Restore the backup into a new volume
6. Replay the WAL on an isolated copy
7. Verify data integrity on the copy
8. Measure the loss on the copy
9. Decide at the gate ``swap`` (people)
10. Stop everything that writes to the database
11. Close the damaged server
12. Replay the last WAL
13. Verify what was touched since
14. Measure the loss again
15. Promote the copy
16. Swap the restored volume in
17. Start PostgreSQL
18. Stream the WAL of the new timeline
19. Start Hasura
20. Check Hasura's metadata
21. Bring the search index in line
22. Start the dependent services
23. Verify from the user's side
24. Check the recovered server
25. Measure loss and skew of all stores
26. Measure the downtime
27. Take a fresh base backup
28. Write the report

A server that cannot serve anyway is closed (10 to 12) without waiting for people, before step 7.
The search index is brought in line before users come back only where rows were lost, else after 23.
"""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.postgres.assess import Diagnosis
    from activities.postgres.quiet import Quiet
    from domain.diagnosis import Assessment
    from domain.incident import RecoveryRequest, RecoveryResult
    from domain.ledger import MeasuredLoss
    from domain.order import Target, TargetOrder
    from domain.recovery import Copy
    from workflows.closing import Ending
    from workflows.swap_in import SwapIn


@workflow.defn(name="DatabaseCorruption")
class DatabaseCorruption(SwapIn):
    """Bring a corrupted PostgreSQL back from a backup and all its WAL."""

    SCENARIO = "database_corruption"

    @workflow.run
    async def run(self, request: RecoveryRequest = RecoveryRequest()) -> RecoveryResult:  # noqa: ARG002, B008
        """Run the runbook above."""
        return await self.conduct(self.recover)

    async def recover(self) -> Ending:
        """Do the steps of the module's docstring, in their order."""
        target = await self.load()
        found = await self._assess(target)
        if self.request.mode == "plan":
            return self.plan(found, await self.choose(target, found))
        await self.step("Keep the damage from spreading", Quiet.ensure_quiet, TargetOrder(target=target))
        self.note_change("autovacuum is off on the damaged server", "ALTER SYSTEM RESET autovacuum")
        choice = await self.choose(target, found)
        if not found.answers:
            await self.stop_writers(target)
        self.found = found
        proven = await self.prove_a_copy(target, found, choice)
        measured = await self.measure_loss(
            target, proven.copy, "Measure the loss on the copy", until=self.switched_at
        )
        brief = self.brief_of(found, proven, measured)
        await self.gate(brief)
        if found.answers:
            measured = await self._close_living_server(target, proven.copy)
            await self.ask_again_if_worse(brief, found, proven, measured)
        await self.swap_in(target, proven)
        await self.bring_back_users(target, rows_lost=measured.loss.postgres.markers_lost != 0)
        await self.settle(target)
        return await self.verdict()

    async def _assess(self, target: Target) -> Assessment:
        while True:
            found = await self.step(
                "Assess the corruption", Diagnosis.assess_corruption, TargetOrder(target=target)
            )
            if self.believe(found):
                return found
            await self.park("assess_corruption", found.because, code="assessment-unknown")

    async def before_verification(self, target: Target, copy: Copy) -> None:
        """Bring a dead server's last WAL to the copy before it is verified."""
        if not self.found.answers:
            await self.close_server(target, copy, answers=False)

    async def _close_living_server(self, target: Target, copy: Copy) -> MeasuredLoss:
        await self.stop_writers(target)
        await self.close_server(target, copy, answers=True)
        await self.verify_touched(target, copy)
        return await self.measure_loss(target, copy, "Measure the loss again", step_id="measure_loss:last")
