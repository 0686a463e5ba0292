"""DatabaseCorruption: restore while people decide.

Symptoms: errors such as "invalid page in block" or "could not read block", wrong or missing rows, a
PostgreSQL that does not start because its files are damaged.

Promise: the damaged data is never touched and is kept aside; people decide on what was measured on a
restored copy; a server that still answers goes on serving until they have decided.

1. Load the stack
2. Assess the corruption
3. Note that a recovery is open
4. Keep the damage from spreading
5. Choose a backup that was proven restorable
6. Restore the backup into a new volume
7. Replay the WAL on an isolated copy
8. Verify data integrity on the copy
9. Measure the loss on the copy
10. Decide at the gate ``swap`` (people)
11. Pause the ledger's markers
12. Stop everything that writes to the database
13. Close the damaged server
14. Replay the last WAL
15. Verify what was touched since
16. Measure the loss again
17. Promote the copy
18. Swap the restored volume in
19. Start PostgreSQL
20. Stream the WAL of the new timeline
21. Resume the ledger's markers
22. Start Hasura
23. Check Hasura's metadata
24. Bring the search index in line
25. Start the dependent services
26. Verify from the user's side
27. Let vacuum run again
28. Check the recovered server
29. Measure loss and skew of all stores
30. Measure the downtime
31. Take a fresh base backup
32. Record that the backup was restorable
33. Note that the recovery is over
34. Write the report

A server that cannot serve anyway is closed (11 to 14) without waiting for people, before step 8.
The search index is brought in line before users come back only where rows were lost, else after 26.
A run that people end before step 18 is undone.
Where only indexes are damaged, ``workflows/reindex.py`` takes the place of everything after step 4.
"""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.postgres.quiet import Quiet
    from domain.diagnosis import Verdict
    from domain.incident import RecoveryRequest, RecoveryResult
    from domain.ledger import MeasuredLoss
    from domain.order import Target, TargetOrder
    from domain.recovery import Copy
    from workflows.closing import Ending
    from workflows.reindex import Reindex


@workflow.defn(name="DatabaseCorruption")
class DatabaseCorruption(Reindex):
    """Bring a corrupted PostgreSQL back from a backup and all its WAL."""

    SCENARIO = "database_corruption"

    @workflow.run
    # The request is read by the desk; the default is frozen.
    async def run(self, request: RecoveryRequest = RecoveryRequest()) -> RecoveryResult:  # noqa: ARG002, B008
        """Run the runbook above."""
        return await self.conduct(self.recover)

    async def recover(self) -> Ending:
        """Do the steps of the module's docstring, in their order."""
        target = await self.load()
        found = self.found = await self.assess(target)
        if self.request.mode == "plan" and found.verdict is Verdict.INDEX_ONLY:
            return self.plan_reindex(found)
        if self.request.mode == "plan":
            return self.plan(found, await self.choose(target, found))
        await self.raise_flag(target)
        await self.step("Keep the damage from spreading", Quiet.ensure_quiet, TargetOrder(target=target))
        self.note_change("autovacuum is off on the damaged server", "ALTER SYSTEM RESET autovacuum")
        if found.verdict is Verdict.INDEX_ONLY:
            damaged = await self.rebuild_indexes(target, found)
            if damaged is None:
                return await self.close_reindexed(target)
            found = self.found = damaged
        choice = await self.choose(target, found)
        if not found.answers:
            await self.stop_writers(target)
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
        await self.settle(target, self.promoted, proven.backup)
        return await self.verdict()

    async def before_verification(self, target: Target, copy: Copy) -> None:
        """Bring a dead server's last WAL to the copy before it is verified."""
        if not self.found.answers:
            await self.close_server(target, copy, answers=False)

    async def _close_living_server(self, target: Target, copy: Copy) -> MeasuredLoss:
        await self.stop_writers(target)
        await self.close_server(target, copy, answers=True)
        await self.verify_touched(target, copy)
        return await self.measure_loss(target, copy, "Measure the loss again", step_id="measure_loss:last")
