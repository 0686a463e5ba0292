"""Waiting for people: ``gate``, ``park`` and ``hold``. No wait ends in the dangerous branch.

Every wait has reminders and an escalation. A gate that nobody answers parks, and a parked run goes on
only when a person says so.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Literal

from temporalio import workflow

from workflows import measures

with workflow.unsafe.imports_passed_through():
    from activities.people import TellOrder
    from domain import names
    from domain.approval import Brief, Verb
    from domain.gates import OPERATE, GatePolicy, Rung
    from domain.incident import RecoveryResult
    from domain.inert import quoted
    from domain.report import Note
    from domain.timeline import ask_at_gate, ask_when_parked, current_details
    from workflows.closing import Closing, Ending
    from workflows.desk import Desk
    from workflows.pace import LONGEST_REMINDER, attributes
    from workflows.telling import why_not_told

_SOON = timedelta(milliseconds=1)
_SIGNED_ONLY = (
    "**Signed decisions alone count here.** `dr approve --key FILE` signs and sends one; `dr sign approve"
    " --key FILE` prints the JSON to paste instead of the one above."
)


class Ended(Exception):
    """Carries the end of a run out of the middle of a scenario."""

    def __init__(self, ending: Ending) -> None:
        """End as ``ending`` says."""
        super().__init__(ending.rule)
        self.ending = ending


class Gates(Desk, Closing):
    """Adds the waits for people to the desk that they speak to."""

    cancelled = False
    """Somebody asked Temporal to cancel the run; it has not parked for that yet."""
    agreed_at: datetime | None = None
    """The oldest approval that the run acts on."""

    # -- gate -------------------------------------------------------------------------------------

    async def gate(self, brief: Brief, *, again: Callable[[], Awaitable[Brief]] | None = None) -> Brief:
        """Show people the facts until they approve, and return the brief that they approved.

        A rejection or an abort ends the run as ``aborted``. A brief that grew old is measured again by
        ``again`` and asked anew; a deadline parks. Nothing but approvals goes on.
        """
        await self._between_steps()
        policy = self.facts.stack.gates.get(brief.gate, GatePolicy())
        opened, rungs = workflow.now(), list(policy.rungs())
        while True:
            came_to = await self._ask(brief, policy, opened, rungs)
            if came_to == "approved":
                self.agreed_at = min(approval.at for approval in self.approvals)
                self.timeline.mark("decided", workflow.now())
                self.show("running")
                return brief
            if came_to == "nobody":
                waited = f"nobody decided at the gate {brief.gate} within {_spoken(policy.deadline)}"
                await self.park(f"gate:{brief.gate}", f"{waited}; retry asks again", code="gate-deadline")
                opened, rungs = workflow.now(), list(policy.rungs())
            if again is not None:
                brief = await again()

    def approval_is_too_old(self) -> bool:
        """Tell whether the approval is older than the gate's policy lets it act."""
        return self.agreed_at is not None and workflow.now() > self.agreed_at + self.policy.valid_for

    async def _ask(
        self, brief: Brief, policy: GatePolicy, opened: datetime, rungs: list[Rung]
    ) -> Literal["approved", "nobody", "stale"]:
        again = bool(self.earlier_digests or self.digest)
        self.open_gate(brief, policy)
        awaited = ask_at_gate(brief, self.digest)
        if policy.signed == "required":
            awaited = f"{awaited}\n\n{_SIGNED_ONLY}"
        self.show(f"waiting at the gate {brief.gate}", awaited)
        word = "Decision needed again" if again else "Decision needed"
        await self.tell(
            f"{word} at the gate {brief.gate} of {self.stack_name}: {brief.question}", to=policy.roles
        )
        deadline = opened + policy.deadline
        decided = await self._wait_for_people(
            lambda: self.is_decided() or self.aborted is not None,
            f"gate {brief.gate}",
            policy,
            since=opened,
            until=min(deadline, workflow.now() + policy.valid_for),
            rungs=rungs,
        )
        closed = self._situation().closed_gate if decided else "the brief grew old: it is asked again"
        expired = workflow.now() >= deadline
        if not decided and expired:
            closed = f"nobody decided at the gate {brief.gate!r} in time; retry asks again"
        self.close_gate(closed)
        self._end_if_aborted()
        self._end_if_rejected(brief)
        if decided:
            return "approved"
        return "nobody" if expired else "stale"

    def _end_if_rejected(self, brief: Brief) -> None:
        if self.rejected is not None:
            said = self.rejected
            raise Ended(Ending("aborted", quoted(f"{said.by} rejected the gate {brief.gate}: {said.reason}")))

    # -- park and hold ----------------------------------------------------------------------------

    async def park(self, step_id: str, reason: str, *, code: str = "", skippable: bool = False) -> Verb:
        """Stop here and tell people; return ``retry`` or ``skip``, or end the run as ``aborted``."""
        self.parked_step, self.parked_reason, self.parked_code = step_id, reason, code
        self.skippable, self.unparked = skippable, None
        self.show("needs a human", ask_when_parked(step_id, reason, skippable=skippable), needs_operator=True)
        measures.came_to(self.SCENARIO, "needs_human")
        await self.tell(f"Parked at {step_id} on {self.stack_name}: {reason}")
        await self._wait_for_people(
            lambda: self.unparked is not None or self._is_to_end(), f"parked at {step_id}", self._operating()
        )
        self.parked_step = ""
        self._end_if_aborted()
        said = self.last_word()
        self.parked_reason = quoted(f"{said.by}: {said.reason}" if said.reason else said.by)
        self.show("running")
        return said.verb

    async def hold(self) -> None:
        """Wait while an operator holds the run."""
        if self.held_because:
            self.show(f"held: {self.held_because}")
            await self._wait_for_people(
                lambda: not self.held_because or self._is_to_end(), "held", self._operating()
            )

    async def _between_steps(self) -> None:
        await self.hold()
        self._end_if_aborted()
        if self.cancelled and not self.closing:
            self.cancelled = False
            await self.park("cancelled", self._where_it_is(), code="cancelled")

    def _where_it_is(self) -> str:
        changed = "; ".join(self.evidence.changed) or "nothing"
        return (
            f"The run was asked to cancel; no step was broken off. Changed so far: {changed}."
            " 'abort' ends the run and undoes what can be undone, 'retry' goes on."
        )

    def _is_to_end(self) -> bool:
        """Tell whether an abort is to be obeyed; a run that is ending already goes on to its end."""
        return self.aborted is not None and not self.closing

    def _end_if_aborted(self) -> None:
        if self.aborted is not None and not self.closing:
            said = self.aborted
            raise Ended(Ending("aborted", quoted(f"{said.by} aborted the run: {said.reason}")))

    def _operating(self) -> GatePolicy:
        return self.facts.stack.gates.get(OPERATE, GatePolicy()) if self.loaded else GatePolicy()

    # -- the wait itself --------------------------------------------------------------------------

    async def _wait_for_people(
        self,
        decided: Callable[[], bool],
        what: str,
        policy: GatePolicy,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        rungs: list[Rung] | None = None,
    ) -> bool:
        """Wait for a decision and return true, or until an instant and return false.

        Reminders grow rarer, so that history stays small; the escalation counts from ``since``, and a rung
        that was told is taken from ``rungs``.
        """
        began = workflow.now()
        since = since or began
        patience, rungs = policy.remind_after, list(policy.rungs()) if rungs is None else rungs
        remind_at = began + patience
        self.waiting_since = since
        while True:
            due = min(t for t in (remind_at, until, *(since + r.after for r in rungs[:1])) if t is not None)
            timeout = max(due - workflow.now(), _SOON)
            try:
                await workflow.wait_condition(decided, timeout=timeout, timeout_summary=f"reminder: {what}")
            except TimeoutError:
                answered, now = False, workflow.now()
            else:
                answered, now = True, workflow.now()
            if answered:
                break
            waits = f"{self.stack_name} still waits, {what}, since {since:%Y-%m-%d %H:%M}Z"
            while rungs and now >= since + rungs[0].after:
                await self._escalate(rungs.pop(0), waits)
            if until is not None and now >= until:
                # People may have answered while others were told.
                answered = decided()
                break
            if now >= remind_at:
                await self.tell(f"Reminder: {waits}", to=policy.roles)
                patience = min(patience * 2, LONGEST_REMINDER)
                remind_at = workflow.now() + patience
        self.waiting_since = None
        self.timeline.waits.append((began, workflow.now()))
        return answered

    async def _escalate(self, rung: Rung, waits: str) -> None:
        await self.tell(f"ESCALATION to {', '.join(rung.tell) or 'everybody'}: {waits}", to=rung.tell)

    async def tell(self, sentence: str, *, to: tuple[str, ...] = ()) -> None:
        """Tell people; a channel that is down never stops a recovery."""
        self.timeline.notes.append(Note(at=workflow.now(), sentence=sentence))
        order = TellOrder(recovery_id=self.recovery_id, sentence=sentence, stack=self.stack_name, to=to)
        why = await why_not_told(order)
        if why:
            self.timeline.notes.append(Note(at=workflow.now(), sentence=f"not told: {why}"))

    # -- what is shown ----------------------------------------------------------------------------

    def show(
        self,
        status: str,
        awaited: str = "",
        *,
        phase: str = "",
        needs_operator: bool = False,
        result: RecoveryResult | None = None,
    ) -> None:
        """Refresh the Web UI: the details of the run, and what lists can be filtered by."""
        workflow.set_current_details(current_details(self.timeline, status, awaited))
        values: dict[str, object] = {
            "DrState": result.outcome if result else self.state(),
            "DrNeedsOperator": needs_operator,
            "DrScenario": self.SCENARIO,
            "DrMode": self.request.mode,
        }
        if self.stack_name:
            values["DrStack"] = self.stack_name
            values["DrSite"] = self.facts.stack.site if self.loaded else names.DEFAULT_SITE
        if phase:
            values["DrPhase"] = phase
        if result is not None:
            measured = {"DrRtoSeconds": result.rto_seconds, "DrRpoSeconds": result.loss.postgres.seconds}
            values |= {name: round(seconds) for name, seconds in measured.items() if seconds is not None}
        known = workflow.info().typed_search_attributes
        updates = attributes(values, known)
        if updates:
            workflow.upsert_search_attributes(updates)


def _spoken(wait: timedelta) -> str:
    hours = wait.total_seconds() / 3600
    return f"{hours:g} h" if hours >= 1 else f"{wait.total_seconds():g} s"
