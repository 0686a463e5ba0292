"""The end of every run: the outcome, the rule that decided it, and the report."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.incident import RecoveryRequest, RecoveryResult
    from domain.ledger import Loss
    from domain.objectives import loss_objectives, objective_of
    from domain.order import Facts
    from domain.recovery import Proof
    from domain.report import KeptAside, Report, ReportWritten, StepLine
    from domain.timeline import Timeline


@dataclass(frozen=True)
class Ending:
    """How a run ends, with the sentence that decided."""

    outcome: Literal["recovered", "stood_down", "aborted"]
    rule: str


@dataclass
class Evidence:
    """What a run has measured so far; whatever is not set here was not measured."""

    proofs: list[Proof] = field(default_factory=list)
    loss: Loss = field(default_factory=Loss)
    skew_seconds: float | None = None
    downtime_seconds: float | None = None
    downtime_from: datetime | None = None
    downtime_until: datetime | None = None
    kept_aside: list[KeptAside] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)
    mandatory: list[str] = field(default_factory=list)
    journey: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    """What was changed and how to undo it, newest last."""


class Closing:
    """Drafts the report from what the run knows; the hand completes it from history."""

    SCENARIO: str
    request: RecoveryRequest
    timeline: Timeline
    recovery_id: str
    stack_name: str
    facts: Facts
    closing = False
    loaded: bool
    headline = ""
    exchange_settled = False
    """It is known that an exchange which did not answer has not taken place."""
    left_out: int

    def open_evidence(self) -> None:
        """Start with nothing measured."""
        self.evidence = Evidence()

    def no_longer(self, beginning: str) -> None:
        """Forget a change that the run itself has taken back."""
        self.evidence.changed = [line for line in self.evidence.changed if not line.startswith(beginning)]

    def is_exchanging(self) -> bool:
        """Tell whether the exchange was begun and nothing has told yet how it ended."""
        begun = any(step.id == "ensure_swapped_in" for step in self.timeline.steps)
        return begun and not self.evidence.kept_aside and not self.exchange_settled

    async def settle_exchange(self) -> None:
        """Find out how a change ended that has not answered; a scenario that has such a one says how."""

    def where_it_stands(self) -> str:
        """Return where the live and the old data are, for people who take over from an aborted run."""
        last = next((step.title for step in reversed(self.timeline.steps)), "")
        after = f"Ended after '{last}'" if last else "Ended before anything was done"
        if not self.loaded:
            return f"{after}: nothing was changed"
        volume = self.facts.target.postgres.volume
        if self.is_exchanging():
            return f"{after}: whether {volume} holds the damaged or the restored data was not told"
        if not self.evidence.kept_aside:
            return f"{after}: the live data is in {volume}, as it was"
        kept = self.evidence.kept_aside[-1]
        return (
            f"{after}: the restored data is in {volume}, the damaged data is kept in {kept.volume}"
            f" until {kept.release_command}"
        )

    def result(self, ending: Ending, draft: Report, written: ReportWritten) -> RecoveryResult:
        """Return the result of the run, outcome first."""
        report = written.report if written.paths else draft
        return RecoveryResult(
            outcome=ending.outcome,
            rule=ending.rule,
            recovery_id=self.recovery_id,
            rto_seconds=report.rto_seconds,
            downtime_seconds=report.downtime_seconds,
            loss=report.loss,
            report=next((path for path in written.paths if path.endswith(".html")), ""),
        )

    def draft(self, ending: Ending) -> Report:
        """Return the report as far as the run itself knows it."""
        info, found, line = workflow.info(), self.evidence, self.timeline
        declared, verified = line.moment("declared"), line.moment("verified")
        rto = (verified - declared).total_seconds() if declared and verified else None
        objective = objective_of(self.facts.stack, self.SCENARIO) if self.loaded else None
        return Report(
            run_id=info.run_id,
            workflow_id=info.workflow_id,
            recovery_id=self.recovery_id,
            stack=self.stack_name if self.loaded else "unknown",
            scenario=self.SCENARIO,
            mode=self.request.mode,
            outcome=ending.outcome,
            rule=ending.rule,
            rto_seconds=rto,
            rto_objective_seconds=_seconds(objective.rto if objective else None),
            downtime_seconds=found.downtime_seconds,
            waiting_on_people_seconds=line.waited_seconds(),
            rpo_objective_seconds=_seconds(objective.rpo if objective else None),
            loss=found.loss,
            skew_seconds=found.skew_seconds,
            checks=tuple(found.proofs),
            kept_aside=tuple(found.kept_aside),
            started_at=info.start_time,
            ended_at=workflow.now(),
            marks=tuple(line.marks),
            decisions=tuple(line.decisions),
            decisions_left_out=self.left_out,
            waits=tuple(line.waits),
            passed_over=tuple(found.passed_over),
            notes=tuple(line.notes),
            headline=self.headline,
            steps=self._skipped(),
            downtime_from=found.downtime_from,
            downtime_until=found.downtime_until,
            loss_objectives=loss_objectives(self.facts.stack) if self.loaded else {},
            backup_taken=found.facts.get("backup", ""),
            facts=dict(found.facts),
            changed=tuple(found.changed) if ending.outcome != "recovered" else (),
        )

    def _skipped(self) -> tuple[StepLine, ...]:
        """Return the skipped steps: in the history they look like failed ones."""
        return tuple(
            StepLine(
                id=step.id,
                title=step.title,
                attempts=0,
                started_at=step.started_at,
                seconds=((step.ended_at or step.started_at) - step.started_at).total_seconds(),
                outcome=step.outcome,
                sentence=step.sentence,
            )
            for step in self.timeline.steps
            if step.outcome == "skipped"
        )


def _seconds(value: timedelta | None) -> float | None:
    return None if value is None else value.total_seconds()
