"""Whether a decision counts: roles, quorum, two people, briefs, and what is no decision at all."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.approval import Brief, Decision, Garbled, Message, Situation, Verb, understood
from domain.gates import GatePolicy
from domain.judgement import approves_own_request, judge
from tests.domain.people import FIRST, RUN, SECOND, approval, said, situation
from tests.faults.record import Seen

BRIEF = Brief(gate="swap", question="?", facts=("f",), decided_on={"backup": "b1"}, maximum_loss_seconds=5)


def test_an_approval_by_a_holder_of_the_role_with_the_open_digest_counts() -> None:
    assert judge(said(), situation()) is None


@pytest.mark.parametrize(
    ("decision", "now", "because"),
    [
        (said(by=""), situation(), "say who you are"),
        (said(by="  "), situation(), "say who you are"),
        (said(by="an auditor"), situation(), "does not hold a role"),
        (said(by="nobody known"), situation(), "does not hold a role"),
        (said(digest=""), situation(), "must quote the digest of the brief (d1)"),
        (said(digest="d0"), situation(), "of another brief; the open one is d1"),
        (said(digest="d0"), situation(earlier_digests=("d0",)), "of an earlier brief"),
        (said(gate="failover"), situation(), "the open gate is 'swap'"),
        (said(run="run-0"), situation(), "it is meant for the run run-0"),
        (said(), situation(gate="", closed_gate=""), "no gate is open"),
        (said(), situation(gate="", closed_gate="it was approved already"), "it was approved already"),
        (said(), situation(ended=True), "the run has ended"),
        (said(), situation(approvals=(approval(FIRST),)), "has approved already; another person is needed"),
        (said(by="FIRST  Person"), situation(approvals=(approval(FIRST),)), "another person is needed"),
        (said(), situation(requested_by=FIRST), "may not approve it"),
        (said(), situation(requested_by=" First PERSON "), "may not approve it"),
        (said(Verb.REJECT, by="an auditor"), situation(), "does not hold a role"),
        (said(Verb.ABORT), situation(), "an abort needs a reason"),
        (said(Verb.ABORT, reason="enough"), situation(closing=True), "the run is ending already"),
        (said(Verb.ABORT, reason="enough"), situation(aborting=True), "is being aborted already"),
        (said(Verb.HOLD), situation(held=True), "held already"),
        (said(Verb.RESUME), situation(), "not held"),
        (said(Verb.RETRY), situation(), "no step is parked"),
        (said(Verb.RETRY, step="b"), situation(parked_step="a"), "the parked step is 'a', not 'b'"),
        (said(Verb.SKIP, reason="x"), situation(parked_step="a"), "must not be skipped"),
        (said(Verb.SKIP), situation(parked_step="a", skippable=True), "a skip needs a reason"),
        (said(Verb.HOLD, by="nobody known"), situation(), "does not hold a role"),
    ],
)
def test_what_does_not_count_is_told_why(decision: Decision, now: Situation, because: str) -> None:
    assert because in (judge(decision, now) or "it counted")


def test_the_second_approval_of_a_quorum_is_another_persons() -> None:
    now = situation(policy=GatePolicy(quorum=2), approvals=(approval(SECOND),))
    assert judge(said(), now) is None
    assert "another person" in (judge(said(by=SECOND), now) or "")


def test_a_lone_operator_may_approve_where_the_policy_allows_it_and_is_marked() -> None:
    now = situation(requested_by=FIRST, policy=GatePolicy(self_approval="allowed"))
    assert judge(said(), now) is None
    assert approves_own_request(said(), now)
    assert not approves_own_request(said(), situation())


def test_without_approvers_a_name_is_taken_as_claimed() -> None:
    assert judge(said(by="whoever"), situation(approvers={}, keys={})) is None


def test_other_verbs_need_any_role_unless_the_policy_operate_says_which() -> None:
    park = {"parked_step": "a", "skippable": True}
    skip = said(Verb.SKIP, by="an auditor", reason="by hand")
    assert judge(skip, situation(**park)) is None
    assert "does not hold a role" in (judge(skip, situation(**park, operating=GatePolicy())) or "")


def test_a_digest_binds_run_gate_facts_and_how_often_was_asked() -> None:
    others = [
        BRIEF.digest("run-2"),
        BRIEF.digest(RUN, 2),
        BRIEF.model_copy(update={"gate": "failover"}).digest(RUN),
        BRIEF.model_copy(update={"decided_on": {"backup": "b2"}}).digest(RUN),
        BRIEF.model_copy(update={"maximum_loss_seconds": 10}).digest(RUN),
        BRIEF.model_copy(update={"maximum_loss_seconds": None}).digest(RUN),
    ]
    assert len({BRIEF.digest(RUN), *others}) == 1 + len(others)


@pytest.mark.fault("F4")
def test_an_approval_of_another_run_gate_or_plan_does_not_count(seen: Seen) -> None:
    """F-F4: an approval for another run, gate or older plan is replayed."""
    now = situation(digest=BRIEF.digest(RUN))
    older = BRIEF.model_copy(update={"maximum_loss_seconds": 1})
    replayed = [
        said(digest=BRIEF.digest("run-0")),
        said(digest=older.digest(RUN)),
        said(digest=BRIEF.model_copy(update={"gate": "failover"}).digest(RUN)),
        said(digest=BRIEF.digest(RUN), gate="failover"),
        said(digest=BRIEF.digest(RUN), run="run-0"),
    ]
    refusals = [judge(one, now) for one in replayed]
    assert all(refusals)
    assert judge(said(digest=BRIEF.digest(RUN)), now) is None
    seen(f"five replayed approvals were refused: {refusals}")


# -- what is no decision --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"{",
        b"not json",
        b"[]",
        b"null",
        b'"approve"',
        b"7",
        b'{"by": 7}',
        b'{"digst": "d1"}',
        b'{"by": "a", "verb": "approve"}',
        b'{"by": "' + b"x" * 201 + b'"}',
        b'{"reason": "' + b"x" * 100_000 + b'"}',
        b'{"by": "\\ud800"}',
        b"\xff\xfe",
        b"[" * 5000,
        b'{"a":' * 5000,
    ],
)
def test_what_does_not_parse_is_told_in_one_short_sentence(sent: bytes) -> None:
    read = understood(sent, Message)
    assert isinstance(read, Garbled)
    assert read.because.startswith("not understood: ")
    assert len(read.because) < 310
    assert read.because.isprintable()


def test_who_sent_something_garbled_is_named_where_it_can_be_told() -> None:
    read = understood(b'{"by": "first person", "digst": "d1"}', Message)
    assert isinstance(read, Garbled)
    assert read.by == "first person"
    assert "digst" in read.because


@given(
    st.binary(max_size=200) | st.text().map(str.encode) | st.from_type(dict).map(lambda d: repr(d).encode())
)
def test_nothing_that_is_sent_raises(sent: bytes) -> None:
    assert isinstance(understood(sent, Message), Message | Garbled)


@pytest.mark.fault("K6")
@pytest.mark.parametrize(
    "name",
    [
        "first\x00person",
        "first\nperson",
        "first\x1b[2Jperson",
        "first\u202eperson",
        "first\u200bperson",
        "f\u0456rst person",
    ],
    ids=["NUL", "newline", "ESC", "right-to-left", "zero-width", "Cyrillic i"],
)
def test_a_name_that_reads_as_another_one_does_not_count(name: str, seen: Seen) -> None:
    """F-K6: NUL, newline, ESC, right-to-left and look-alike characters in a name."""
    refusals = [judge(said(by=name), now) for now in (situation(), situation(approvers={}, keys={}))]
    assert all(refusal and refusal.isprintable() for refusal in refusals)
    seen(f"refused: {refusals}")


@pytest.mark.parametrize("field", ["gate", "step", "digest", "id", "run", "nonce"])
def test_an_invisible_character_in_a_field_does_not_count(field: str) -> None:
    limitation = judge(said().model_copy(update={field: "swap\x1b[31m"}), situation())
    assert limitation == f"{field!r} holds an invisible character (U+001B)"


@pytest.mark.parametrize("name", ["Анна Петрова", "Ἑλένη", "José", "李小龙", "O'Neil-Smith", "first  PERSON"])
def test_a_name_in_one_script_is_a_name(name: str) -> None:
    assert judge(said(by=name), situation(approvers={}, keys={})) is None


def test_a_decision_reads_as_it_was_written() -> None:
    fields = {"verb": "skip", "by": FIRST, "step": "a", "reason": "later"}
    assert understood(json.dumps(fields).encode(), Decision) == Decision.model_validate(fields)
