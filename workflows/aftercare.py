"""After the swap: users come back, the other stores follow, the outcome is judged."""

from collections.abc import Iterable
from datetime import datetime

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.hasura import Hasura
    from activities.ledger import Ledger
    from activities.postgres.backup import Backups
    from activities.postgres.integrity import Integrity, VerifyServerOrder
    from activities.postgres.proving import Proving
    from activities.postgres.quiet import Quiet
    from activities.search import Search
    from activities.services import Services
    from activities.traffic import JourneyOrder, Traffic
    from domain.backups import Backup, BackupChoice, BackupOrder, VerifyBackupOrder
    from domain.diagnosis import Assessment, Finding, Verdict
    from domain.durations import spoken
    from domain.ledger import DowntimeOrder, LossOrder
    from domain.order import Outcome, Target, TargetOrder
    from domain.recovery import Judged, Promoted, Proof, ServicesOrder
    from domain.stack import Kind
    from domain.verdict import Ending as Finished
    from domain.verdict import Required, outcome_rule
    from workflows.closing import Ending
    from workflows.gates import Ended
    from workflows.proven_copy import ProvenCopy


class Aftercare(ProvenCopy):
    """Adds the way back to normal to the words of a scenario."""

    paused_at: datetime | None = None
    """When PostgreSQL's markers were paused: nothing was acknowledged there since."""

    def believe(self, found: Assessment) -> bool:
        """Tell whether there is damage to repair; stand down when there is none; false when unknown."""
        self.evidence.proofs = [
            Proof(
                name=witness.name,
                passed=None if witness.finding is Finding.NOT_MEASURED else witness.finding is Finding.SOUND,
                evidence=witness.evidence,
            )
            for witness in found.witnesses
        ]
        if found.verdict is Verdict.CORRUPT:
            return True
        if found.verdict is Verdict.INDEX_ONLY:
            # Index damage that no check could put a name to cannot be rebuilt either.
            return bool(found.indexes)
        # Once something was changed, only a person may say that there is nothing to do.
        if found.verdict is Verdict.UNKNOWN or self.flagged:
            return False
        hint = f" The scenario that fits: {found.fitting_scenario}." if found.fitting_scenario else ""
        hint += "".join(f" Left here by another {left}." for left in self.facts.leftovers)
        raise Ended(Ending("stood_down", f"{found.because} Nothing was changed.{hint}"))

    def plan(self, found: Assessment, choice: BackupChoice) -> Ending:
        """Say what a real run would do; nothing was changed."""
        if self.would_recall:
            return Ending(
                "stood_down",
                f"Plan only, nothing was changed. {found.because} The shelf holds no usable backup."
                f" A real run would fetch one and restore it: {self.would_recall}.",
            )
        if choice.backup is None:
            return Ending("stood_down", f"Plan: a real run would park: {choice.missing or choice.sentence}")
        took = spoken(choice.predicted_seconds)
        self.evidence.facts["plan"] = choice.sentence
        return Ending(
            "stood_down",
            f"Plan only, nothing was changed. {found.because} A real run would restore {choice.backup.id}"
            f" and replay the WAL until {choice.last_wal_segment or 'its end'} in about {took}, verify the"
            " copy, and ask at the gate 'swap' before it stops anything.",
        )

    def note_change(self, what: str, undo: str) -> None:
        """Remember what was changed and how to undo it, for the report of an aborted run."""
        self.evidence.changed.append(f"{what}; to undo: {undo}")

    async def bring_back_users(self, target: Target, *, rows_lost: bool) -> None:
        """Check Hasura first, then start what depends on the database, then act as a user."""
        hasura = target.of_kind(Kind.HASURA)
        if hasura is not None:
            only = ServicesOrder(target=target, services=(hasura.name,))
            await self.step("Start Hasura", Services.ensure_services_started, only, step_id="start:hasura")
            checked = await self.step(
                "Check Hasura's metadata", Hasura.verify_metadata, TargetOrder(target=target)
            )
            self.prove(checked.proofs)
        if rows_lost:
            await self._search(target)
        started = await self.step(
            "Start the dependent services", Services.ensure_services_started, ServicesOrder(target=target)
        )
        self.prove(started.proofs)
        self.no_longer("stopped:")
        self.timeline.mark("recovered", workflow.now())
        journey = JourneyOrder(target=target, journey=self.facts.stack.journey)
        seen = await self.step("Verify from the user's side", Traffic.verify_user_journey, journey)
        self.prove(seen.proofs, journey=True)
        self.timeline.mark("verified", workflow.now())
        if not rows_lost:
            await self._search(target)

    async def _search(self, target: Target) -> None:
        if self.has(Kind.SEARCH):
            judged = await self.step(
                "Bring the search index in line",
                Search.ensure_search_in_line,
                TargetOrder(target=target),
                skipped=Judged(sentence="skipped by a person", passed=False),
            )
            self.prove(judged.proofs)

    async def clear_flag(self, target: Target) -> None:
        """Tell the ledger that the recovery is over."""
        await self.step(
            "Note that the recovery is over",
            Ledger.ensure_recovery_cleared,
            TargetOrder(target=target),
            skipped=Outcome(sentence="left there by a person"),
        )

    async def settle(self, target: Target, promoted: Promoted, backup: Backup) -> None:
        """Check the server, measure what was lost and how long users waited, and back up at once."""
        await self.step("Let vacuum run again", Quiet.ensure_unquiet, TargetOrder(target=target))
        self.no_longer("autovacuum")
        server = await self.step(
            "Check the recovered server",
            Integrity.verify_server,
            VerifyServerOrder(
                target=target,
                expected_timeline=promoted.timeline,
                expected_system_identifier=promoted.system_identifier,
            ),
        )
        self.prove(server.proofs)
        await self.measure(target)
        await self.step(
            "Take a fresh base backup",
            Backups.ensure_base_backup,
            BackupOrder(target=target, label=self.recovery_id, reason="after a recovery"),
        )
        await self.step(
            "Record that the backup was restorable",
            Proving.ensure_recorded_restored,
            VerifyBackupOrder(target=target, backup_id=backup.id),
            skipped=backup,
        )
        await self.clear_flag(target)

    async def measure(self, target: Target) -> None:
        """Measure what every store lost, and how long users waited."""
        measured = await self.step(
            "Measure loss and skew of all stores",
            Ledger.measure_loss,
            LossOrder(target=target, until=self.paused_at),
            step_id="measure_loss:all",
        )
        self.evidence.loss, self.evidence.skew_seconds = measured.loss, measured.skew_seconds
        declared, verified = self.timeline.moment("declared"), self.timeline.moment("verified")
        if declared and verified:
            downtime = await self.step(
                "Measure the downtime",
                Ledger.measure_downtime,
                DowntimeOrder(stack=self.stack_name, declared_at=declared, verified_at=verified),
            )
            self.evidence.downtime_seconds = downtime.seconds
            self.evidence.downtime_from = downtime.longest_from
            self.evidence.downtime_until = downtime.longest_until

    def prove(self, proofs: Iterable[Proof], *, journey: bool = False) -> None:
        """Keep proofs that must have passed before the run may call itself recovered."""
        for proof in proofs:
            self.evidence.proofs = [known for known in self.evidence.proofs if known.name != proof.name]
            self.evidence.proofs.append(proof)
            names = self.evidence.journey if journey else self.evidence.mandatory
            if proof.name not in names:
                names.append(proof.name)

    async def verdict(self) -> Ending:
        """Judge the outcome from the evidence alone; park while something was not shown."""
        while True:
            report = self.draft(Ending("recovered", ""))
            required = Required(checks=tuple(self.evidence.mandatory), journey=tuple(self.evidence.journey))
            ruling = outcome_rule(report, Finished(kind="finished"), required)
            if ruling.outcome == "recovered":
                self.headline = ruling.headline
                return Ending("recovered", ruling.rule)
            await self.park("verdict", ruling.rule, code="verification-failed")
