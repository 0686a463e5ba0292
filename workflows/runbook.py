"""The beginning, the steps and the end of a run; the waits for people are in ``workflows.gates``.

Timeouts and retries live here, so that a scenario reads like the runbook. A workflow never fails because
a system was down: it parks, and a parked one goes on.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

from temporalio import workflow
from temporalio.exceptions import ActivityError

from workflows import measures

with workflow.unsafe.imports_passed_through():
    from activities.reports import Reports
    from domain import names
    from domain.approval import Verb
    from domain.incident import RecoveryResult
    from domain.order import Facts, Order, Outcome, Token
    from domain.phases import phase_at
    from domain.report import ReportOrder, ReportWritten
    from domain.stack import Kind
    from domain.timeline import StepRecord
    from workflows.closing import Ending
    from workflows.gates import Ended, Gates
    from workflows.pace import HEARTBEAT, RETRIES, SCHEDULE_TO_START, START_TO_CLOSE, Trouble

O = TypeVar("O", bound=Order)  # noqa: E741 - order
R = TypeVar("R", bound=Outcome)  # the result
Hand = Callable[[Any, O], R]
"""An activity method, named on its class."""

_NO_AGENT_TRIES = 3


class Runbook(Gates):
    """What every scenario is made of."""

    facts: Facts
    phase: str = ""

    async def conduct(self, recover: Callable[[], Awaitable[Ending]]) -> RecoveryResult:
        """Run a scenario to one of its three ends, and write the report.

        A cancellation of the run (Web UI, ``temporal workflow cancel``) is a wish like any other: the
        current effect finishes, then the run parks and says where everything is.
        """
        work = asyncio.create_task(self._conducted(recover))
        while True:
            try:
                return await asyncio.shield(work)
            except asyncio.CancelledError:
                if work.done():
                    raise
                self.cancelled = True

    async def _conducted(self, recover: Callable[[], Awaitable[Ending]]) -> RecoveryResult:
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
            await self.settle_exchange()
            where = self.where_it_stands()
            await self.undo()
            self.evidence.facts["where it stands"] = where
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
            self.phase = phase_at(hand.__name__, self.phase)
            self.show("running", phase=self.phase)
            begun = workflow.now()
            try:
                result = await self._run(title, hand, order, step_id, control=control)
            except ActivityError as error:
                trouble = Trouble.of(error, self._queue(control=control))
                self._close(record, "failed", trouble.sentence)
                if refused_ends and trouble.kind == "Refused":
                    raise Ended(Ending("stood_down", f"Refused: {trouble.sentence}")) from None
                verb = await self.park(
                    step_id, trouble.sentence, code=trouble.code, skippable=skipped is not None
                )
                if verb is Verb.SKIP and skipped is not None:
                    self._close(record, "skipped", f"skipped by {self.parked_reason}")
                    return skipped
            else:
                self._close(record, "done", result.sentence)
                measures.step_took(self.SCENARIO, step_id, (workflow.now() - begun).total_seconds())
                return result

    async def _run(self, title: str, hand: Hand[O, R], order: O, step_id: str, *, control: bool) -> R:
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
                    task_queue=self._queue(control=control),
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

    def _queue(self, *, control: bool) -> str:
        """Return where a hand is waited for: the run's own queue, or that of the stack's host."""
        if control:
            return workflow.info().task_queue
        return names.host_queue(self.facts.stack.site if self.loaded else names.DEFAULT_SITE)

    def has(self, kind: Kind) -> bool:
        """Tell whether the stack has a service of a kind."""
        return self.facts.target.of_kind(kind) is not None
