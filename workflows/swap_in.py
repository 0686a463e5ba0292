"""Close the damaged server, bring its last WAL to the copy, promote it, and swap it in."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.ledger import Ledger
    from activities.postgres.fence import Fencing
    from activities.postgres.integrity import Integrity
    from activities.postgres.last_wal import Draining
    from activities.postgres.promote import Promoting
    from activities.postgres.receiver import Protection
    from activities.postgres.serve import Starting
    from activities.postgres.swap import Swapping
    from activities.services import Services
    from domain import names
    from domain.backups import ReceiveOrder
    from domain.diagnosis import Assessment
    from domain.exchange import SwapOrder, Swapped
    from domain.order import Target, TargetOrder
    from domain.recovery import (
        Copy,
        Fenced,
        LastWal,
        LastWalOrder,
        Promoted,
        PromoteOrder,
        ServeOrder,
        ServicesOrder,
        ServicesStopped,
        VerifyOrder,
    )
    from domain.report import KeptAside
    from workflows.agreement import Agreement
    from workflows.proven_copy import Proven


class SwapIn(Agreement):
    """Adds the dangerous part of a database recovery to the words of a scenario."""

    stopped: ServicesStopped
    last_wal: LastWal
    fenced: Fenced
    promoted: Promoted
    exchange: SwapOrder
    found: Assessment

    async def raise_flag(self, target: Target) -> None:
        """Tell the ledger that a recovery is open: it prunes nothing until that is over."""
        await self.step(
            "Note that a recovery is open", Ledger.ensure_recovery_flagged, TargetOrder(target=target)
        )
        self.flagged = True

    async def stop_writers(self, target: Target) -> None:
        """Stop everything that writes to the database, and the ledger's own markers before it."""
        paused = await self.step(
            "Pause the ledger's markers", Ledger.ensure_markers_paused, TargetOrder(target=target)
        )
        self.paused_at = paused.paused_at
        self.writers_stopped = True
        self.stopped = await self.step(
            "Stop everything that writes to the database",
            Services.ensure_writers_stopped,
            ServicesOrder(target=target),
        )
        self.note_change(
            f"stopped: {', '.join(self.stopped.services) or 'nothing'}", "start their containers"
        )

    async def close_server(self, target: Target, copy: Copy, *, answers: bool) -> None:
        """Close the server to everybody, and bring what it still wrote to the copy."""
        self.closed = True
        self.fenced = await self.step(
            "Close the damaged server", Fencing.ensure_fenced, TargetOrder(target=target)
        )
        self.note_change(
            "the server is closed by its pg_hba.conf", "the kept file is in the recovery's records"
        )
        self.last_wal = await self.step(
            "Replay the last WAL",
            Draining.ensure_last_wal,
            LastWalOrder(target=target, copy_=copy, answers=answers, gap_ends=self.recalled is not None),
        )
        self.note_last_wal(self.last_wal.sentence)
        self.note_change("the damaged server is stopped", "start its container: its volume was not changed")

    async def verify_touched(self, target: Target, copy: Copy) -> None:
        """Verify again what the last WAL touched; park when it carried the damage over."""
        order = VerifyOrder(target=target, copy_=copy, checks=self.facts.stack.checks, full=False)
        while True:
            verified = await self.step(
                "Verify what was touched since", Integrity.verify_copy, order, step_id="verify_copy:touched"
            )
            self.prove(
                p.model_copy(update={"name": f"{p.name} (last WAL)"})
                for p in verified.proofs
                if p.passed is not None
            )
            if verified.passed:
                return
            await self.park("verify_copy:touched", verified.sentence, code="copy-damaged-by-wal")

    async def swap_in(self, target: Target, proven: Proven) -> None:
        """Promote the copy, exchange the volumes, start the server, protect it again."""
        await self.require_fresh_approval(target, proven, copy_answers=True)
        slot = f"dr_recv_{names.short_id(self.recovery_id)}"
        promoted = await self.step(
            "Promote the copy",
            Promoting.ensure_promoted,
            PromoteOrder(
                target=target, copy_=proven.copy, expected_lsn=self.last_wal.replayed_lsn, slot=slot
            ),
        )
        self.promoted = promoted
        await self.require_fresh_approval(target, proven, copy_answers=False)
        self.exchange = SwapOrder(target=target, restored_volume=proven.restored.volume)
        self.note_swapped(
            await self.step("Swap the restored volume in", Swapping.ensure_swapped_in, self.exchange)
        )
        await self._start(target, promoted, slot)

    def note_swapped(self, swapped: Swapped) -> None:
        """Note that the volumes are exchanged, and where the damaged data is now."""
        self.evidence.kept_aside.append(
            KeptAside(
                volume=swapped.kept_volume,
                bytes=swapped.kept_bytes,
                release_command=f"dr release {self.recovery_id}",
            )
        )
        self.no_longer("the server is closed")
        self.note_change(
            "the restored data is in the live volume", f"the damaged data is in {swapped.kept_volume}"
        )

    async def _start(self, target: Target, promoted: Promoted, slot: str) -> None:
        await self.step(
            "Start PostgreSQL",
            Starting.ensure_serving,
            ServeOrder(
                target=target,
                expected_timeline=promoted.timeline,
                slot=slot,
                restart_policy=self.fenced.restart_policy,
            ),
        )
        self.no_longer("the damaged server is stopped")
        await self.step(
            "Stream the WAL of the new timeline",
            Protection.ensure_receiving,
            ReceiveOrder(target=target, slot=slot),
        )
        await self.step(
            "Resume the ledger's markers", Ledger.ensure_markers_resumed, TargetOrder(target=target)
        )
