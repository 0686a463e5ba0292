"""Signed decisions: what the signature binds, and every way in which it proves nothing."""

import json
from datetime import timedelta

import pytest

from domain.approval import Decision, Verb
from domain.errors import Refused
from domain.gates import Approver, GatePolicy
from domain.judgement import is_signed, judge, statement_of
from domain.signing import Statement, private_pem, public_of, sign, verified
from domain.stack_file import parse_stack
from tests.domain.people import (
    FIRST,
    KEYS,
    NOW,
    PEM,
    RUN,
    SECOND,
    STRANGER,
    other_base64,
    said,
    signed,
    situation,
)
from tests.faults.record import Seen

SIGNED_ONLY = GatePolicy(signed="required")


def test_a_signed_approval_counts_and_proves_who_said_it() -> None:
    now = situation(policy=SIGNED_ONLY)
    assert judge(signed(said()), now) is None
    assert is_signed(signed(said()), now)


def test_a_claim_counts_where_signing_is_optional_and_is_no_proof() -> None:
    assert judge(said(), situation()) is None
    assert not is_signed(said(), situation())


def test_the_signed_text_is_canonical() -> None:
    text = statement_of(signed(said()), RUN).canonical().decode()
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))
    assert set(json.loads(text)) == {"run", "gate", "digest", "decision", "by", "issued", "expires", "nonce"}


def in_hours(hours: float) -> str:
    return (NOW + timedelta(hours=hours)).isoformat()


EXPIRED = signed(said(), issued=in_hours(-3), expires=in_hours(-1))


@pytest.mark.fault("F3")
@pytest.mark.parametrize(
    ("forged", "because"),
    [
        (said(), "only signed decisions count here"),
        (signed(said(), pem=PEM[STRANGER]), "is not that of first person"),
        (signed(said(), pem=PEM[SECOND]), "is not that of first person"),
        (signed(said()).model_copy(update={"by": SECOND}), "is not that of second person"),
        (signed(said()).model_copy(update={"signature": "not base64!"}), "is not that of"),
        (signed(said()).model_copy(update={"signature": "AAAA"}), "is not that of"),
        (signed(said(Verb.REJECT)).model_copy(update={"verb": Verb.APPROVE}), "is not that of"),
        (signed(said(by="an auditor"), pem=PEM[STRANGER]), "does not hold a role"),
    ],
)
def test_a_forged_name_does_not_count(forged: Decision, because: str, seen: Seen) -> None:
    """F-F3: an approval from an unauthorised person, under a forged name, signed with another key."""
    limitation = judge(forged, situation(policy=SIGNED_ONLY))
    assert because in (limitation or "it counted")
    assert not is_signed(forged, situation(policy=SIGNED_ONLY))
    seen(limitation or "")


@pytest.mark.fault("F4")
@pytest.mark.parametrize(
    ("replayed", "because"),
    [
        (signed(said(), run="run-0"), "over this run"),
        (signed(said(run="run-0"), run="run-0"), "it is meant for the run run-0"),
        (signed(said(gate="failover")).model_copy(update={"gate": "swap"}), "over this run, gate"),
        (signed(said(digest="d0")).model_copy(update={"digest": "d1"}), "over this run, gate, brief"),
        (signed(said(), nonce="used"), "was used already"),
        (signed(said(), nonce=""), "needs a nonce"),
        (signed(said(), expires=in_hours(0)), "expired at"),
        (EXPIRED, "expired at"),
        (
            signed(said(), issued=in_hours(-3), expires=in_hours(-1)).model_copy(
                update={"expires": in_hours(1)}
            ),
            "is not",
        ),
        (signed(said(), issued=in_hours(2), expires=in_hours(3)), "in the future"),
        (signed(said(), expires=in_hours(25)), "valid for 1 day at most"),
        (signed(said(), issued="2026-01-02T03:04:00"), "name their zone"),
        (signed(said(), expires="soon"), "must be times"),
    ],
)
def test_a_signature_for_something_else_does_not_count(replayed: Decision, because: str, seen: Seen) -> None:
    """F-F4: a signature covers run, gate, plan digest and expiry, and counts once."""
    now = situation(policy=SIGNED_ONLY, spent=frozenset({"used"}))
    limitation = judge(replayed, now)
    assert because in (limitation or "it counted")
    seen(limitation or "")


def test_a_wrong_signature_never_counts_not_even_where_a_claim_would() -> None:
    good = signed(said())
    bad = good.model_copy(update={"signature": other_base64(good.signature)})
    assert judge(good, situation()) is None
    assert "is not that of" in (judge(bad, situation()) or "")


def test_a_person_without_a_key_cannot_sign() -> None:
    assert "no public key of" in (judge(signed(said()), situation(keys={})) or "")


def test_a_person_may_have_several_keys() -> None:
    keys = {FIRST: (*KEYS[SECOND], *KEYS[FIRST])}
    assert judge(signed(said()), situation(policy=SIGNED_ONLY, keys=keys)) is None


def test_the_other_verbs_are_signed_over_the_parked_step() -> None:
    now = situation(gate="", parked_step="a", skippable=True, operating=SIGNED_ONLY)
    skip = said(Verb.SKIP, step="a", reason="by hand")
    assert "only signed decisions" in (judge(skip, now) or "")
    assert judge(signed(skip), now) is None
    assert "is not that of" in (
        judge(signed(said(Verb.RETRY, step="a")).model_copy(update={"step": ""}), now) or ""
    )


def test_every_bit_of_the_statement_is_signed() -> None:
    good = signed(said())
    statement = statement_of(good, RUN)
    assert verified(statement, good.signature, KEYS[FIRST])
    for field in Statement.model_fields:
        other = statement.model_copy(update={field: getattr(statement, field) + "x"})
        assert not verified(other, good.signature, KEYS[FIRST]), field


@pytest.mark.parametrize(
    "pem", [b"", b"no key", b"-----BEGIN X-----\nAAAA\n-----END X-----\n".replace(b"X", b"PRIVATE KEY")]
)
def test_a_file_that_is_no_key_is_refused(pem: bytes) -> None:
    with pytest.raises(Refused, match="holds no Ed25519 private key"):
        sign(statement_of(said(), RUN), pem)


# -- who may decide, as the stack file says it ----------------------------------------------------

KEY = public_of(private_pem(b"k" * 32))
STACK = """\
stack: shop
project: shop
services: {postgres: {kind: postgres}}
gates:
  swap: {roles: [operator], quorum: 2, signed: required}
approvers:
  operator:
    - {name: first person, key: "KEY"}
    - {name: second person, key: "KEY2"}
    - a third one
""".replace("KEY2", public_of(private_pem(b"l" * 32))).replace('"KEY"', f'"{KEY}"')


def test_approvers_are_names_or_names_with_a_key() -> None:
    stack, _ = parse_stack(STACK, "shop.yaml")
    assert stack.approvers["operator"][0] == Approver(name="first person", key=KEY)
    assert stack.approvers["operator"][2] == Approver(name="a third one")


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("quorum: 2", "quorum: 3", "gates.swap: 3 people with a key must approve, only 2 may"),
        ("roles: [operator]", "roles: [owner]", "gates.swap: nobody holds the role owner"),
        ("signed: required", "signed: optional, quorom: 2", "unknown key gates.swap.quorom"),
        ("quorum: 2, signed: required", "quorum: 4", "gates.swap: 4 people must approve, only 3 may"),
        ("name: second person", 'name: "second\\u200b person"', "invisible character"),
        ("ed25519:", "rsa:", "a public key begins with ed25519:"),
        (KEY, f"{KEY}!", "not base64"),
        (KEY, KEY[:20], "32 bytes"),
        ("quorum: 2", "quorum: 0", "gates.swap.quorum"),
        ("quorum: 2", "deadline: 0s", "gates.swap.deadline"),
    ],
)
def test_people_who_could_never_decide_are_found_when_the_file_is_read(old: str, new: str, what: str) -> None:
    with pytest.raises(Refused, match="stack-file") as refused:
        parse_stack(STACK.replace(old, new, 1), "shop.yaml")
    assert what in refused.value.what


def test_two_names_with_one_key_are_one_person() -> None:
    twice = STACK.replace("- a third one", f'- {{name: somebody else, key: "{KEY}"}}')
    with pytest.raises(Refused, match="first person and somebody else have the same key"):
        parse_stack(twice, "shop.yaml")
