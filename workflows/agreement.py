"""What people agreed to still holds when the run acts: looked at again after the approval (F-F7)."""

from datetime import datetime

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.containers import Containers
    from activities.ledger import Ledger
    from activities.postgres.assess import Diagnosis
    from activities.postgres.listing import Listing
    from domain.approval import Brief
    from domain.backups import ShelfOrder
    from domain.briefs import loss_is_worse, swap_brief
    from domain.diagnosis import Assessment
    from domain.ledger import LossOrder, MeasuredLoss
    from domain.order import StackOrder, Target, TargetOrder
    from domain.recovery import Copy
    from domain.second_look import Standing, as_facts, lapsed, moved
    from workflows.aftercare import Aftercare
    from workflows.proven_copy import Proven


class Agreement(Aftercare):
    """Adds the gate ``swap`` to the words of a scenario, asked again until its facts hold."""

    found_last: Assessment
    measured: MeasuredLoss
    stated: Standing
    stated_at: datetime
    standing: Standing

    async def agree(self, target: Target, found: Assessment, proven: Proven, measured: MeasuredLoss) -> Brief:
        """Ask at the gate ``swap``, look again, and return the brief that was approved and still holds."""
        self.found_last, self.measured = found, measured
        self.stated = self.standing = Standing.of(found)
        self.stated_at = workflow.now()
        brief = await self._ask_for(self.brief_of(found, proven, measured), target, proven)
        while True:
            change = await self._look_again(target, proven)
            if change is None:
                return brief
            brief = await self._ask_anew(change, target, proven)

    async def ask_again_if_worse(
        self, stated: Brief, found: Assessment, proven: Proven, measured: MeasuredLoss
    ) -> None:
        """Let the approval lapse when the loss is worse than the brief stated (P1)."""
        self.measured = measured
        worse = loss_is_worse(stated, measured)
        if worse:
            await self._lapse(worse)
            await self._ask_for(self.brief_of(found, proven, measured), self.facts.target, proven)

    async def require_fresh_approval(self, target: Target, proven: Proven, *, copy_answers: bool) -> None:
        """Ask again when the approval is older than its gate lets it act, for example after a long park."""
        while self.approval_is_too_old():
            await self._ask_anew(
                f"it was given at {self.agreed_at:%Y-%m-%d %H:%MZ}", target, proven, measure=copy_answers
            )

    def brief_of(self, found: Assessment, proven: Proven, measured: MeasuredLoss) -> Brief:
        """Return the brief of the gate ``swap``."""
        # Asked again, the run knows more than the first brief did: what was proven since stays.
        kept = [proof for proof in self.evidence.proofs if proof.name in self.evidence.mandatory]
        self.evidence.proofs = kept + [p for p in proven.verified.proofs if p.passed is None]
        self.prove(p for p in proven.verified.proofs if p.passed is not None)
        self.evidence.facts |= {
            "backup": f"{proven.backup.id}, ended {proven.backup.ended_at:%Y-%m-%d %H:%M:%SZ}",
            "diagnosis": found.because,
        }
        brief = swap_brief(
            assessment=found,
            backup=proven.backup,
            restored=proven.restored,
            copy=proven.copy,
            verified=proven.verified,
            measured=measured,
        )
        origin = self.origin()
        return brief.model_copy(update={"facts": (origin, *brief.facts)}) if origin else brief

    async def measure_loss(
        self, target: Target, copy: Copy, title: str, *, until: datetime | None = None, step_id: str = ""
    ) -> MeasuredLoss:
        """Measure which markers, acknowledged until then, are missing on the copy."""
        order = LossOrder(target=target, socket_dir=copy.socket_dir, until=until)
        return await self.step(title, Ledger.measure_loss, order, step_id=step_id)

    # -- asking again -----------------------------------------------------------------------------

    async def _ask_for(self, brief: Brief, target: Target, proven: Proven, *, measure: bool = True) -> Brief:
        async def again() -> Brief:
            change = await self._look_again(target, proven) if measure else None
            return await self._stated_anew(
                change or "the brief was too old, its facts are as before", target, proven, measure=measure
            )

        return await self.gate(brief, again=again)

    async def _ask_anew(self, why: str, target: Target, proven: Proven, *, measure: bool = True) -> Brief:
        await self._lapse(why)
        brief = await self._stated_anew(why, target, proven, measure=measure)
        return await self._ask_for(brief, target, proven, measure=measure)

    async def _lapse(self, why: str) -> None:
        self.agreed_at = None
        await self.tell(f"The approval of {self.stack_name} has lapsed: {why}")

    async def _stated_anew(self, why: str, target: Target, proven: Proven, *, measure: bool) -> Brief:
        if measure:
            self.measured = await self.measure_loss(
                target,
                proven.copy,
                "Measure the loss on the copy again",
                until=None if self.closed else self.switched_at,
                step_id="measure_loss:again",
            )
        brief = self.brief_of(self.found_last, proven, self.measured)
        self.stated, self.stated_at = self.standing, workflow.now()
        return brief.model_copy(
            update={
                "facts": (*as_facts(self.standing, why, proven.backup.id), *brief.facts),
                "decided_on": brief.decided_on
                | {"verdict": self.standing.verdict, "backup_there": str(self.standing.backup_there)},
            }
        )

    # -- looking again ----------------------------------------------------------------------------

    async def _look_again(self, target: Target, proven: Proven) -> str | None:
        """Return what is no longer as people were told; park while the server is another one."""
        change = await self._find_the_server_again(target)
        shelf = await self.step(
            "Look for the backup again",
            Listing.observe_backups,
            ShelfOrder(shelf=target.shelf),
            step_id="observe_backups:again",
        )
        there = any(backup.id == proven.backup.id for backup in shelf.backups)
        if self._is_to_be_assessed_again(server_moved=change is not None):
            self.found_last = await self.step(
                "Assess the corruption again",
                Diagnosis.assess_corruption,
                TargetOrder(target=target),
                step_id="assess_corruption:again",
            )
        self.standing = Standing.of(self.found_last, backup_there=there)
        return change or lapsed(self.stated, self.standing, self.found_last.because)

    async def _find_the_server_again(self, target: Target) -> str | None:
        change = None
        while True:
            order = StackOrder(stack=self.stack_name, scenario=self.SCENARIO)
            now = await self.step(
                "Look at the stack again", Containers.observe_stack, order, step_id="observe_stack:again"
            )
            elsewhere = moved(target, now.target)
            if elsewhere is None:
                return change and f"the server was another one for a while: {change}"
            change = elsewhere
            await self.tell(f"The approval of {self.stack_name} does not hold: {change}")
            await self.park("observe_stack:again", change, code="target-changed")

    def _is_to_be_assessed_again(self, *, server_moved: bool) -> bool:
        """Tell whether the damage must be looked at again; what this run closed itself looks different."""
        if self.closed or not self.stated.answers:
            return False
        return server_moved or workflow.now() > self.stated_at + self.policy.assess_again_after
