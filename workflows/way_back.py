"""The way back of a run that people ended before the swap: nothing was lost, so all of it is undone."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.ledger import Ledger
    from activities.postgres.fence import Fencing
    from activities.postgres.quiet import Quiet
    from activities.postgres.receiver import Protection
    from activities.postgres.release import Releasing
    from activities.postgres.serve import Starting
    from activities.postgres.swap import Swapping
    from activities.services import Services
    from domain.backups import ReceiveOrder
    from domain.exchange import SwapSettled
    from domain.order import Outcome, Target, TargetOrder
    from domain.recovery import ServeOrder, ServicesOrder, ServicesStarted, Serving
    from domain.release import DiscardOrder, Released
    from workflows.swap_in import SwapIn


class WayBack(SwapIn):
    """Undoes what a run changed, as long as the damaged data is still in its place."""

    async def settle_exchange(self) -> None:
        """Have it found out by the data itself whether an exchange that did not answer took place."""
        if not self.is_exchanging():
            return
        told = await self.step(
            "See whether the volumes were exchanged",
            Swapping.ensure_swap_settled,
            self.exchange,
            skipped=SwapSettled(known=False),
        )
        if told.swapped is not None:
            self.note_swapped(told.swapped)
        self.exchange_settled = told.known

    async def undo(self) -> None:
        """Undo the changes of a run that ends before the swap; after it, say how people can."""
        if not self.loaded or not self.flagged:
            return
        target = self.facts.target
        order = TargetOrder(target=target)
        if not self.evidence.kept_aside and not self.is_exchanging():
            discarded = await self.step(
                "Remove the restored copy",
                Releasing.ensure_discarded,
                DiscardOrder(target=target),
                skipped=Released(sentence="left there by a person"),
            )
            self.evidence.facts["copy"] = discarded.sentence
            if self.found.answers:
                await self._open_living_server(target)
            await self.step(
                "Resume the ledger's markers", Ledger.ensure_markers_resumed, order, skipped=Outcome()
            )
        await self.clear_flag(target)

    async def _open_living_server(self, target: Target) -> None:
        """Put a server that answered back to where it was: open, started, streamed, vacuumed."""
        order = TargetOrder(target=target)
        if self.closed:
            await self.step("Open the server again", Fencing.ensure_unfenced, order, skipped=Outcome())
            await self.step(
                "Start PostgreSQL again",
                Starting.ensure_serving,
                ServeOrder(target=target, expected_timeline=self.found.timeline or 1, slot=""),
                step_id="ensure_serving:undo",
                skipped=Serving(timeline=0, writable_at=workflow.now()),
            )
            await self.step(
                "Stream the WAL again",
                Protection.ensure_receiving,
                ReceiveOrder(target=target),
                step_id="ensure_receiving:undo",
            )
        if self.writers_stopped:
            await self.step(
                "Start what was stopped",
                Services.ensure_services_started,
                ServicesOrder(target=target),
                step_id="start:undo",
                skipped=ServicesStarted(),
            )
        await self.step("Let vacuum run again", Quiet.ensure_unquiet, order, skipped=Outcome())
        self.evidence.changed = ["everything that was changed was undone"]
