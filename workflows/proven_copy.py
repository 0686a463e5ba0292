"""A restored copy that was proven: choose, restore, replay, verify; the next older backup if not."""

from dataclasses import dataclass
from datetime import datetime

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.postgres.choose import Choosing
    from activities.postgres.follow import Following
    from activities.postgres.integrity import Integrity
    from activities.postgres.restore import Restoring
    from domain.backups import Backup, BackupChoice, ChooseOrder, PassedOver
    from domain.diagnosis import Assessment
    from domain.order import Target
    from domain.recovery import Copy, FollowOrder, Restored, RestoreOrder, Verified, VerifyOrder
    from workflows.far_copy import FarCopy


@dataclass(frozen=True)
class Proven:
    """A copy that stood all checks at a recorded LSN."""

    backup: Backup
    restored: Restored
    copy: Copy
    verified: Verified


class ProvenCopy(FarCopy):
    """Adds ``choose`` and ``prove_a_copy`` to the words of a scenario."""

    tried: tuple[PassedOver, ...] = ()
    switched_at: datetime | None = None
    """What a living server acknowledged before this instant must be on the copy at the gate."""

    async def choose(self, target: Target, found: Assessment) -> BackupChoice:
        """Choose a backup, from off-site where the shelf has none; park without one, with nothing stopped."""
        attempt = len(self.tried) + 1
        step_id = "choose_backup" if attempt == 1 else f"choose_backup:{attempt}"
        while True:
            choice = await self.step(
                "Choose a backup that was proven restorable",
                Choosing.choose_backup,
                ChooseOrder(
                    target=target,
                    before=found.first_evidence_at,
                    timeline=found.timeline,
                    system_identifier=found.system_identifier,
                    excluded=self.tried,
                ),
                step_id=step_id,
            )
            self.evidence.passed_over = self.passed_over(choice)
            if choice.backup is not None:
                return choice
            if self.request.mode == "plan":
                await self.plan_recall(target, found, choice)
                return choice
            recalled, missing = self.recalled, await self.recall(target, found, choice, self.tried)
            self.evidence.passed_over = self.passed_over(choice)
            if not missing and self.recalled is not recalled:
                continue
            await self.park(step_id, _missing(choice, missing), code="no-backup")
            # People may have put right what was wrong with any copy.
            self.far_passed = ()

    async def prove_a_copy(self, target: Target, found: Assessment, choice: BackupChoice) -> Proven:
        """Restore, replay and verify; a backup whose copy fails is passed over for an older one."""
        while True:
            assert choice.backup is not None  # noqa: S101 - choose() parks until there is one
            proven = await self._try(target, found, choice.backup)
            if proven.verified.passed:
                return proven
            failed = [p for p in proven.verified.proofs if p.passed is False]
            reason = "; ".join(f"{p.name}: {p.evidence}" for p in failed) or proven.verified.sentence
            self.tried = (*self.tried, PassedOver(id=choice.backup.id, reason=reason[:500]))
            choice = await self.choose(target, found)

    async def _try(self, target: Target, found: Assessment, backup: Backup) -> Proven:
        attempt = len(self.tried) + 1
        mark = "" if attempt == 1 else f":{attempt}"
        restored = await self.step(
            "Restore the backup into a new volume",
            Restoring.ensure_restored,
            RestoreOrder(target=target, backup=backup, attempt=attempt),
            step_id=f"ensure_restored{mark}",
        )
        self.switched_at = workflow.now() if found.answers else None
        copy = await self.step(
            "Replay the WAL on an isolated copy",
            Following.ensure_following,
            FollowOrder(
                target=target,
                backup=backup,
                volume=restored.volume,
                timeline=found.timeline or backup.timeline,
                answers=found.answers,
                damaged_blocks=found.damaged_blocks,
                first_evidence_lsn=found.first_evidence_lsn,
            ),
            step_id=f"ensure_following{mark}",
        )
        await self.before_verification(target, copy)
        verified = await self.step(
            "Verify data integrity on the copy",
            Integrity.verify_copy,
            VerifyOrder(target=target, copy_=copy, checks=self.facts.stack.checks, baseline=backup.contents),
            step_id=f"verify_copy{mark}",
        )
        return Proven(backup, restored, copy, verified)

    async def before_verification(self, target: Target, copy: Copy) -> None:
        """Let a scenario bring more WAL to the copy first."""


def _missing(choice: BackupChoice, far: str) -> str:
    """Return why there is no backup and what is missing, said once."""
    parts = dict.fromkeys(part for part in (choice.sentence, choice.missing, far) if part)
    return " ".join(parts)
