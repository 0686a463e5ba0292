"""BackupVerification: every due backup is there, fresh and whole, and some are restored to prove it.

1. Look whether a recovery is open: then stand down, and say so.
2. Read the catalogue: every kind that the policy wants is there, fresh, and not suspiciously small; what was
   not due yet since its schedule was made is listed as that. Follow the archived WAL from the newest base
   backup.
3. Restore the latest of each kind, one by chance and the oldest in rotation, each into a place of its own.
4. List the far copies, and bring one back into a shelf of its own.
5. Write the report, and tell people either way.

A recovery that begins meanwhile is noticed between two restores; the verification then ends, as failed.
"""

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.people import TellOrder
    from activities.shelf import Shelf
    from activities.verification import VerificationReports
    from domain.backups import ShelfOrder
    from domain.notify import Occasion
    from domain.order import Facts
    from domain.verification import (
        ARCHIVED_FOR,
        Checked,
        RecordVerificationOrder,
        VerificationReport,
        judged,
    )
    from domain.verification_due import Due, due_of
    from domain.verification_look import picked, unprotected
    from workflows.backup import ScheduledRequest, load
    from workflows.errand import errand
    from workflows.pace import Trouble
    from workflows.retention import open_recovery, unclosed
    from workflows.telling import why_not_told
    from workflows.verification_archive import archived_wal
    from workflows.verification_due import without_what_is_not_due
    from workflows.verification_far import far_copies
    from workflows.verification_restores import restored


@workflow.defn(name="BackupVerification")
class BackupVerification:
    """Show that a stack could be recovered from its backups; ``{}`` is the worker's default stack."""

    @workflow.run
    async def run(self, request: ScheduledRequest = ScheduledRequest()) -> VerificationReport:  # noqa: B008 - frozen
        """Verify, record, tell; a verification that cannot look is one that failed."""
        self.request, self.seed = request, workflow.random().getrandbits(32)
        self.checks: list[Checked] = []
        self.due: tuple[Due, ...] = ()
        self.stack = request.stack
        try:
            facts = await load(request)
            self.stack = facts.stack.stack
            opened = await open_recovery(self.stack) or unclosed(facts)
            if opened:
                return await self._ended("stood_down", f"Stood down: {opened}")
            await self._verify(facts)
        except ActivityError as error:
            self._found("stack", passed=False, evidence=Trouble.of(error).sentence)
        passed, rule = self._judged()
        return await self._ended("passed" if passed else "failed", rule)

    def _judged(self) -> tuple[bool, str]:
        if self.checks and not self.due:
            return False, self.checks[-1].evidence
        return judged(self.due, self.checks)

    async def _verify(self, facts: Facts) -> None:
        self.due = due_of(facts.stack)
        order = ShelfOrder(shelf=facts.target.shelf, stack=facts.target.stack)
        listed = await errand("Read the catalogue", Shelf.observe_entries, order, site=facts.stack.site)
        as_of = self.request.scheduled_for or workflow.now()
        self.checks += await without_what_is_not_due(facts, self.due, listed, as_of)
        self.checks += unprotected(facts.stack)
        if any(one.place == ARCHIVED_FOR for one in self.due):
            self.checks += await archived_wal(facts, listed.entries)
        for pick in picked(self.due, listed.entries, self.seed):
            if await self._interrupted(facts):
                return
            workflow.set_current_details(f"restoring {pick.entry.id}, {pick.why}")
            self.checks.append(await restored(facts, pick))
        if facts.stack.offsite is not None and not await self._interrupted(facts):
            self.checks += await far_copies(facts, listed.entries, self.seed, as_of)

    async def _interrupted(self, facts: Facts) -> bool:
        """Tell whether a recovery began meanwhile; it is left the host, and what is missing is missing."""
        opened = await open_recovery(facts.stack.stack)
        if opened:
            said = f"ended early, for a recovery began: {opened}"
            self._found("stack", passed=None, evidence=said)
        return bool(opened)

    def _found(self, what: str, *, passed: bool | None, evidence: str) -> None:
        self.checks.append(Checked.model_validate({"what": what, "passed": passed, "evidence": evidence}))

    async def _ended(self, outcome: str, rule: str) -> VerificationReport:
        info = workflow.info()
        report = VerificationReport.model_validate(
            {
                "stack": self.stack or "unknown",
                "outcome": outcome,
                "rule": rule,
                "sentence": f"Verification of backups {outcome.replace('_', ' ')}: {rule}",
                "checks": self.checks,
                "restored": [c.entry_id for c in self.checks if c.what == "restored" and c.passed],
                "seed": self.seed,
                "run_id": info.run_id,
                "reason": self.request.reason,
                "scheduled_for": self.request.scheduled_for,
                "started_at": info.start_time,
                "ended_at": workflow.now(),
            }
        )
        if outcome != "stood_down":
            report = report.model_copy(update={"not_told": await self._tell(report)})
        workflow.set_current_details(report.sentence)
        order = RecordVerificationOrder(report=report)
        hand = VerificationReports.ensure_verification_recorded
        return await errand("Write the report", hand, order, control=True)

    async def _tell(self, report: VerificationReport) -> str:
        """Tell people how it ended; return who was not reached. A channel that is down fails nothing."""
        occasion = Occasion.PASSED if report.passed else Occasion.FAILED
        order = TellOrder(stack=self.stack, sentence=report.sentence, occasion=occasion)
        return await why_not_told(order)
