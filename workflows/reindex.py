"""Rebuild indexes that lie, from tables that are sound: no restore, users go on.

After the assessment, the flag and the quiet of ``DatabaseCorruption``:

1. Rebuild the damaged indexes
2. Check the indexes against their tables
3. Verify from the user's side
4. Let vacuum run again
5. Check the server
6. Measure loss and skew of all stores
7. Measure the downtime
8. Note that the recovery is over
9. Write the report

A stack file that names the gate ``reindex`` has people asked before step 1. Where a rebuild shows that the
table is what is damaged, the run goes on as a restore.
"""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.postgres.assess import Diagnosis
    from activities.postgres.integrity import Integrity, VerifyServerOrder
    from activities.postgres.quiet import Quiet
    from activities.postgres.reindex import Reindexing
    from activities.postgres.reindex_proof import ReindexProof
    from activities.traffic import JourneyOrder, Traffic
    from domain.diagnosis import Assessment, Verdict
    from domain.order import Outcome, Target, TargetOrder
    from domain.recovery import Judged
    from domain.reindexing import (
        GATE,
        KEPT_NOTHING,
        Reindexed,
        ReindexOrder,
        VerifyReindexedOrder,
        reindex_brief,
    )
    from domain.report import Report
    from workflows.closing import Ending
    from workflows.way_back import WayBack


class Reindex(WayBack):
    """Adds the way of a database whose tables are sound and whose indexes are not."""

    rebuilding = False
    """Only indexes are being rebuilt: there is no copy, and nothing is kept aside."""

    def plan_reindex(self, found: Assessment) -> Ending:
        """Say what a real run would rebuild; nothing was changed."""
        names = ", ".join(found.damaged_indexes)
        asked = " after the gate 'reindex'" if GATE in self.facts.stack.gates else ""
        return Ending(
            "stood_down",
            f"Plan only, nothing was changed. {found.because} Every table is sound. A real run would rebuild"
            f" {names}{asked} while users go on, and restore nothing.",
        )

    async def rebuild_indexes(self, target: Target, found: Assessment) -> Assessment | None:
        """Rebuild and prove; return a new assessment when it is the tables that are damaged."""
        self.rebuilding = True
        self.evidence.facts |= {
            "diagnosis": found.because,
            "damaged indexes": ", ".join(found.damaged_indexes),
        }
        if GATE in self.facts.stack.gates:
            await self.gate(reindex_brief(found))
        attempt = 1
        while True:
            rebuilt = await self._rebuild(target, found, attempt)
            judged = Judged(sentence=rebuilt.sentence, passed=False)
            if not rebuilt.table_damage:
                judged = await self._check(target, found, attempt)
                if judged.passed:
                    self.evidence.proofs = [p for p in judged.proofs if p.passed is None]
                    self.prove(p for p in judged.proofs if p.passed is not None)
                    self.timeline.mark("recovered", workflow.now())
                    return None
            attempt += 1
            again = await self._look(target, f"assess_corruption:{attempt}")
            if again.verdict is Verdict.CORRUPT:
                self.believe(again)
                self.rebuilding = False
                return again
            await self.park("verify_reindexed", judged.sentence, code="verification-failed")
            found = _both(found, again)

    async def assess(self, target: Target) -> Assessment:
        """Look at the server; park while it cannot be told what ails it."""
        while True:
            found = await self._look(target, "assess_corruption")
            if self.believe(found):
                return found
            await self.park("assess_corruption", found.because, code="assessment-unknown")

    async def _look(self, target: Target, step_id: str) -> Assessment:
        order = TargetOrder(target=target)
        return await self.step("Assess the corruption", Diagnosis.assess_corruption, order, step_id=step_id)

    async def _rebuild(self, target: Target, found: Assessment, attempt: int) -> Reindexed:
        rebuilt = await self.step(
            "Rebuild the damaged indexes",
            Reindexing.ensure_reindexed,
            ReindexOrder(target=target, indexes=found.indexes, attempt=attempt),
            step_id="ensure_reindexed" if attempt == 1 else f"ensure_reindexed:{attempt}",
        )
        if rebuilt.rebuilt:
            self.note_change(
                f"rebuilt: {', '.join(rebuilt.rebuilt)}", "nothing needs to be: no row was changed"
            )
            self.evidence.facts["rebuilt indexes"] = ", ".join(rebuilt.rebuilt)
        if rebuilt.locked:
            self.evidence.facts["rebuilt with a lock"] = ", ".join(rebuilt.locked)
        return rebuilt

    async def _check(self, target: Target, found: Assessment, attempt: int) -> Judged:
        return await self.step(
            "Check the indexes against their tables",
            ReindexProof.verify_reindexed,
            VerifyReindexedOrder(target=target, indexes=found.indexes, checks=self.facts.stack.checks),
            step_id="verify_reindexed" if attempt == 1 else f"verify_reindexed:{attempt}",
        )

    async def close_reindexed(self, target: Target) -> Ending:
        """Prove it from the user's side, measure, and say what it came to."""
        journey = JourneyOrder(target=target, journey=self.facts.stack.journey)
        seen = await self.step("Verify from the user's side", Traffic.verify_user_journey, journey)
        self.prove(seen.proofs, journey=True)
        self.timeline.mark("verified", workflow.now())
        await self.step("Let vacuum run again", Quiet.ensure_unquiet, TargetOrder(target=target))
        order = VerifyServerOrder(
            target=target,
            expected_timeline=self.found.timeline,
            expected_system_identifier=self.found.system_identifier,
        )
        self.prove((await self.step("Check the server", Integrity.verify_server, order)).proofs)
        await self.measure(target)
        await self.clear_flag(target)
        return await self.verdict()

    async def undo(self) -> None:
        """Undo what a run changed that people ended; a rebuilt index stays."""
        if not self.rebuilding:
            await super().undo()
            return
        order = TargetOrder(target=self.facts.target)
        await self.step("Let vacuum run again", Quiet.ensure_unquiet, order, skipped=Outcome())
        await self.clear_flag(self.facts.target)
        self.evidence.changed = [c for c in self.evidence.changed if c.startswith("rebuilt")]

    def draft(self, ending: Ending) -> Report:
        """Say why nothing is kept aside."""
        report = super().draft(ending)
        return report.model_copy(update={"kept_aside_reason": KEPT_NOTHING}) if self.rebuilding else report


def _both(found: Assessment, again: Assessment) -> Assessment:
    """Return the first assessment with the indexes of both."""
    indexes = tuple(dict.fromkeys((*found.indexes, *again.indexes)))
    names = tuple(dict.fromkeys(index.name for index in indexes))
    return found.model_copy(update={"indexes": indexes, "damaged_indexes": names})
