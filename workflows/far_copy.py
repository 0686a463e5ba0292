"""A shelf without a usable backup: the newest usable one is fetched from off-site, on the record.

Where ``Choose a backup that was proven restorable`` finds none and the stack file names an off-site store:

1. Look for a backup off-site
2. Fetch the backup from off-site

Then the shelf is chosen from again. A far copy that cannot be used is passed over for the next older one.
"""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.offsite_choose import OffsiteChoosing
    from activities.offsite_fetch import OffsiteFetching
    from domain.backups import BackupChoice, PassedOver
    from domain.diagnosis import Assessment
    from domain.far_choice import FarChoice, FarChooseOrder, Recalled
    from domain.offsite import OffsitePolicy
    from domain.offsite_copies import FetchOrder
    from domain.order import Target
    from workflows.opening import Opening

_NO_STORE = "The stack file names no off-site store to fetch one from (docs/offsite.md)."


class FarCopy(Opening):
    """Adds ``recall`` to the words of a scenario."""

    recalled: FarChoice | None = None
    """The far copy that was brought back last; the WAL of the far archive is what follows it."""
    far_passed: tuple[PassedOver, ...] = ()
    """What off-site could not be used since people spoke last, or did not help."""
    would_recall = ""
    """In a plan: which far copy a real run would fetch."""
    _looks = 0

    async def plan_recall(self, target: Target, found: Assessment, choice: BackupChoice) -> None:
        """See which far copy a real run would fetch; nothing is changed."""
        policy = self.facts.stack.offsite
        if choice.none_usable and policy is not None:
            far = await self._look_afar(target, found, policy, ())
            self.would_recall = far.sentence if far.entry_id else ""

    async def recall(
        self, target: Target, found: Assessment, choice: BackupChoice, tried: tuple[PassedOver, ...]
    ) -> str:
        """Bring the newest usable far backup to the shelf; return what is missing, or nothing."""
        policy = self.facts.stack.offsite
        if not choice.none_usable:
            return ""
        if policy is None:
            return _NO_STORE
        self._note_what_did_not_help(choice)
        while True:
            far = await self._look_afar(target, found, policy, (*tried, *self.far_passed))
            if not far.entry_id:
                return far.missing
            await self.tell(f"The shelf of {self.stack_name} holds no usable backup: {far.sentence}")
            came = await self._fetch(target, policy, far)
            if not came.problem:
                self.recalled = far
                self.evidence.facts["off-site"] = f"{far.sentence}. {came.sentence}"
                return ""
            self.far_passed = (*self.far_passed, PassedOver(id=far.entry_id, reason=came.problem))

    def passed_over(self, choice: BackupChoice) -> list[str]:
        """Return what was passed over on the shelf and off-site, a line each."""
        here = [f"{one.id}: {one.reason}" for one in choice.passed_over]
        return here + [f"{one.id} (off-site): {one.reason}" for one in self.far_passed]

    async def _look_afar(
        self, target: Target, found: Assessment, policy: OffsitePolicy, tried: tuple[PassedOver, ...]
    ) -> FarChoice:
        self._looks += 1
        far = await self.step(
            "Look for a backup off-site",
            OffsiteChoosing.choose_offsite,
            FarChooseOrder(
                target=target,
                policy=policy,
                before=found.first_evidence_at,
                system_identifier=found.system_identifier,
                excluded=tried,
            ),
            step_id=f"choose_offsite{self._mark()}",
            skipped=FarChoice(missing="The look off-site was skipped by a person."),
        )
        known = {one.id for one in tried}
        self.far_passed += tuple(one for one in far.passed_over if one.id not in known)
        return far

    async def _fetch(self, target: Target, policy: OffsitePolicy, far: FarChoice) -> Recalled:
        return await self.step(
            "Fetch the backup from off-site",
            OffsiteFetching.ensure_recalled,
            FetchOrder(target=target, policy=policy, entry_id=far.entry_id, instead=True),
            step_id=f"ensure_recalled{self._mark()}",
            skipped=Recalled(id=far.entry_id, problem="the fetch was skipped by a person"),
        )

    def origin(self) -> str:
        """Return what people must know of a copy that came from off-site; nothing of another one."""
        far = self.recalled
        if far is None:
            return ""
        ends = f"{far.wal_until:%Y-%m-%d %H:%M:%SZ}" if far.wal_until else "the backup's end"
        return (
            f"The shelf held no usable backup; {far.entry_id} came from off-site, with the WAL that was"
            f" copied until {ends}. What the damaged server still has of its own WAL is replayed too"
        )

    def note_last_wal(self, sentence: str) -> None:
        """Say of a far archive how much of the server's own WAL still followed it."""
        if self.recalled is not None:
            self.evidence.facts["last WAL"] = sentence

    def _note_what_did_not_help(self, choice: BackupChoice) -> None:
        """Pass over the copy that was brought back and that the choice refused all the same."""
        if self.recalled is None or any(one.id == self.recalled.entry_id for one in self.far_passed):
            return
        name = self.recalled.entry_id
        why = next((one.reason for one in choice.passed_over if one.id == name), "it was not chosen")
        self.far_passed = (*self.far_passed, PassedOver(id=name, reason=f"fetched, and not usable: {why}"))

    def _mark(self) -> str:
        return "" if self._looks == 1 else f":{self._looks}"
