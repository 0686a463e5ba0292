"""Only indexes are damaged: rebuilt and proven, and a restore only when a table turns out to be damaged."""

import re
from typing import Any

import pytest

import workflows.reindex as runbook
from domain.diagnosis import Assessment, DamagedIndex, Finding, Look, Verdict, Witness
from domain.errors import Unavailable, VerificationFailed
from domain.gates import GatePolicy
from domain.incident import RecoveryRequest
from domain.order import Facts
from domain.recovery import Judged, Proof
from domain.reindexing import Reindexed
from tests.runbooks.conftest import PASSED, STACK, TARGET, assessment

pytestmark = pytest.mark.timeout(60)

INDEX = "public.messages_by_channel"
BEFORE = [
    "Load the stack",
    "Assess the corruption",
    "Note that a recovery is open",
    "Keep the damage from spreading",
]
RESTORING = {
    "choose_backup",
    "ensure_restored",
    "ensure_fenced",
    "ensure_swapped_in",
    "ensure_writers_stopped",
}


def lying(*names: str) -> Assessment:
    """Return the assessment of a server of which only these indexes are damaged."""
    return Assessment(
        verdict=Verdict.INDEX_ONLY,
        because="a row lacks its index entry",
        running=True,
        answers=True,
        timeline=1,
        witnesses=(
            Witness(name="amcheck", look=Look.AMCHECK, finding=Finding.INDEX_DAMAGED, evidence="a row lacks"),
        ),
        damaged_indexes=names,
        indexes=tuple(DamagedIndex(database="chat", name=name) for name in names),
        sentence="looked",
    )


@pytest.fixture
def lies(bench: Any) -> Any:
    """Hand out a bench whose server has an index that lies."""
    bench.hands.answer("assess_corruption", lambda _: lying(INDEX))
    return bench


def with_gate(bench: Any) -> None:
    """Have the stack file name the gate ``reindex``."""
    asked = STACK.model_copy(update={"gates": {**STACK.gates, "reindex": GatePolicy()}})
    facts = Facts(stack=asked, stack_digest="d" * 64, target=TARGET)
    bench.hands.answer("observe_stack", lambda _: facts)


def in_turn(bench: Any, hand: str, *answers: Any) -> list[Any]:
    """Have a hand answer these in turn, the last one for ever; return the orders that it gets."""
    left, orders = list(answers), []

    def answer(order: Any) -> Any:
        orders.append(order)
        return left.pop(0) if len(left) > 1 else left[0]

    bench.hands.answer(hand, answer)
    return orders


async def titles(handle: Any) -> list[str]:
    view = await handle.query("status")
    return [line.split("Z ", 1)[1][9:].split(":")[0] for line in view["lines"]]


def documented() -> list[str]:
    return re.findall(r"^\d+\. (.+)$", runbook.__doc__ or "", re.MULTILINE)


async def test_an_index_that_lies_is_rebuilt_and_recovered_without_a_restore(lies: Any) -> None:
    handle = await lies.start()
    result = await handle.result()
    assert result.outcome == "recovered", result.rule
    assert "nothing is kept aside: only indexes were rebuilt" in result.rule
    assert result.loss.postgres.markers_lost == 0
    assert result.downtime_seconds == 2.5
    assert await titles(handle) == BEFORE + documented()
    assert not RESTORING & set(lies.hands.called)


async def test_a_plan_names_what_would_be_rebuilt_and_changes_nothing(lies: Any) -> None:
    handle = await lies.start(RecoveryRequest(mode="plan"), "plan/lab/1")
    result = await handle.result()
    assert result.outcome == "stood_down"
    assert INDEX in result.rule
    assert lies.hands.called == ["observe_stack", "assess_corruption"]


async def test_people_are_asked_where_the_stack_file_names_the_gate(lies: Any) -> None:
    with_gate(lies)
    handle = await lies.start()
    view = await lies.until(handle, "gate")
    assert view.gate == "reindex"
    assert any(INDEX in fact for fact in view.brief)
    assert "ensure_reindexed" not in lies.hands.called
    await handle.signal("approve", {"gate": view.gate, "digest": view.digest, "by": "an approver"})
    assert (await handle.result()).outcome == "recovered"


async def test_a_rejected_rebuild_leaves_everything_as_it_was(lies: Any) -> None:
    with_gate(lies)
    handle = await lies.start()
    view = await lies.until(handle, "gate")
    await handle.signal("reject", {"gate": view.gate, "by": "an approver", "reason": "not now"})
    result = await handle.result()
    assert result.outcome == "aborted"
    assert lies.hands.called[-2:] == ["ensure_unquiet", "ensure_recovery_cleared"]
    assert not {"ensure_reindexed", "ensure_discarded"} & set(lies.hands.called)


async def test_duplicate_rows_park_the_run_and_a_retry_rebuilds(lies: Any) -> None:
    twice = VerificationFailed("rows with the same (id)", code="duplicate-rows")
    lies.hands.fail("ensure_reindexed", twice, times=1)
    handle = await lies.start()
    view = await lies.until(handle, "needs_human")
    assert view.parked_code == "duplicate-rows"
    await handle.signal("retry", {"by": "an operator"})
    assert (await handle.result()).outcome == "recovered"


async def test_an_abort_while_parked_lets_vacuum_run_again(lies: Any) -> None:
    lies.hands.fail("ensure_reindexed", VerificationFailed("rows with the same (id)", code="duplicate-rows"))
    handle = await lies.start()
    await lies.until(handle, "needs_human")
    await handle.signal("abort", {"by": "an operator", "reason": "by hand"})
    result = await handle.result()
    assert result.outcome == "aborted"
    assert {"ensure_unquiet", "ensure_recovery_cleared"} <= set(lies.hands.called)


async def test_a_transaction_in_the_way_for_a_moment_does_not_park_the_run(lies: Any) -> None:
    lies.hands.fail("ensure_reindexed", Unavailable("in the way", code="reindex-blocked"), times=2)
    handle = await lies.start()
    assert (await handle.result()).outcome == "recovered"


async def test_a_damaged_table_behind_the_index_is_restored(lies: Any) -> None:
    lies.hands.answer("ensure_reindexed", lambda _: Reindexed(table_damage="invalid page in block 7"))
    in_turn(lies, "assess_corruption", lying(INDEX), assessment(Verdict.CORRUPT))
    handle = await lies.start()
    view = await lies.until(handle, "gate")
    assert view.gate == "swap"
    assert lies.hands.called.count("ensure_quiet") == 1
    await handle.signal("approve", {"gate": "swap", "digest": view.digest, "by": "an approver"})
    result = await handle.result()
    assert result.outcome == "recovered", result.rule
    assert "nothing is kept aside" not in result.rule


async def test_an_index_that_is_wrong_still_is_never_called_recovered(lies: Any) -> None:
    wrong = Judged(passed=False, sentence="9 of 10 rows", proofs=())
    right = Judged(passed=True, proofs=PASSED)
    in_turn(lies, "verify_reindexed", wrong, right)
    orders = in_turn(lies, "ensure_reindexed", Reindexed(rebuilt=(INDEX,)))
    handle = await lies.start()
    view = await lies.until(handle, "needs_human")
    assert view.parked_code == "verification-failed"
    assert "9 of 10 rows" in view.parked_reason
    await handle.signal("retry", {"by": "an operator"})
    assert (await handle.result()).outcome == "recovered"
    assert [order.attempt for order in orders] == [1, 2]


async def test_another_index_that_is_found_then_is_rebuilt_with_it(lies: Any) -> None:
    in_turn(lies, "assess_corruption", lying(INDEX), lying("public.other"))
    in_turn(lies, "verify_reindexed", Judged(passed=False), Judged(passed=True, proofs=PASSED))
    orders = in_turn(lies, "ensure_reindexed", Reindexed(rebuilt=(INDEX,)))
    handle = await lies.start()
    await lies.until(handle, "needs_human")
    await handle.signal("retry", {"by": "an operator"})
    assert (await handle.result()).outcome == "recovered"
    assert [index.name for index in orders[1].indexes] == [INDEX, "public.other"]


async def test_index_damage_without_a_name_is_left_to_a_person(bench: Any) -> None:
    bench.hands.answer("assess_corruption", lambda _: lying())
    handle = await bench.start()
    view = await bench.until(handle, "needs_human")
    assert view.parked_step == "assess_corruption"
    assert "ensure_quiet" not in bench.hands.called


async def test_a_proof_that_was_not_made_is_not_taken_for_one(lies: Any) -> None:
    unmade = Judged(passed=True, proofs=(*PASSED, Proof(name="contents", passed=None, evidence="no backup")))
    lies.hands.answer("verify_reindexed", lambda _: unmade)
    handle = await lies.start()
    result = await handle.result()
    assert result.outcome == "recovered"
    assert "1 of 1 mandatory checks" in result.rule
