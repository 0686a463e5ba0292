"""The report of a run: what people attach to the incident, and a fixed interface for programs."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from domain.inert import Quoted
from domain.ledger import Loss, Store
from domain.order import Order, Outcome, Value
from domain.recovery import Proof

Mode = Literal["real", "drill", "plan"]
ReportOutcome = Literal["recovered", "stood_down", "aborted", "needs_human", "open"]


STORE_NAMES = {
    Store.POSTGRES: "PostgreSQL",
    Store.REDIS: "Redis",
    Store.OBJECTS: "objects",
    Store.SEARCH: "search",
}


class Span(Value):
    """One stretch of work on a step: from being asked for until its end, all attempts included."""

    started_at: datetime
    ended_at: datetime | None = None
    attempts: int = 1
    last_attempt_at: datetime | None = None
    """When the attempt that ended it was taken up."""
    outcome: str = "done"


class StepLine(Value):
    """One step as it really went, read from the run's own history."""

    id: str
    title: str
    attempts: int
    workers: tuple[str, ...] = ()
    """Identities of the workers that took its attempts, in order, as far as the history tells."""
    started_at: datetime
    seconds: float | None = None
    """Time worked on it; the waiting between a failure and a person's retry is not in it."""
    outcome: str
    """``done``, ``skipped``, ``failed``, ``cancelled``, ``running``."""
    sentence: Quoted = ""
    spans: tuple[Span, ...] = ()
    """More than one when a person had it done again."""


class Interruption(Value):
    """Something that tried to stop the run, and did not."""

    kind: str
    """``worker_killed``, ``worker_changed``, ``worker_silent``, ``attempt_retried``, ``runbook_failed``,
    ``server_restarted``."""
    at: datetime
    sentence: Quoted


class KeptAside(Value):
    """Old data that is still there until somebody releases it."""

    volume: str
    bytes: int | None
    release_command: str


class DecisionLine(Value):
    """One attempt to decide, counted or refused."""

    at: datetime
    verb: str
    gate: Quoted = ""
    by: Quoted = ""
    counted: bool
    because: Quoted
    signed: bool = False
    """True when a good signature proves ``by``; otherwise it is a claim."""
    self_approved: bool = False
    """Approved by who asked for the recovery, which the gate's policy allows."""


class Mark(Value):
    """A named moment: declared, decided, recovered, verified."""

    name: str
    at: datetime


class Note(Value):
    """One line of the timeline that is not a step."""

    at: datetime
    sentence: Quoted


class Report(Value):
    """The whole report. A value that was not measured is ``None``, never zero."""

    run_id: str
    workflow_id: str
    recovery_id: str
    stack: str
    scenario: str
    mode: Mode
    outcome: ReportOutcome
    rule: Quoted
    """The sentence that decided the outcome."""
    rto_seconds: float | None = None
    rto_objective_seconds: float | None = None
    downtime_seconds: float | None = None
    waiting_on_people_seconds: float | None = None
    rpo_objective_seconds: float | None = None
    loss: Loss = Loss()
    skew_seconds: float | None = None
    checks: tuple[Proof, ...] = ()
    steps: tuple[StepLine, ...] = ()
    interruptions_survived: tuple[Interruption, ...] = ()
    kept_aside: tuple[KeptAside, ...] = ()
    link: str = ""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    marks: tuple[Mark, ...] = ()
    decisions: tuple[DecisionLine, ...] = ()
    decisions_left_out: int = 0
    """Refused attempts beyond those listed; the history holds them."""
    waits: tuple[tuple[datetime, datetime], ...] = ()
    """Intervals spent waiting for people, for the timeline drawing."""
    loss_objectives: dict[str, float] = Field(default_factory=dict)
    """Seconds that each store may lose, where the stack file says so."""
    downtime_from: datetime | None = None
    downtime_until: datetime | None = None
    backup_taken: str = ""
    passed_over: tuple[str, ...] = ()
    kept_aside_reason: str = ""
    """Why nothing was kept aside, when nothing was."""
    notes: tuple[Note, ...] = ()
    headline: str = ""
    facts: dict[str, str] = Field(default_factory=dict)
    """Backup taken, stack digest, code version and the like, for the reader."""
    changed: tuple[str, ...] = ()
    """What was changed and how to undo it; for an aborted or parked run."""

    def loss_objective(self, store: Store) -> float | None:
        """Return what a store may lose in seconds; the scenario's objective speaks for PostgreSQL."""
        if store in self.loss_objectives:
            return self.loss_objectives[store]
        return self.rpo_objective_seconds if store is Store.POSTGRES else None


class ReportOrder(Order):
    """Write the report: what the run knows, completed from its own history."""

    draft: Report


class ReportWritten(Outcome):
    """Where the report lies, and the completed report."""

    report: Report
    paths: tuple[str, ...]


def completed(draft: Report, steps: tuple[StepLine, ...], survived: tuple[Interruption, ...]) -> Report:
    """Complete what the run knows of itself with what its history shows.

    The history decides about times, attempts and workers. Only the run knows that a person skipped a step.
    """
    drafted = {step.id: step for step in draft.steps}
    lines = [_joined(step, drafted.pop(step.id, None)) for step in steps]
    lines += drafted.values()
    known = {(flag.kind, flag.at): flag for flag in (*draft.interruptions_survived, *survived)}
    return draft.model_copy(
        update={
            "steps": tuple(sorted(lines, key=lambda line: line.started_at)),
            "interruptions_survived": tuple(sorted(known.values(), key=lambda flag: flag.at)),
        }
    )


def _joined(step: StepLine, drafted: StepLine | None) -> StepLine:
    if drafted is None:
        return step
    if drafted.outcome == "skipped":
        told = {"outcome": "skipped", "sentence": drafted.sentence or step.sentence}
    else:
        told = {"sentence": step.sentence or drafted.sentence}
    return step.model_copy(update={**told, "title": drafted.title or step.title})
