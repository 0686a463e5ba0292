"""Skip and abort: what a person may leave out, and where a run stands that a person ended."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from domain.diagnosis import Verdict
from domain.errors import Refused
from domain.exchange import Swapped, SwapSettled
from domain.gates import GatePolicy
from tests.domain.people import FIRST, SECOND
from tests.faults.record import Seen
from tests.runbooks.conftest import Bench
from tests.runbooks.gate_stage import ROLES, page, report, set_gates, spoken, tell, until_said

pytestmark = pytest.mark.timeout(240)


@pytest.mark.fault("F8")
async def test_a_skip_needs_a_reason_and_a_role_and_is_red_in_the_report(bench: Bench, seen: Seen) -> None:
    """F-F8: an operator skips a failed step."""
    set_gates(bench, ROLES, swap=GatePolicy(), operate=GatePolicy())
    bench.hands.fail("ensure_search_in_line", Refused("no index", code="no-index"))
    handle = await bench.start()
    await tell(handle, "approve", spoken(await bench.until(handle, "gate")))
    parked = await bench.until(handle, "needs_human")
    step = parked.parked_step
    bare = await tell(handle, "skip", {"by": FIRST, "step": step})
    stranger = await tell(handle, "skip", {"by": "an auditor", "step": step, "reason": "never mind"})
    assert (bare.counted, bare.because) == (False, "a skip needs a reason")
    assert (stranger.counted, "does not hold a role" in stranger.because) == (False, True)
    assert (await bench.until(handle, "needs_human")).parked_step == step
    await handle.signal("skip", {"by": FIRST, "step": step, "reason": "rebuilt <b>by hand</b> later"})
    result = await handle.result()
    (skipped,) = [s for s in report(result)["steps"] if s["outcome"] == "skipped"]
    assert FIRST in skipped["sentence"]
    assert "rebuilt <b>by hand</b> later" in skipped["sentence"]
    assert 'class="row skipped' in page(result)
    assert 'class="skippedlist"' in page(result)
    assert "<b>by hand</b>" not in page(result)
    seen(skipped["sentence"])


def stands(bench: Bench, result: Any) -> tuple[str, str]:
    told = report(result)
    return str(told["facts"]["where it stands"]), "; ".join(told["changed"])


async def abort_at(bench: Bench, hand: str) -> Any:
    """Abort while a hand is at work, approve what is asked for until then, and return the result."""
    entered, free = threading.Event(), threading.Event()
    answer = bench.hands.answers[hand][1]

    def slow(order: Any) -> Any:
        entered.set()
        assert free.wait(30)
        return answer(order)

    bench.hands.answer(hand, slow)
    handle = await bench.start()
    await approve_until(handle, entered.is_set)
    told = await tell(handle, "abort", {"by": SECOND, "reason": "enough"})
    free.set()
    bench.hands.answer(hand, answer)
    assert told.counted
    return await handle.result()


async def approve_until(handle: Any, over: Callable[[], bool]) -> None:
    """Approve what is asked for until something happened, or the run has ended."""
    async with asyncio.timeout(40):
        while not over():
            view = await handle.query("status")
            if view["state"] == "ended":
                return
            if view["state"] == "gate":
                await handle.signal("approve", {k: view[k] for k in ("gate", "digest")} | {"by": FIRST})
            await asyncio.sleep(0.05)


NOT_WHERE_SOMEBODY_CAN_ABORT = {
    "observe_stack",  # the run knows nothing before it, so an abort there has nothing to say
    "ensure_discarded",
    "ensure_unfenced",
    "ensure_unquiet",
    "ensure_recovery_cleared",
    "ensure_swap_settled",
    "ensure_reindexed",
    "verify_reindexed",
}


@pytest.mark.fault("F9")
@pytest.mark.parametrize("hand", ["ensure_fenced", "ensure_swapped_in"])
async def test_an_abort_says_where_the_run_stands_and_how_to_undo_the_rest(
    bench: Bench, hand: str, seen: Seen
) -> None:
    """F-F9: abort at a step: what runs, where the old data is, how to undo."""
    result = await abort_at(bench, hand)
    where, changed = stands(bench, result)
    assert result.outcome == "aborted"
    assert f"{SECOND} aborted the run: enough" in result.rule
    if hand == "ensure_fenced":
        assert "the live data is in v, as it was" in where
        assert changed == "everything that was changed was undone"
        assert {"ensure_discarded", "ensure_unfenced", "ensure_services_started"} <= set(bench.hands.called)
    else:
        assert "the restored data is in v, the damaged data is kept in w" in where
        assert "dr release" in where
        assert "stopped: hasura; to undo: start" in changed
    seen(where)


@pytest.mark.fault("F9", at_length=True)
@pytest.mark.parametrize("answers", [True, False], ids=["living", "dead"])
async def test_an_abort_at_any_step_ends_with_where_things_are(
    bench: Bench,
    answers: bool,  # noqa: FBT001 - a parameter of the test
    seen: Seen,
) -> None:
    """F-F9: abort at each step, of a server that answers and of one that does not."""
    bench.hands.assess(Verdict.CORRUPT, answers=answers)
    whole = await bench.start()
    await approve_until(whole, lambda: False)
    assert (await whole.result()).outcome == "recovered"
    hands = [h for h in dict.fromkeys(bench.hands.called) if h not in NOT_WHERE_SOMEBODY_CAN_ABORT]
    assert len(hands) > 20
    stood: dict[str, str] = {}
    for hand in hands:
        bench.hands.called.clear()
        result = await abort_at(bench, hand)
        assert result.outcome == "aborted", hand
        where, changed = stands(bench, result)
        swapped = "ensure_swapped_in" in bench.hands.called
        stood[hand] = where
        assert ("the restored data is in v" in where) == swapped, hand
        assert ("the live data is in v, as it was" in where) == (not swapped), hand
        if "ensure_recovery_flagged" in bench.hands.called:
            assert "ensure_recovery_cleared" in bench.hands.called, hand
        if not swapped and answers and "ensure_fenced" in bench.hands.called:
            assert "ensure_unfenced" in bench.hands.called, hand
        assert changed or "ensure_quiet" not in bench.hands.called, hand
    seen(f"{len(stood)} steps were aborted; the last: {list(stood.values())[-1]}")


async def ended_in_the_exchange(bench: Bench) -> Any:
    """Approve, let the exchange give up without an answer, abort there, and return the handle."""
    bench.hands.fail("ensure_swapped_in", Refused("no answer after the exchange", code="silent"))
    handle = await bench.start()
    await tell(handle, "approve", spoken(await bench.until(handle, "gate")))
    await bench.until(handle, "needs_human")
    await tell(handle, "abort", {"by": FIRST, "reason": "I look myself"})
    return handle


async def test_a_run_that_was_ended_in_the_exchange_undoes_everything_where_nothing_was_exchanged(
    bench: Bench,
) -> None:
    where, changed = stands(bench, await (await ended_in_the_exchange(bench)).result())
    assert "the live data is in v, as it was" in where
    assert changed == "everything that was changed was undone"
    assert {"ensure_discarded", "ensure_unfenced", "ensure_services_started"} <= set(bench.hands.called)


async def test_a_run_that_was_ended_in_the_exchange_undoes_nothing_where_the_volumes_were_exchanged(
    bench: Bench,
) -> None:
    swapped = Swapped(kept_volume="w", kept_bytes=5, keeper="k")
    bench.hands.answer("ensure_swap_settled", lambda _: SwapSettled(swapped=swapped))
    where, changed = stands(bench, await (await ended_in_the_exchange(bench)).result())
    assert "the restored data is in v, the damaged data is kept in w" in where
    assert "the restored data is in the live volume" in changed
    assert not {"ensure_discarded", "ensure_unfenced"} & set(bench.hands.called)


async def test_a_run_that_was_ended_in_the_exchange_does_not_claim_to_know_where_the_data_is(
    bench: Bench,
) -> None:
    """Where that cannot be found out, a person may go on without, and nothing is touched."""
    bench.hands.fail("ensure_swap_settled", Refused("a strange directory", code="swap-strange"))
    handle = await ended_in_the_exchange(bench)
    await until_said(bench, "Parked at ensure_swap_settled")
    await tell(handle, "skip", {"by": FIRST, "step": "ensure_swap_settled", "reason": "I look myself"})
    where, _ = stands(bench, await handle.result())
    assert "whether v holds the damaged or the restored data was not told" in where
    assert not {"ensure_discarded", "ensure_unfenced"} & set(bench.hands.called)


async def test_an_undo_that_fails_parks_until_a_person_says_what_to_do(bench: Bench) -> None:
    bench.hands.fail("ensure_discarded", Refused("the volume is in use", code="in-use"))
    result = asyncio.create_task(abort_at(bench, "ensure_following"))
    await until_said(bench, "Parked at ensure_discarded")
    handle = bench.client.get_workflow_handle("recovery/lab")
    parked = await bench.until(handle, "needs_human")
    tries = bench.hands.called.count("ensure_discarded")
    again = await tell(handle, "abort", {"by": SECOND, "reason": "I said enough"})
    assert (again.counted, "is ending already" in again.because) == (False, True)
    assert (await bench.until(handle, "needs_human")).parked_step == parked.parked_step
    assert bench.hands.called.count("ensure_discarded") == tries
    await handle.signal("skip", {"by": FIRST, "reason": "removed by hand"})
    assert (await result).outcome == "aborted"
