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
11. Look at the stack again
12. Look for the backup again
13. Pause the ledger's markers
14. Stop everything that writes to the database
15. Close the damaged server
16. Replay the last WAL
17. Verify what was touched since
18. Measure the loss again
19. Promote the copy
20. Swap the restored volume in
21. Start PostgreSQL
22. Stream the WAL of the new timeline
23. Resume the ledger's markers
24. Start Hasura
25. Check Hasura's metadata
26. Bring the search index in line
27. Start the dependent services
28. Verify from the user's side
29. Let vacuum run again
30. Check the recovered server
31. Measure loss and skew of all stores
32. Measure the downtime
33. Take a fresh base backup
34. Record that the backup was restorable
35. Note that the recovery is over
36. Write the report

A server that cannot serve anyway is closed (13 to 16) without waiting for people, before step 8.
The search index is brought in line before users come back only where rows were lost, else after 28.
Where the shelf holds no usable backup, one is fetched from off-site (``workflows/far_copy.py``) and step 5 is
done again; without one there either the run parks, with nothing stopped.
Where a fact got worse (11, 12, 18) or the approval grew old, people are asked again.
A run that people end before step 20 is undone.
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
        brief = await self.agree(target, found, proven, measured)
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
