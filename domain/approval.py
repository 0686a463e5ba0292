"""Decisions of people: what may be said, and whether it counts. One pure function judges all."""

import hashlib
import json
from datetime import datetime
from enum import StrEnum

from domain.order import Value
from domain.stack import GatePolicy


class Verb(StrEnum):
    """The seven things that an operator can say to an open run."""

    APPROVE = "approve"
    REJECT = "reject"
    HOLD = "hold"
    RESUME = "resume"
    RETRY = "retry"
    SKIP = "skip"
    ABORT = "abort"


class Message(Value):
    """What a signal named after a verb carries; every field has a default for the Web UI."""

    gate: str = ""
    step: str = ""
    reason: str = ""
    by: str = ""
    """Who says it: a claim, unless ``signature`` proves it."""
    digest: str = ""
    """The digest of the brief that was read; without it an approval is refused."""
    signature: str = ""
    id: str = ""
    """The same id said twice counts once and gets the same answer."""


class Decision(Message):
    """What the Update ``decide`` carries."""

    verb: Verb = Verb.HOLD


class Answer(Value):
    """Whether a decision counted, and why."""

    counted: bool
    because: str
    at: datetime


class Brief(Value):
    """What a person is shown at a gate: facts that were measured, not hoped for."""

    gate: str
    question: str
    facts: tuple[str, ...]
    """Sentences, most important first."""
    decided_on: dict[str, str]
    """What the decision is about and must not get worse: backup, timeline, verdict, maxima."""
    maximum_loss_seconds: int | None = None
    """Stated maximum, rounded up; ``None`` when the loss could not be measured."""
    maximum_downtime_seconds: int | None = None
    cannot_be_undone: str = ""

    def digest(self, run_id: str) -> str:
        """Return what an approval must quote: it binds gate, run and everything decided on."""
        bound = {
            "gate": self.gate,
            "run": run_id,
            "decided_on": self.decided_on,
            "maximum_loss_seconds": self.maximum_loss_seconds,
            "maximum_downtime_seconds": self.maximum_downtime_seconds,
        }
        text = json.dumps(bound, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class Situation(Value):
    """All that a judgement rests on."""

    requested_by: str = ""
    gate: str = ""
    """The open gate, or empty."""
    digest: str = ""
    policy: GatePolicy = GatePolicy()
    approvers: dict[str, tuple[str, ...]] = {}
    approved_by: tuple[str, ...] = ()
    parked_step: str = ""
    skippable: bool = False
    held: bool = False
    ended: bool = False


def judge(said: Decision, now: Situation) -> str | None:
    """Return why a decision does not count, or ``None`` when it does."""
    if now.ended:
        return "the run has ended"
    if not said.by.strip():
        return "say who you are in 'by'"
    limitation: str | None
    match said.verb:
        case Verb.APPROVE:
            limitation = _approval_limitation(said, now)
        case Verb.REJECT:
            limitation = _gate_limitation(said, now) or _role_limitation(said, now)
        case Verb.HOLD:
            limitation = "the run is held already" if now.held else None
        case Verb.RESUME:
            limitation = None if now.held else "the run is not held"
        case Verb.RETRY:
            limitation = _parked_limitation(said, now)
        case Verb.SKIP:
            limitation = _skip_limitation(said, now)
        case Verb.ABORT:
            limitation = None if said.reason.strip() else "an abort needs a reason"
    return limitation


def _gate_limitation(said: Decision, now: Situation) -> str | None:
    if not now.gate:
        return "no gate is open"
    if said.gate and said.gate != now.gate:
        return f"the open gate is {now.gate!r}, not {said.gate!r}"
    if said.digest and said.digest != now.digest:
        return f"the digest is of another brief; the open one is {now.digest}"
    return None


def _approval_limitation(said: Decision, now: Situation) -> str | None:
    limitation = _gate_limitation(said, now)
    if limitation:
        return limitation
    if not said.digest:
        return f"an approval must quote the digest of the brief ({now.digest})"
    if said.by in now.approved_by:
        return f"{said.by} has approved already; another person is needed"
    if said.by == now.requested_by and now.policy.self_approval == "refused":
        return "who asked for the recovery may not approve it"
    return _role_limitation(said, now)


def _role_limitation(said: Decision, now: Situation) -> str | None:
    if not now.approvers:
        return None
    holders = {name for role in now.policy.roles for name in now.approvers.get(role, ())}
    if said.by in holders:
        return None
    return f"{said.by} does not hold a role that may decide here ({', '.join(now.policy.roles)})"


def _parked_limitation(said: Decision, now: Situation) -> str | None:
    if not now.parked_step:
        return "no step is parked"
    if said.step and said.step != now.parked_step:
        return f"the parked step is {now.parked_step!r}, not {said.step!r}"
    return None


def _skip_limitation(said: Decision, now: Situation) -> str | None:
    limitation = _parked_limitation(said, now)
    if limitation:
        return limitation
    if not now.skippable:
        return f"the step {now.parked_step!r} must not be skipped"
    return None if said.reason.strip() else "a skip needs a reason"
