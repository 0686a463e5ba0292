"""What people may say to an open run: seven signals, one Update, one query, one judgement."""

from collections.abc import Callable
from datetime import datetime
from functools import wraps
from typing import Any, TypeVar, cast

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue

with workflow.unsafe.imports_passed_through():
    from domain.approval import (
        Answer,
        Approval,
        Brief,
        Decision,
        Garbled,
        Message,
        Situation,
        Verb,
        understood,
    )
    from domain.gates import OPERATE, GatePolicy, holders, public_keys
    from domain.incident import RecoveryRequest, StatusView
    from domain.inert import quoted
    from domain.judgement import approves_own_request, is_signed, judge
    from domain.report import DecisionLine
    from domain.stack import Stack
    from domain.timeline import Timeline

_ANSWERS_KEPT = 200
_LINES_KEPT = 200
"""Of counted decisions, and again of refused ones: the report must fit into one payload."""
_REASON_KEPT = 500
_JSON = b"json/plain"
_NOTHING = RawValue(Payload(metadata={"encoding": _JSON}, data=b"{}"))

H = TypeVar("H", bound=Callable[..., Any])


def _whatever_comes(handler: H) -> H:
    """Let a handler take any number of payloads.

    One that takes exactly one makes the SDK fail the workflow task for ever when somebody sends two.
    """

    @wraps(handler)
    def taking(desk: "Desk", *payloads: Any) -> Any:  # noqa: ANN401 - whatever was sent
        if len(payloads) > 1:
            sent = f"{len(payloads)} payloads".encode()
            return handler(desk, RawValue(Payload(metadata={"encoding": sent})))
        return handler(desk, *payloads)

    return cast("H", taking)


class Desk:
    """The state that decisions rest on and change, with its message handlers.

    The handlers take what was sent as it is: a message that does not parse must be on the record, and
    must neither fail nor stop the run.
    """

    SCENARIO = ""

    @workflow.init
    def __init__(self, request: RecoveryRequest = RecoveryRequest()) -> None:  # noqa: B008 - frozen
        """Stand ready for messages before the first step runs."""
        self.request = request
        self.timeline = Timeline()
        self.stack_name = request.stack
        self.recovery_id = ""
        self.approvers: dict[str, tuple[str, ...]] = {}
        self.keys: dict[str, tuple[str, ...]] = {}
        self.operating: GatePolicy | None = None
        self.brief: Brief | None = None
        self.digest = ""
        self.earlier_digests: tuple[str, ...] = ()
        self.closed_gate = ""
        self.policy = GatePolicy()
        self.approvals: tuple[Approval, ...] = ()
        self.rejected: Decision | None = None
        self.parked_step = ""
        self.parked_reason = ""
        self.parked_code = ""
        self.skippable = False
        self.unparked: Decision | None = None
        self.held_because = ""
        self.aborted: Decision | None = None
        self.closing = False
        self.ended = False
        self.loaded = False
        self.waiting_since: datetime | None = None
        self.flagged = False
        self.writers_stopped = False
        self.closed = False
        self.left_out = 0
        self._counted = 0
        self._refused = 0
        self._spent: frozenset[str] = frozenset()
        self._answers: dict[str, tuple[Decision, Answer]] = {}

    def know_people(self, stack: Stack) -> None:
        """Take over from the stack file who holds which role and with which key."""
        self.approvers, self.keys = holders(stack.approvers), public_keys(stack.approvers)
        self.operating = stack.gates.get(OPERATE)

    # -- what people send -------------------------------------------------------------------------

    @workflow.update(description="Decide: approve, reject, hold, resume, retry, skip or abort")
    @_whatever_comes
    def decide(self, decision: RawValue = _NOTHING) -> Answer:
        """Judge a decision at once and say whether it counted."""
        read = _read(decision, Decision)
        if isinstance(read, Garbled):
            return self._not_understood("decide", read)
        return self._take(read)

    @workflow.signal(description="Approve the open gate; quote its digest")
    @_whatever_comes
    def approve(self, message: RawValue = _NOTHING) -> None:
        """Approve the open gate."""
        self._take_signal(Verb.APPROVE, message)

    @workflow.signal(description="Reject the open gate; the run ends as aborted")
    @_whatever_comes
    def reject(self, message: RawValue = _NOTHING) -> None:
        """Reject the open gate."""
        self._take_signal(Verb.REJECT, message)

    @workflow.signal(name="hold", description="Stop between steps until resumed")
    @_whatever_comes
    def hold_signal(self, message: RawValue = _NOTHING) -> None:
        """Hold the run between steps."""
        self._take_signal(Verb.HOLD, message)

    @workflow.signal(description="Go on after a hold")
    @_whatever_comes
    def resume(self, message: RawValue = _NOTHING) -> None:
        """Resume a held run."""
        self._take_signal(Verb.RESUME, message)

    @workflow.signal(description="Try the parked step again")
    @_whatever_comes
    def retry(self, message: RawValue = _NOTHING) -> None:
        """Retry the parked step."""
        self._take_signal(Verb.RETRY, message)

    @workflow.signal(description="Skip the parked step, with a reason")
    @_whatever_comes
    def skip(self, message: RawValue = _NOTHING) -> None:
        """Skip the parked step."""
        self._take_signal(Verb.SKIP, message)

    @workflow.signal(description="End the run at the next safe point, with a reason")
    @_whatever_comes
    def abort(self, message: RawValue = _NOTHING) -> None:
        """Abort the run."""
        self._take_signal(Verb.ABORT, message)

    @workflow.query(description="Where the run stands and what it waits for")
    def status(self) -> StatusView:
        """Return the state of the run for ``dr status`` and ``dr timeline``."""
        brief = self.brief
        return StatusView(
            recovery_id=self.recovery_id,
            run_id=self.run_id(),
            stack=self.stack_name,
            scenario=self.SCENARIO,
            mode=self.request.mode,
            state=self.state(),
            gate=brief.gate if brief else "",
            digest=self.digest if brief else "",
            question=brief.question if brief else "",
            brief=brief.facts if brief else (),
            maximum_loss_seconds=brief.maximum_loss_seconds if brief else None,
            approved_by=tuple(approval.by for approval in self.approvals) if brief else (),
            quorum=self.policy.quorum if brief else 0,
            signed=self.policy.signed if brief else "",
            parked_step=self.parked_step,
            parked_reason=self.parked_reason,
            parked_code=self.parked_code,
            skippable=self.skippable,
            waiting_since=self.waiting_since,
            lines=tuple(
                f"{step.started_at:%H:%M:%S}Z {step.outcome:8} {step.title}: {step.sentence}"
                for step in self.timeline.steps
            ),
        )

    def state(self) -> str:
        """Return the state in one word."""
        if self.ended:
            return "ended"
        if self.parked_step:
            return "needs_human"
        if self.brief is not None:
            return "gate"
        return "held" if self.held_because else "running"

    def run_id(self) -> str:
        """Return what a decision is bound to: it survives a reset of the run."""
        return workflow.info().original_execution_run_id or workflow.info().run_id

    def last_word(self) -> Decision:
        """Return what ended the last parking."""
        return self.unparked or Decision(verb=Verb.RETRY)

    # -- the gate as it stands --------------------------------------------------------------------

    def open_gate(self, brief: Brief, policy: GatePolicy) -> None:
        """Show a brief and stand ready for its decision; an earlier brief is no longer the open one."""
        if self.digest:
            self.earlier_digests = (*self.earlier_digests, self.digest)
        self.digest = brief.digest(self.run_id(), len(self.earlier_digests) + 1)
        self.policy, self.closed_gate = policy, ""
        self.brief, self.approvals, self.rejected = brief, (), None

    def close_gate(self, because: str) -> None:
        """Take the brief away; later decisions are told why."""
        self.brief, self.closed_gate = None, because

    def is_decided(self) -> bool:
        """Tell whether the open gate has its answer; the first one that is recorded wins."""
        return len(self.approvals) >= self.policy.quorum or self.rejected is not None

    # -- the one judgement ------------------------------------------------------------------------

    def _take_signal(self, verb: Verb, message: RawValue) -> None:
        read = _read(message, Message)
        if isinstance(read, Garbled):
            self._not_understood(verb, read)
        else:
            self._take(Decision.model_construct(**read.model_dump(), verb=verb))

    def _take(self, said: Decision) -> Answer:
        now = self._situation()
        known = self._answers.get(said.id) if said.id else None
        if known is not None and _essence(known[0]) == _essence(said):
            told = f"said again; it counted at {known[1].at:%H:%M:%S}Z"
            self._record(said, known[1].model_copy(update={"counted": False, "because": told}), now)
            return known[1]
        # Verifying a signature is computation alone, but the library may load a part of itself for it.
        with workflow.unsafe.imports_passed_through():
            limitation, signed = judge(said, now), is_signed(said, now)
        if limitation is None:
            self._apply(said, now, signed=signed)
        answer = Answer(counted=limitation is None, because=limitation or self._came_to(said), at=now.at)
        self._record(said, answer, now, signed=signed)
        if answer.counted and said.id and len(self._answers) < _ANSWERS_KEPT:
            self._answers[said.id] = (said, answer)
        return answer

    def _not_understood(self, verb: str, read: Garbled) -> Answer:
        answer = Answer(counted=False, because=read.because, at=workflow.now())
        self._keep(DecisionLine(at=answer.at, verb=verb, by=read.by, counted=False, because=read.because))
        return answer

    def _situation(self) -> Situation:
        decided = self.brief is not None and self.is_decided()
        return Situation(
            at=workflow.now(),
            run_id=self.run_id(),
            requested_by=self.request.requested_by,
            gate=self.brief.gate if self.brief and not decided else "",
            digest=self.digest,
            earlier_digests=self.earlier_digests,
            closed_gate=self._verdict() if decided else self.closed_gate,
            policy=self.policy,
            operating=self.operating,
            approvers=self.approvers,
            keys=self.keys,
            approvals=self.approvals,
            spent=self._spent,
            parked_step=self.parked_step if self.unparked is None else "",
            skippable=self.skippable,
            held=bool(self.held_because),
            aborting=self.aborted is not None,
            closing=self.closing,
            ended=self.ended,
        )

    def _verdict(self) -> str:
        gate = self.brief.gate if self.brief else ""
        if self.rejected is not None:
            return f"the gate {gate!r} was rejected by {self.rejected.by} already"
        return f"the gate {gate!r} was approved by {' and '.join(a.by for a in self.approvals)} already"

    def _came_to(self, said: Decision) -> str:
        if said.verb is not Verb.APPROVE:
            return "counted"
        unknown = "" if self.request.requested_by else "; who asked for the recovery is not known"
        return f"counted: {len(self.approvals)} of {self.policy.quorum} approvals{unknown}"

    def _record(self, said: Decision, answer: Answer, now: Situation, *, signed: bool = False) -> None:
        because = answer.because
        if answer.counted and said.reason:
            because = f"{quoted(said.reason)[:_REASON_KEPT]} ({because})"
        self._keep(
            DecisionLine(
                at=now.at,
                verb=said.verb,
                gate=quoted(said.gate or said.step),
                by=quoted(said.by),
                counted=answer.counted,
                because=quoted(because),
                signed=signed,
                self_approved=answer.counted and approves_own_request(said, now),
            )
        )

    def _keep(self, line: DecisionLine) -> None:
        kept = self._counted if line.counted else self._refused
        if kept >= _LINES_KEPT:
            self.left_out += 1
            return
        if line.counted:
            self._counted += 1
        else:
            self._refused += 1
        self.timeline.decisions.append(line)

    def _apply(self, said: Decision, now: Situation, *, signed: bool) -> None:
        if signed:
            self._spent |= {said.nonce}
        match said.verb:
            case Verb.APPROVE:
                self.approvals = (*self.approvals, Approval(by=said.by, at=now.at, signed=signed))
            case Verb.REJECT:
                self.rejected = said
            case Verb.HOLD:
                self.held_because = quoted(said.reason or f"{said.by} asked for it")
            case Verb.RESUME:
                self.held_because = ""
            case Verb.RETRY | Verb.SKIP:
                self.unparked = said
            case Verb.ABORT:
                self.aborted = said


M = TypeVar("M", bound=Message)


def _read(sent: RawValue, kind: type[M]) -> M | Garbled:
    encoding = bytes(sent.payload.metadata.get("encoding", b"nothing"))
    if encoding == b"binary/null":
        return kind()
    if encoding != _JSON:
        told = quoted(encoding.decode("utf-8", "backslashreplace"))[:40]
        return Garbled(because=f"not understood: one JSON object is needed, not {told}")
    return understood(sent.payload.data, kind)


def _essence(said: Decision) -> Decision:
    """Return what makes two decisions the same one: not how often it was signed or explained."""
    return said.model_copy(update={"reason": "", "issued": "", "expires": "", "nonce": "", "signature": ""})
