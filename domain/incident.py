"""What an operator asks for, and what a run answers."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from domain.ledger import Loss
from domain.order import Outcome, Value


class RecoveryRequest(Value):
    """The input of every recovery; ``{}`` starts it on the worker's default stack."""

    stack: str = Field(default="", max_length=63, pattern=r"^([a-z0-9][a-z0-9_-]*)?$")
    mode: Literal["real", "drill", "plan"] = "real"
    requested_by: str = Field(default="", max_length=200)
    reason: str = Field(default="", max_length=2000)


class RecoveryResult(Value):
    """The end of a run, outcome first; the whole story is in the report."""

    outcome: Literal["recovered", "stood_down", "aborted"]
    rule: str
    recovery_id: str
    rto_seconds: float | None = None
    downtime_seconds: float | None = None
    loss: Loss = Loss()
    report: str = ""
    """Path of the report on the worker's host."""


class StatusView(Value):
    """The answer of the query ``status``: what ``dr status`` and ``dr timeline`` show."""

    recovery_id: str
    run_id: str = ""
    """What a signed decision is bound to."""
    stack: str
    scenario: str
    mode: str
    state: str
    """``running``, ``gate``, ``parked``, ``held`` or ``ended``."""
    gate: str = ""
    digest: str = ""
    brief: tuple[str, ...] = ()
    maximum_loss_seconds: int | None = None
    question: str = ""
    approved_by: tuple[str, ...] = ()
    quorum: int = 0
    """How many different people must approve at the open gate."""
    signed: str = ""
    """Whether the open gate takes claims (``optional``) or signed decisions alone (``required``)."""
    parked_step: str = ""
    parked_reason: str = ""
    parked_code: str = ""
    skippable: bool = False
    waiting_since: datetime | None = None
    """Since when people are waited for."""
    lines: tuple[str, ...] = ()


class Told(Outcome):
    """People were told."""
