"""What people may say to an open run, what they are shown, and what a judgement rests on."""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

from domain.gates import GatePolicy
from domain.inert import quoted
from domain.order import Value


class Verb(StrEnum):
    """The seven things that an operator can say to an open run."""

    APPROVE = "approve"
    REJECT = "reject"
    HOLD = "hold"
    RESUME = "resume"
    RETRY = "retry"
    SKIP = "skip"
    ABORT = "abort"


Short = Annotated[str, Field(max_length=200)]


class Message(Value):
    """What a signal named after a verb carries; every field has a default for the Web UI."""

    gate: Short = ""
    step: Short = ""
    reason: Annotated[str, Field(max_length=2000)] = ""
    by: Short = ""
    """Who says it: a claim, unless ``signature`` proves it."""
    digest: Short = ""
    """The digest of the brief that was read; without it an approval is refused."""
    id: Annotated[str, Field(max_length=500)] = ""
    """The same id said twice counts once and gets the same answer."""
    run: Short = ""
    """The run that it is meant for; optional unless it is signed."""
    issued: Short = ""
    expires: Short = ""
    nonce: Short = ""
    """A signature counts once."""
    signature: Short = ""
    """Base64 of an Ed25519 signature over the ``Statement`` that the other fields make."""


class Decision(Message):
    """What the Update ``decide`` carries."""

    verb: Verb = Verb.HOLD


M = TypeVar("M", bound=Message)


class Garbled(Value):
    """Something that was sent and could not be understood."""

    because: str
    by: str = ""
    """Who seems to have sent it."""


class _Named(BaseModel):
    by: Any = ""


def understood(sent: bytes, kind: type[M]) -> M | Garbled:
    """Read JSON that anybody may have typed; what is not exactly understood comes back as ``Garbled``."""
    try:
        return kind.model_validate_json(sent)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    because = f"not understood: {where + ': ' if where else ''}{first['msg']}"
    try:
        named = _Named.model_validate_json(sent).by
    except ValidationError:
        named = ""
    return Garbled(because=quoted(because)[:300], by=quoted(named)[:100] if isinstance(named, str) else "")


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

    def digest(self, run_id: str, asked: int = 1) -> str:
        """Return what an approval must quote: gate, run, everything decided on, the how manieth asking."""
        bound: dict[str, object] = {
            "gate": self.gate,
            "run": run_id,
            "decided_on": self.decided_on,
            "maximum_loss_seconds": self.maximum_loss_seconds,
            "maximum_downtime_seconds": self.maximum_downtime_seconds,
        }
        if asked > 1:
            bound["asked"] = asked
        text = json.dumps(bound, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class Approval(Value):
    """An approval that counted."""

    by: str
    at: datetime
    signed: bool = False


class Situation(Value):
    """All that a judgement rests on."""

    at: datetime
    run_id: str = ""
    requested_by: str = ""
    gate: str = ""
    """The open gate, or empty."""
    digest: str = ""
    earlier_digests: tuple[str, ...] = ()
    """Digests of briefs that were shown before in this run."""
    closed_gate: str = ""
    """Why no gate is open any more, as a sentence."""
    policy: GatePolicy = GatePolicy()
    """Of the open gate."""
    operating: GatePolicy | None = None
    """Governs the other verbs; without it everybody with any role may say them."""
    approvers: Mapping[str, tuple[str, ...]] = {}
    keys: Mapping[str, tuple[str, ...]] = {}
    approvals: tuple[Approval, ...] = ()
    spent: frozenset[str] = frozenset()
    """Nonces of signed decisions that counted."""
    parked_step: str = ""
    skippable: bool = False
    held: bool = False
    aborting: bool = False
    closing: bool = False
    """The run is undoing or writing its report."""
    ended: bool = False
