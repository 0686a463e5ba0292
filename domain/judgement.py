"""Whether a decision counts. One pure function judges all of them, from every door."""

from domain.approval import Decision, Situation, Verb
from domain.gates import GatePolicy
from domain.persons import folded, invisible_in, name_limitation, same_person
from domain.signing import Statement, time_limitation, verified

_AT_A_GATE = (Verb.APPROVE, Verb.REJECT)


def judge(said: Decision, now: Situation) -> str | None:
    """Return why a decision does not count, or ``None`` when it does."""
    if now.ended:
        return "the run has ended"
    return (
        name_limitation(said.by)
        or _field_limitation(said)
        or _run_limitation(said, now)
        or _verb_limitation(said, now)
        or _role_limitation(said, now)
        or _proof_limitation(said, now)
    )


def is_signed(said: Decision, now: Situation) -> bool:
    """Tell whether ``by`` is proven by a signature that is good now; otherwise it is a claim."""
    return bool(said.signature) and signature_limitation(said, now) is None


def approves_own_request(said: Decision, now: Situation) -> bool:
    """Tell whether the person who asked for the recovery approves it."""
    return said.verb is Verb.APPROVE and same_person(said.by, now.requested_by)


def statement_of(said: Decision, run_id: str) -> Statement:
    """Return what a signed decision states; ``dr sign`` and the judgement use the same."""
    return Statement(
        run=run_id,
        gate=said.gate if said.verb in _AT_A_GATE else said.step,
        digest=said.digest,
        decision=said.verb,
        by=said.by,
        issued=said.issued,
        expires=said.expires,
        nonce=said.nonce,
    )


def signature_limitation(said: Decision, now: Situation) -> str | None:
    """Return why a signature proves nothing, or ``None``."""
    keys = next((keys for name, keys in now.keys.items() if same_person(name, said.by)), ())
    if not keys:
        return f"the stack file has no public key of {said.by}"
    if not said.nonce:
        return "a signed decision needs a nonce"
    if said.nonce in now.spent:
        return "this signature was used already"
    limitation = time_limitation(said.issued, said.expires, now.at)
    if limitation:
        return limitation
    if not verified(statement_of(said, now.run_id), said.signature, keys):
        return f"the signature is not that of {said.by} over this run, gate, brief and decision"
    return None


def _field_limitation(said: Decision) -> str | None:
    for name in ("gate", "step", "digest", "id", "run", "nonce"):
        hidden = invisible_in(getattr(said, name))
        if hidden:
            return f"{name!r} holds an invisible character ({hidden})"
    return None


def _run_limitation(said: Decision, now: Situation) -> str | None:
    if said.run and said.run != now.run_id:
        return f"it is meant for the run {said.run}; this is {now.run_id}"
    return None


def _verb_limitation(said: Decision, now: Situation) -> str | None:
    limitation: str | None
    match said.verb:
        case Verb.APPROVE:
            limitation = _approval_limitation(said, now)
        case Verb.REJECT:
            limitation = _gate_limitation(said, now)
        case Verb.HOLD:
            limitation = "the run is held already" if now.held else None
        case Verb.RESUME:
            limitation = None if now.held else "the run is not held"
        case Verb.RETRY:
            limitation = _parked_limitation(said, now)
        case Verb.SKIP:
            limitation = _skip_limitation(said, now)
        case Verb.ABORT:
            limitation = _abort_limitation(said, now)
    return limitation


def _gate_limitation(said: Decision, now: Situation) -> str | None:
    if not now.gate:
        return now.closed_gate or "no gate is open"
    if said.gate and said.gate != now.gate:
        return f"the open gate is {now.gate!r}, not {said.gate!r}"
    if said.digest in now.earlier_digests:
        return f"the digest is of an earlier brief; facts were measured again, the open one is {now.digest}"
    if said.digest and said.digest != now.digest:
        return f"the digest is of another brief; the open one is {now.digest}"
    return None


def _approval_limitation(said: Decision, now: Situation) -> str | None:
    limitation = _gate_limitation(said, now)
    if limitation:
        return limitation
    if not said.digest:
        return f"an approval must quote the digest of the brief ({now.digest})"
    if any(same_person(said.by, approval.by) for approval in now.approvals):
        return f"{said.by} has approved already; another person is needed"
    if approves_own_request(said, now) and now.policy.self_approval == "refused":
        return "who asked for the recovery may not approve it"
    return None


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


def _abort_limitation(said: Decision, now: Situation) -> str | None:
    if now.closing:
        return "the run is ending already; a step that is parked can be retried or skipped"
    if now.aborting:
        return "the run is being aborted already"
    return None if said.reason.strip() else "an abort needs a reason"


def _role_limitation(said: Decision, now: Situation) -> str | None:
    if not now.approvers:
        return None
    policy = _governing(said, now)
    roles = tuple(now.approvers) if policy is None else policy.roles
    if folded(said.by) in {folded(name) for role in roles for name in now.approvers.get(role, ())}:
        return None
    return f"{said.by} does not hold a role that may say this ({', '.join(roles)})"


def _proof_limitation(said: Decision, now: Situation) -> str | None:
    if said.signature:
        return signature_limitation(said, now)
    policy = _governing(said, now)
    if policy is not None and policy.signed == "required":
        return "only signed decisions count here: dr sign, or --key with the command"
    return None


def _governing(said: Decision, now: Situation) -> GatePolicy | None:
    return now.policy if said.verb in _AT_A_GATE else now.operating
