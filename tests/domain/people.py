"""Two people with keys, and decisions of theirs."""

import base64
from datetime import UTC, datetime, timedelta

from domain.approval import Approval, Decision, Situation, Verb
from domain.gates import GatePolicy
from domain.judgement import statement_of
from domain.signing import private_pem, public_of, sign

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
RUN = "run-1"
FIRST, SECOND, STRANGER = "first person", "second person", "a stranger"
PEM = {name: private_pem(bytes([number]) * 32) for number, name in enumerate((FIRST, SECOND, STRANGER))}
KEYS = {name: (public_of(PEM[name]),) for name in (FIRST, SECOND)}


def situation(**changed: object) -> Situation:
    """Return the gate ``swap`` as it stands open for two people with keys."""
    fields: dict[str, object] = {
        "at": NOW,
        "run_id": RUN,
        "requested_by": "who asked",
        "gate": "swap",
        "digest": "d1",
        "policy": GatePolicy(roles=("operator",)),
        "approvers": {"operator": (FIRST, SECOND), "auditor": ("an auditor",)},
        "keys": KEYS,
    }
    return Situation.model_validate(fields | changed)


def said(verb: Verb = Verb.APPROVE, **changed: str) -> Decision:
    """Return what the first person says with the open brief before their eyes."""
    fields = {"gate": "swap", "digest": "d1", "by": FIRST} if verb in {Verb.APPROVE, Verb.REJECT} else {}
    return Decision.model_validate({"by": FIRST, "verb": verb} | fields | changed)


def signed(
    decision: Decision, *, run: str = RUN, pem: bytes = b"", nonce: str = "n1", **times: str
) -> Decision:
    """Return the decision signed by its own key, or by another one."""
    usual = {"issued": NOW.isoformat(), "expires": (NOW + timedelta(hours=1)).isoformat()}
    stamped = decision.model_copy(update={"nonce": nonce} | usual | times)
    made = sign(statement_of(stamped, run), pem or PEM[decision.by])
    return stamped.model_copy(update={"signature": made})


def approval(by: str = SECOND) -> Approval:
    """Return an approval that counted before."""
    return Approval(by=by, at=NOW)


def other_base64(text: str) -> str:
    """Return base64 of the same length that says something else."""
    return base64.b64encode(bytes(b ^ 1 for b in base64.b64decode(text))).decode()
