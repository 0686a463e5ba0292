"""The report of a run: what people attach to the incident, and a fixed interface for programs."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from domain.ledger import Loss
from domain.order import Order, Outcome, Value
from domain.recovery import Proof

Mode = Literal["real", "drill", "plan"]
ReportOutcome = Literal["recovered", "stood_down", "aborted", "needs_human", "open"]


class StepLine(Value):
    """One step as it really went, read from the run's own history."""

    id: str
    title: str
    attempts: int
    workers: tuple[str, ...] = ()
    """Identities of the workers that took its attempts, in order."""
    started_at: datetime
    seconds: float | None = None
    outcome: str
    """``done``, ``skipped``, ``failed``, ``running``."""
    sentence: str = ""


class Interruption(Value):
    """Something that tried to stop the run, and did not."""

    kind: str
    """``worker_killed``, ``worker_changed``, ``attempt_retried``, ``server_restarted``."""
    at: datetime
    sentence: str


class KeptAside(Value):
    """Old data that is still there until somebody releases it."""

    volume: str
    bytes: int | None
    release_command: str


class DecisionLine(Value):
    """One attempt to decide, counted or refused."""

    at: datetime
    verb: str
    gate: str = ""
    by: str = ""
    counted: bool
    because: str
    proven: bool = False
    """True when the decision was signed; otherwise ``by`` is a claim."""


class Mark(Value):
    """A named moment: declared, decided, recovered, verified."""

    name: str
    at: datetime


class Note(Value):
    """One line of the timeline that is not a step."""

    at: datetime
    sentence: str


class Report(Value):
    """The whole report. A value that was not measured is ``None``, never zero."""

    run_id: str
    workflow_id: str
    recovery_id: str
    stack: str
    scenario: str
    mode: Mode
    outcome: ReportOutcome
    rule: str
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
    waits: tuple[tuple[datetime, datetime], ...] = ()
    """Intervals spent waiting for people, for the timeline drawing."""
    passed_over: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()
    headline: str = ""
    facts: dict[str, str] = Field(default_factory=dict)
    """Backup taken, stack digest, code version and the like, for the reader."""
    changed: tuple[str, ...] = ()
    """What was changed and how to undo it; for an aborted or parked run."""


class ReportOrder(Order):
    """Write the report: what the run knows, completed from its own history."""

    draft: Report


class ReportWritten(Outcome):
    """Where the report lies, and the completed report."""

    report: Report
    paths: tuple[str, ...]
