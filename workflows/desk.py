"""What people may say to an open run: seven signals, one Update, one query, one judgement."""

from datetime import datetime

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.approval import Answer, Brief, Decision, Message, Situation, Verb, judge
    from domain.incident import RecoveryRequest, StatusView
    from domain.report import DecisionLine
    from domain.stack import GatePolicy
    from domain.timeline import Timeline

_ANSWERS_KEPT = 500


class Desk:
    """The state that decisions rest on and change, with its message handlers."""

    SCENARIO = ""

    @workflow.init
    def __init__(self, request: RecoveryRequest = RecoveryRequest()) -> None:  # noqa: B008 - frozen
        """Stand ready for messages before the first step runs."""
        self.request = request
        self.timeline = Timeline()
        self.stack_name = request.stack
        self.recovery_id = ""
        self.approvers: dict[str, tuple[str, ...]] = {}
        self.brief: Brief | None = None
        self.digest = ""
        self.policy = GatePolicy()
        self.approved_by: tuple[str, ...] = ()
        self.rejected: Decision | None = None
        self.parked_step = ""
        self.parked_reason = ""
        self.parked_code = ""
        self.skippable = False
        self.unparked: Decision | None = None
        self.held_because = ""
        self.aborted: Decision | None = None
        self.ended = False
        self.loaded = False
        self.waiting_since: datetime | None = None
        self.flagged = False
        self.writers_stopped = False
        self.closed = False
        self._answers: dict[str, Answer] = {}

    # -- what people send -------------------------------------------------------------------------

    @workflow.update(description="Decide: approve, reject, hold, resume, retry, skip or abort")
    def decide(self, decision: Decision) -> Answer:
        """Judge a decision at once and say whether it counted."""
        return self._take(decision)

    @workflow.signal(description="Approve the open gate; quote its digest")
    def approve(self, message: Message = Message()) -> None:  # noqa: B008 - frozen
        """Approve the open gate."""
        self._take_signal(Verb.APPROVE, message)

    @workflow.signal(description="Reject the open gate; the run ends as aborted")
    def reject(self, message: Message = Message()) -> None:  # noqa: B008 - frozen
        """Reject the open gate."""
        self._take_signal(Verb.REJECT, message)

    @workflow.signal(name="hold", description="Stop between steps until resumed")
    def hold_signal(self, message: Message = Message()) -> None:  # noqa: B008 - frozen
        """Hold the run between steps."""
        self._take_signal(Verb.HOLD, message)

    @workflow.signal(description="Go on after a hold")
    def resume(self, message: Message = Message()) -> None:  # noqa: B008 - frozen
        """Resume a held run."""
        self._take_signal(Verb.RESUME, message)

    @workflow.signal(description="Try the parked step again")
    def retry(self, message: Message = Message()) -> None:  # noqa: B008 - frozen
        """Retry the parked step."""
        self._take_signal(Verb.RETRY, message)

    @workflow.signal(description="Skip the parked step, with a reason")
    def skip(self, message: Message = Message()) -> None:  # noqa: B008 - frozen
        """Skip the parked step."""
        self._take_signal(Verb.SKIP, message)

    @workflow.signal(description="End the run at the next safe point, with a reason")
    def abort(self, message: Message = Message()) -> None:  # noqa: B008 - frozen
        """Abort the run."""
        self._take_signal(Verb.ABORT, message)

    @workflow.query(description="Where the run stands and what it waits for")
    def status(self) -> StatusView:
        """Return the state of the run for ``dr status`` and ``dr timeline``."""
        brief = self.brief
        return StatusView(
            recovery_id=self.recovery_id,
            stack=self.stack_name,
            scenario=self.SCENARIO,
            mode=self.request.mode,
            state=self.state(),
            gate=brief.gate if brief else "",
            digest=self.digest if brief else "",
            question=brief.question if brief else "",
            brief=brief.facts if brief else (),
            maximum_loss_seconds=brief.maximum_loss_seconds if brief else None,
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

    def last_word(self) -> Decision:
        """Return what ended the last parking."""
        return self.unparked or Decision(verb=Verb.RETRY)

    # -- the one judgement ------------------------------------------------------------------------

    def _take_signal(self, verb: Verb, message: Message) -> None:
        self._take(Decision(verb=verb, **message.model_dump(exclude={"verb"})))

    def _take(self, said: Decision) -> Answer:
        if said.id and said.id in self._answers:
            return self._answers[said.id]
        now = workflow.now()
        limitation = judge(said, self._situation())
        answer = Answer(counted=limitation is None, because=limitation or "counted", at=now)
        self._record(said, answer, now)
        if said.id and len(self._answers) < _ANSWERS_KEPT:
            self._answers[said.id] = answer
        if answer.counted:
            self._apply(said)
        return answer

    def _situation(self) -> Situation:
        return Situation(
            requested_by=self.request.requested_by,
            gate=self.brief.gate if self.brief else "",
            digest=self.digest,
            policy=self.policy,
            approvers=self.approvers,
            approved_by=self.approved_by,
            parked_step=self.parked_step,
            skippable=self.skippable,
            held=bool(self.held_because),
            ended=self.ended,
        )

    def _record(self, said: Decision, answer: Answer, now: datetime) -> None:
        self.timeline.decisions.append(
            DecisionLine(
                at=now,
                verb=said.verb,
                gate=said.gate or said.step,
                by=said.by,
                counted=answer.counted,
                because=said.reason if answer.counted and said.reason else answer.because,
            )
        )

    def _apply(self, said: Decision) -> None:
        match said.verb:
            case Verb.APPROVE:
                self.approved_by = (*self.approved_by, said.by)
            case Verb.REJECT:
                self.rejected = said
            case Verb.HOLD:
                self.held_because = said.reason or f"{said.by} asked for it"
            case Verb.RESUME:
                self.held_because = ""
            case Verb.RETRY | Verb.SKIP:
                self.unparked = said
            case Verb.ABORT:
                self.aborted = said
