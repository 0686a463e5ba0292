"""The four words that a scenario is written in: ``step``, ``gate``, ``park`` and ``hold``.

Timeouts, retries, search attributes and the console's texts live here, so that a scenario reads like
the runbook. A workflow never fails because a system was down: it parks, and a parked one goes on.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar, cast

from temporalio import workflow
from temporalio.exceptions import ActivityError

from workflows import measures

with workflow.unsafe.imports_passed_through():
    from activities.people import People, TellOrder
    from activities.reports import Reports
    from domain import names
    from domain.approval import Brief, Verb
    from domain.incident import RecoveryResult
    from domain.order import Facts, Order, Outcome, Token
    from domain.report import Note, ReportOrder, ReportWritten
    from domain.stack import GatePolicy, Kind
    from domain.timeline import StepRecord, ask_at_gate, ask_when_parked, current_details
    from workflows.closing import Closing, Ending
    from workflows.desk import Desk
    from workflows.pace import (
        HEARTBEAT,
        LONGEST_REMINDER,
        NOTICE,
        RETRIES,
        SCHEDULE_TO_START,
        START_TO_CLOSE,
        Trouble,
        attributes,
    )

O = TypeVar("O", bound=Order)  # noqa: E741 - order
R = TypeVar("R", bound=Outcome)  # the result
Hand = Callable[[Any, O], R]
"""An activity method, named on its class."""

_NO_AGENT_TRIES = 3


class Ended(Exception):
    """Carries the end of a run out of the middle of a scenario."""

    def __init__(self, ending: Ending) -> None:
        """End as ``ending`` says."""
        super().__init__(ending.rule)
        self.ending = ending


class Runbook(Desk, Closing):
    """What every scenario is made of."""

    facts: Facts

    async def conduct(self, recover: Callable[[], Awaitable[Ending]]) -> RecoveryResult:
        """Run a scenario to one of its three ends, and write the report."""
        info = workflow.info()
        self.recovery_id = names.new_recovery_id(info.start_time, info.original_execution_run_id)
        self.open_evidence()
        self.timeline.mark("declared", info.start_time)
        try:
            ending = await recover()
        except Ended as ended:
            ending = ended.ending
        self.closing = True
        if ending.outcome == "aborted":
            await self.undo()
        draft = self.draft(ending)
        written = await self.step(
            "Write the report",
            cast("Callable[[Any, ReportOrder], ReportWritten]", Reports.ensure_report_written),
            ReportOrder(draft=draft),
            skipped=ReportWritten(report=draft, paths=(), sentence="no report was written"),
            control=True,
        )
        result = self.result(ending, draft, written)
        measures.came_to(self.SCENARIO, result.outcome)
        self.ended = True
        self.show(f"ended: {result.outcome}", result=result)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return result

    async def undo(self) -> None:
        """Undo what a run changed that ends as ``aborted``; a scenario says how."""

    # -- step -------------------------------------------------------------------------------------

    async def step(
        self,
        title: str,
        hand: Hand[O, R],
        order: O,
        *,
        step_id: str = "",
        skipped: R | None = None,
        refused_ends: bool = False,
        control: bool = False,
    ) -> R:
        """Run one hand on the record and return its result.

        A hand that fails for good parks the run. ``skipped`` is the result of a step that a person
        skips; a step without one must not be skipped. With ``refused_ends`` a refusal stands the run
        down, which is right only while nothing was changed.
        """
        step_id = step_id or hand.__name__
        while True:
            await self._between_steps()
            record = self.timeline.begin(step_id, title, workflow.now())
            self.show("running", phase=title)
            begun = workflow.now()
            try:
                result = await self._run(title, hand, order, step_id, control=control)
            except ActivityError as error:
                trouble = Trouble.of(error)
                self._close(record, "failed", trouble.sentence)
                if refused_ends and trouble.kind == "Refused":
                    raise Ended(Ending("stood_down", f"Refused: {trouble.sentence}")) from None
                verb = await self.park(
                    step_id, trouble.sentence, code=trouble.code, skippable=skipped is not None
                )
                if verb is Verb.SKIP and skipped is not None:
                    self._close(record, "skipped", f"skipped by a person: {self.parked_reason}")
                    return skipped
            else:
                self._close(record, "done", result.sentence)
                measures.step_took(self.SCENARIO, step_id, (workflow.now() - begun).total_seconds())
                return result

    async def _run(self, title: str, hand: Hand[O, R], order: O, step_id: str, *, control: bool) -> R:
        queue = workflow.info().task_queue if control else self._host_queue()
        for tried in range(1, _NO_AGENT_TRIES + 1):
            given = order.model_copy(
                update={
                    "recovery_id": self.recovery_id,
                    "step_id": step_id,
                    "token": Token(
                        run_started_ns=int(workflow.info().start_time.timestamp() * 1e9),
                        dispatched_ns=workflow.time_ns(),
                    ),
                }
            )
            try:
                result = await workflow.execute_activity_method(
                    cast("Any", hand),
                    given,
                    activity_id=step_id,
                    summary=title,
                    task_queue=queue,
                    start_to_close_timeout=START_TO_CLOSE,
                    schedule_to_start_timeout=SCHEDULE_TO_START,
                    heartbeat_timeout=HEARTBEAT,
                    retry_policy=RETRIES,
                )
                return cast("R", result)
            except ActivityError as error:
                if not Trouble.of(error).no_agent or tried == _NO_AGENT_TRIES:
                    raise
        raise AssertionError

    def _close(self, record: StepRecord, outcome: str, sentence: str) -> None:
        record.outcome, record.sentence, record.ended_at = outcome, sentence, workflow.now()
        workflow.logger.info(sentence or record.title, extra={"step": record.id, "outcome": outcome})
        self.show("running")

    # -- gate -------------------------------------------------------------------------------------

    async def gate(self, brief: Brief) -> None:
        """Show people the facts and wait until they approve.

        A rejection or an abort ends the run as ``aborted``. No deadline approves anything.
        """
        await self._between_steps()
        self.policy = self.facts.stack.gates.get(brief.gate, GatePolicy())
        self.digest = brief.digest(workflow.info().run_id)
        self.brief, self.approved_by, self.rejected = brief, (), None
        awaited = ask_at_gate(brief, self.digest)
        self.show(f"waiting at the gate {brief.gate}", awaited)
        await self.tell(f"Decision needed at the gate {brief.gate} of {self.stack_name}: {brief.question}")
        await self._wait_for_people(
            lambda: (
                len(self.approved_by) >= self.policy.quorum
                or self.rejected is not None
                or self.aborted is not None
            ),
            f"gate {brief.gate}",
        )
        self.brief = None
        self._end_if_aborted()
        if self.rejected is not None:
            raise Ended(
                Ending(
                    "aborted", f"{self.rejected.by} rejected the gate {brief.gate}: {self.rejected.reason}"
                )
            )
        self.timeline.mark("decided", workflow.now())
        self.show("running")

    # -- park and hold ----------------------------------------------------------------------------

    async def park(self, step_id: str, reason: str, *, code: str = "", skippable: bool = False) -> Verb:
        """Stop here and tell people; return ``retry`` or ``skip``, or end the run as ``aborted``."""
        self.parked_step, self.parked_reason, self.parked_code = step_id, reason, code
        self.skippable, self.unparked = skippable, None
        self.show("needs a human", ask_when_parked(step_id, reason, skippable=skippable), needs_operator=True)
        measures.came_to(self.SCENARIO, "needs_human")
        await self.tell(f"Parked at {step_id} on {self.stack_name}: {reason}")
        await self._wait_for_people(
            lambda: self.unparked is not None or self.aborted is not None, f"parked at {step_id}"
        )
        self.parked_step = ""
        self._end_if_aborted()
        said = self.last_word()
        self.parked_reason = said.reason
        self.show("running")
        return said.verb

    async def hold(self) -> None:
        """Wait while an operator holds the run."""
        if self.held_because:
            self.show(f"held: {self.held_because}")
            await self._wait_for_people(lambda: not self.held_because or self.aborted is not None, "held")

    async def _between_steps(self) -> None:
        await self.hold()
        self._end_if_aborted()

    def _end_if_aborted(self) -> None:
        if self.aborted is not None and not self.closing:
            raise Ended(Ending("aborted", f"{self.aborted.by} aborted the run: {self.aborted.reason}"))

    async def _wait_for_people(self, decided: Callable[[], bool], what: str) -> None:
        """Wait for a decision with reminders that grow rarer, so that history stays small."""
        since, patience = workflow.now(), self.policy.remind_after
        self.waiting_since = since
        while True:
            try:
                await workflow.wait_condition(decided, timeout=patience, timeout_summary=f"reminder: {what}")
                break
            except TimeoutError:
                waited = workflow.now() - since
                word = "ESCALATION" if waited >= self.policy.escalate_after else "Reminder"
                await self.tell(f"{word}: {self.stack_name} still waits, {what}, since {since:%H:%M}Z")
                patience = min(patience * 2, LONGEST_REMINDER)
        self.waiting_since = None
        self.timeline.waits.append((since, workflow.now()))

    async def tell(self, sentence: str) -> None:
        """Tell people; a channel that is down never stops a recovery."""
        self.timeline.notes.append(Note(at=workflow.now(), sentence=sentence))
        order = TellOrder(recovery_id=self.recovery_id, sentence=sentence, stack=self.stack_name)
        try:
            await workflow.execute_activity_method(
                People.ensure_told,
                order,
                summary="Tell people",
                start_to_close_timeout=timedelta(seconds=20),
                schedule_to_start_timeout=SCHEDULE_TO_START,
                retry_policy=NOTICE,
            )
        except ActivityError as error:
            self.timeline.notes.append(
                Note(at=workflow.now(), sentence=f"not told: {Trouble.of(error).sentence}")
            )

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

    def _host_queue(self) -> str:
        return names.host_queue(self.facts.stack.site if self.loaded else names.DEFAULT_SITE)

    def has(self, kind: Kind) -> bool:
        """Tell whether the stack has a service of a kind."""
        return self.facts.target.of_kind(kind) is not None
