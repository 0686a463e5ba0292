"""Gates: who is asked, for how long, by what rules, and what an approval is worth when the run acts."""

import asyncio
import threading
from datetime import timedelta
from typing import Any

import pytest

from domain.backups import BackupList
from domain.diagnosis import Verdict
from domain.gates import GatePolicy, Rung
from domain.incident import RecoveryRequest
from domain.order import Facts
from tests.domain.people import FIRST, SECOND
from tests.faults.record import Seen
from tests.runbooks.conftest import STACK, TARGET, Bench
from tests.runbooks.gate_stage import (
    ROLES,
    decisions,
    page,
    set_gates,
    signed,
    spoken,
    tell,
    until_asked_again,
)

pytestmark = pytest.mark.timeout(120)

DANGEROUS = {"ensure_writers_stopped", "ensure_fenced", "ensure_last_wal", "ensure_swapped_in"}


# -- quorum and two people ------------------------------------------------------------------------


async def test_a_quorum_of_two_needs_two_different_people(bench: Bench) -> None:
    set_gates(bench, ROLES, swap=GatePolicy(quorum=2))
    handle = await bench.start()
    view = await bench.until(handle, "gate")
    first = await tell(handle, "approve", spoken(view))
    same = await tell(handle, "approve", spoken(view, by="First  PERSON"))
    waiting = await bench.until(handle, "gate")
    assert (first.counted, first.because) == (True, "counted: 1 of 2 approvals")
    assert (same.counted, same.because) == (
        False,
        "First  PERSON has approved already; another person is needed",
    )
    assert (waiting.approved_by, waiting.quorum) == ((FIRST,), 2)
    assert not DANGEROUS & set(bench.hands.called)
    assert (await tell(handle, "approve", spoken(view, by=SECOND))).counted
    assert (await handle.result()).outcome == "recovered"


async def test_a_lone_operator_may_approve_where_it_is_allowed_and_the_report_says_so(bench: Bench) -> None:
    set_gates(bench, ROLES, swap=GatePolicy(self_approval="allowed"))
    handle = await bench.start(RecoveryRequest(requested_by=FIRST))
    view = await bench.until(handle, "gate")
    await handle.signal("approve", signed(view))
    result = await handle.result()
    assert [(d["counted"], d["signed"], d["self_approved"]) for d in decisions(result)] == [
        (True, True, True)
    ]
    assert "approved what they asked for" in page(result)


async def test_a_gate_for_signed_decisions_takes_no_claim(bench: Bench) -> None:
    set_gates(bench, ROLES, swap=GatePolicy(signed="required"))
    handle = await bench.start()
    view = await bench.until(handle, "gate")
    claim = await tell(handle, "approve", spoken(view))
    assert view.signed == "required"
    assert (claim.counted, "only signed decisions" in claim.because) == (False, True)
    assert (await tell(handle, "approve", signed(view))).counted
    result = await handle.result()
    assert [(d["counted"], d["signed"]) for d in decisions(result)] == [(False, False), (True, True)]


# -- nobody answers -------------------------------------------------------------------------------


@pytest.mark.fault("F1")
async def test_a_gate_that_nobody_answers_reminds_escalates_and_parks(bench: Bench, seen: Seen) -> None:
    """F-F1: the approval never comes; people are told in order, then the run parks and changed nothing."""
    chain = (
        Rung(after=timedelta(seconds=0.6), tell=("on call",)),
        Rung(after=timedelta(seconds=1.2), tell=("head of operations",)),
    )
    policy = GatePolicy(remind_after=timedelta(seconds=0.3), escalation=chain, deadline=timedelta(seconds=4))
    set_gates(bench, swap=policy)
    handle = await bench.start()
    view = await bench.until(handle, "needs_human")
    said = "\n".join(bench.hands.said)
    late = await tell(handle, "approve", spoken(view, gate="swap", digest="d"))
    assert view.parked_code == "gate-deadline"
    assert said.index("Decision needed") < said.index("Reminder")
    assert said.index("Decision needed") < said.index("ESCALATION to on call")
    assert said.index("ESCALATION to on call") < said.index("ESCALATION to head of operations")
    assert (late.counted, "nobody decided at the gate 'swap' in time" in late.because) == (False, True)
    assert not DANGEROUS & set(bench.hands.called)
    seen(view.parked_reason)


async def test_a_gate_that_parked_is_asked_again_when_a_person_says_retry(bench: Bench) -> None:
    set_gates(bench, swap=GatePolicy(deadline=timedelta(seconds=2)))
    handle = await bench.start()
    parked = await bench.until(handle, "needs_human")
    await handle.signal("retry", {"by": "an operator", "step": parked.parked_step})
    again = await bench.until(handle, "gate")
    assert "Asked again" in again.brief[0]
    assert (await tell(handle, "approve", spoken(again))).counted
    assert (await handle.result()).outcome == "recovered"


async def test_a_brief_that_grew_old_is_measured_again_and_the_old_one_counts_no_more(bench: Bench) -> None:
    set_gates(bench, swap=GatePolicy(valid_for=timedelta(seconds=3)))
    handle = await bench.start()
    first = await bench.until(handle, "gate")
    measured = bench.hands.called.count("measure_loss")
    again = await until_asked_again(bench, handle, first.digest)
    old = await tell(handle, "approve", spoken(first))
    assert bench.hands.called.count("measure_loss") > measured
    assert "is of an earlier brief" in old.because
    assert (await tell(handle, "approve", spoken(again))).counted
    assert (await handle.result()).outcome == "recovered"


async def test_an_approval_that_is_too_old_when_the_run_acts_is_asked_for_again(bench: Bench) -> None:
    set_gates(bench, swap=GatePolicy(valid_for=timedelta(seconds=4)))
    closing = threading.Event()
    fence = bench.hands.answers["ensure_fenced"][1]

    def slow(order: Any) -> Any:
        assert closing.wait(30)
        return fence(order)

    bench.hands.answer("ensure_fenced", slow)
    handle = await bench.start()
    view = await bench.until(handle, "gate")
    await tell(handle, "approve", spoken(view))
    deadline = asyncio.get_running_loop().time() + 4.5
    while asyncio.get_running_loop().time() < deadline:
        await bench.until(handle, "running")
        await asyncio.sleep(0.1)
    closing.set()
    again = await until_asked_again(bench, handle, view.digest)
    assert "ensure_promoted" not in bench.hands.called
    assert "it was given at" in again.brief[0]
    await tell(handle, "approve", spoken(again))
    assert (await handle.result()).outcome == "recovered"


# -- twice, at once, too early, too late ----------------------------------------------------------


@pytest.mark.fault("F2")
async def test_the_same_decision_said_twice_has_one_answer_and_counts_once(bench: Bench, seen: Seen) -> None:
    """F-F2: an approval comes twice, by a retried click and through another door."""
    set_gates(bench, swap=GatePolicy(quorum=2))
    handle = await bench.start()
    view = await bench.until(handle, "gate")
    first = await tell(handle, "approve", spoken(view, id="one"))
    second = await tell(handle, "approve", spoken(view, id="one", reason="I clicked again"))
    await handle.signal("approve", spoken(view, id="one"))
    assert second == first
    assert (await bench.until(handle, "gate")).approved_by == (FIRST,)
    await tell(handle, "approve", spoken(view, by=SECOND))
    lines = decisions(await handle.result())
    assert [line["counted"] for line in lines] == [True, False, False, True]
    assert "said again; it counted at" in lines[1]["because"]
    seen(lines[1]["because"])


async def test_an_id_that_somebody_else_used_first_does_not_silence_a_decision(bench: Bench) -> None:
    set_gates(bench, ROLES, swap=GatePolicy(signed="required"))
    handle = await bench.start()
    view = await bench.until(handle, "gate")
    squatted = await tell(handle, "approve", spoken(view, id="swap:first person"))
    assert not squatted.counted
    assert (await tell(handle, "approve", signed(view, id="swap:first person"))).counted


@pytest.mark.fault("F5")
@pytest.mark.parametrize("order", [("approve", "reject"), ("reject", "approve")])
async def test_of_two_opposite_decisions_the_first_that_is_recorded_wins(
    bench: Bench, order: tuple[str, str], seen: Seen
) -> None:
    """F-F5: approve and reject race; both arrive before the run has acted on either."""
    handle = await bench.start()
    view = await bench.until(handle, "gate")
    people = iter((FIRST, SECOND))
    for verb in order:
        await handle.signal(verb, spoken(view, by=next(people), reason="now"))
    result = await handle.result()
    assert result.outcome == ("recovered" if order[0] == "approve" else "aborted")
    first, second = decisions(result)[:2]
    assert (first["counted"], second["counted"]) == (True, False)
    assert f"by {FIRST} already" in second["because"]
    seen(second["because"])


@pytest.mark.fault("F6")
async def test_an_approval_before_the_gate_opens_or_after_it_closed_is_refused_with_the_reason(
    bench: Bench, seen: Seen
) -> None:
    """F-F6: an approval comes before the gate is open, and again after it closed."""
    restoring, closing, free = threading.Event(), threading.Event(), threading.Event()
    for hand, entered in (("ensure_restored", restoring), ("ensure_fenced", closing)):
        answer = bench.hands.answers[hand][1]

        def slow(order: Any, answer: Any = answer, entered: threading.Event = entered) -> Any:
            entered.set()
            assert free.wait(30)
            return answer(order)

        bench.hands.answer(hand, slow)
    handle = await bench.start()
    assert await asyncio.to_thread(restoring.wait, 30)
    early = await tell(handle, "approve", {"gate": "swap", "digest": "d", "by": FIRST})
    free.set()
    view = await bench.until(handle, "gate")
    free.clear()
    assert (early.counted, early.because) == (False, "no gate is open")
    assert (await tell(handle, "approve", spoken(view))).counted
    assert await asyncio.to_thread(closing.wait, 30)
    late = await tell(handle, "reject", spoken(view, by=SECOND, reason="too late"))
    free.set()
    assert (late.counted, late.because) == (False, f"the gate 'swap' was approved by {FIRST} already")
    assert (await handle.result()).outcome == "recovered"
    seen(f"{early.because}; {late.because}")


# -- the situation changed between question and answer --------------------------------------------


@pytest.mark.fault("F7")
async def test_a_server_that_healed_while_people_thought_is_not_swapped_on_the_old_approval(
    bench: Bench, seen: Seen
) -> None:
    """F-F7: the situation changed between question and answer: the damage is gone."""
    set_gates(bench, swap=GatePolicy(assess_again_after=timedelta()))
    handle = await bench.start()
    view = await bench.until(handle, "gate")
    bench.hands.assess(Verdict.SOUND)
    assert (await tell(handle, "approve", spoken(view))).counted
    again = await until_asked_again(bench, handle, view.digest)
    assert not DANGEROUS & set(bench.hands.called)
    assert "the diagnosis was corrupt, now it is sound" in again.brief[0]
    seen(again.brief[0])
    await handle.signal("reject", spoken(again, reason="it healed"))
    result = await handle.result()
    assert result.outcome == "aborted"
    assert "ensure_unquiet" in bench.hands.called
    assert not DANGEROUS & set(bench.hands.called)


@pytest.mark.fault("F7")
async def test_an_approval_lapses_when_the_backup_is_gone_and_counts_once_people_know(
    bench: Bench, seen: Seen
) -> None:
    """F-F7: the situation changed between question and answer: the backup left the shelf."""
    handle = await bench.start()
    view = await bench.until(handle, "gate")
    bench.hands.answer("observe_backups", lambda _: BackupList())
    await tell(handle, "approve", spoken(view))
    again = await until_asked_again(bench, handle, view.digest)
    assert not DANGEROUS & set(bench.hands.called)
    assert any("is no longer on the shelf" in fact for fact in again.brief)
    seen(again.brief[0])
    assert "of an earlier brief" in (await tell(handle, "approve", spoken(view))).because
    assert (await tell(handle, "approve", spoken(again))).counted
    assert (await handle.result()).outcome == "recovered"


@pytest.mark.fault("F7")
async def test_a_server_that_was_made_anew_meanwhile_parks_the_run_before_anything_stops(
    bench: Bench, seen: Seen
) -> None:
    """F-F7: the situation changed between question and answer: another volume is mounted."""
    handle = await bench.start()
    view = await bench.until(handle, "gate")
    as_before = bench.hands.answers["observe_stack"][1]
    other = TARGET.model_copy(
        update={"postgres": TARGET.postgres.model_copy(update={"volume": "another", "container_id": "e"})}
    )
    bench.hands.answer("observe_stack", lambda _: Facts(stack=STACK, stack_digest="d" * 64, target=other))
    await tell(handle, "approve", spoken(view))
    parked = await bench.until(handle, "needs_human")
    assert parked.parked_code == "target-changed"
    assert "volume another, no longer in v" in parked.parked_reason
    assert not DANGEROUS & set(bench.hands.called)
    seen(parked.parked_reason)
    bench.hands.answer("observe_stack", as_before)
    await handle.signal("retry", {"by": "an operator"})
    again = await until_asked_again(bench, handle, view.digest)
    assert "was another one for a while" in again.brief[0]
    assert not DANGEROUS & set(bench.hands.called)
