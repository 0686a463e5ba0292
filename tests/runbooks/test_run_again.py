"""Two recoveries at once, and a recovery after another one: succeeded, aborted, or ended in the middle."""

from typing import Any

import pytest
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from domain import names
from domain.diagnosis import Verdict
from domain.errors import Refused
from domain.exchange import Swapped
from domain.incident import RecoveryRequest, RecoveryResult
from domain.order import Facts, StackOrder
from starter import orchestrator
from starter.answer import Busy
from tests.faults.record import Seen
from tests.runbooks.conftest import STACK, TARGET, Bench
from worker.settings import Settings

pytestmark = pytest.mark.timeout(60)
LEFT = "recovery 20260102T0304Z-0badcafe: container dr-20260102T0304Z-0badcafe-copy (running)"


async def approve(handle: Any, view: Any) -> None:
    await handle.signal("approve", {"gate": view.gate, "digest": view.digest, "by": "an approver"})


async def recovered(bench: Bench) -> RecoveryResult:
    handle = await bench.start()
    await approve(handle, await bench.until(handle, "gate"))
    return await handle.result()


@pytest.mark.fault("G1")
async def test_a_second_recovery_is_refused_through_every_door_and_told_who_holds_the_stack(
    bench: Bench, seen: Seen
) -> None:
    """F-G1: two recoveries at once, by dr, by the Web UI, of the same or another scenario."""
    first = await bench.start()
    view = await bench.until(first, "gate")
    called = list(bench.hands.called)
    lock = names.recovery_workflow_id("lab")
    request = RecoveryRequest(requested_by="somebody else")

    # dr recover
    with pytest.raises(Busy) as busy:
        await orchestrator.start(
            bench.client, Settings(), "DatabaseCorruption", request, lock, RecoveryResult
        )
    assert lock in busy.value.what
    assert str(first.result_run_id) in busy.value.what
    # The form of the Web UI, which sends no policy for conflicts; this scenario and another one.
    for scenario in ("DatabaseCorruption", "CompleteOutage"):
        with pytest.raises(WorkflowAlreadyStartedError) as started:
            await bench.client.start_workflow(scenario, {}, id=lock, task_queue=names.CONTROL_QUEUE)
        assert started.value.run_id == first.result_run_id
        with pytest.raises(WorkflowAlreadyStartedError):
            await bench.client.start_workflow(
                scenario,
                {},
                id=lock,
                task_queue=names.CONTROL_QUEUE,
                id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            )
    seen(busy.value.what)
    # Somebody typed another id into the form: that run does not hold the lock, and stands down at once.
    other = await (await bench.start(workflow_id="recovery/lab-again")).result()
    assert other.outcome == "stood_down"
    assert "workflowId=recovery%2Flab" in other.rule
    assert bench.hands.called == [*called, "observe_stack"], "nothing but a look was done"

    again = await bench.until(first, "gate")
    assert again.digest == view.digest, "the first run stands where it stood"
    await approve(first, again)
    assert (await first.result()).outcome == "recovered"
    # Once it has ended, the lock is free again.
    bench.hands.assess(Verdict.SOUND)
    assert (await (await bench.start()).result()).outcome == "stood_down"


@pytest.mark.fault("G3")
async def test_a_recovery_after_one_that_succeeded_stands_down_and_touches_nothing(
    bench: Bench, seen: Seen
) -> None:
    """F-G3: re-run after success."""
    assert (await recovered(bench)).outcome == "recovered"
    bench.hands.assess(Verdict.SOUND)
    results = []
    for _ in range(2):
        bench.hands.called.clear()
        results.append(await (await bench.start()).result())
        assert bench.hands.called == ["observe_stack", "assess_corruption"]
    seen(results[0].rule)
    assert [result.outcome for result in results] == ["stood_down", "stood_down"]
    assert results[0].rule == results[1].rule, "the same evidence, the same answer"
    assert "Nothing was changed" in results[0].rule
    assert results[0].recovery_id != results[1].recovery_id


@pytest.mark.fault("G4")
async def test_what_a_run_left_that_ended_in_the_middle_is_told_and_none_of_it_is_touched(
    bench: Bench, seen: Seen
) -> None:
    """F-G4: re-run after a failed or aborted run."""
    bench.hands.fail("ensure_swapped_in", Refused("the server still runs", code="server-runs"))
    handle = await bench.start()
    await approve(handle, await bench.until(handle, "gate"))
    await bench.until(handle, "needs_human")
    await handle.terminate("somebody lost patience")
    facts = Facts(stack=STACK, stack_digest="d" * 64, target=TARGET, leftovers=(LEFT,))
    bench.hands.answers["observe_stack"] = (StackOrder, lambda _: facts)
    seen(LEFT)
    bench.hands.assess(Verdict.SOUND)
    bench.hands.called.clear()
    result = await (await bench.start()).result()
    assert result.outcome == "stood_down"
    assert LEFT in result.rule
    assert bench.hands.called == ["observe_stack", "assess_corruption"]
    # While the trouble lasts the new run goes its own way, with artefacts of its own name.
    bench.hands.assess(Verdict.CORRUPT)
    bench.hands.answer("ensure_swapped_in", lambda _: Swapped(kept_volume="w", kept_bytes=5, keeper="k"))
    bench.hands.called.clear()
    again = await recovered(bench)
    assert again.outcome == "recovered"
    assert "ensure_discarded" not in bench.hands.called, "what another run made is for people to remove"


@pytest.mark.fault("G4")
async def test_a_run_after_an_aborted_one_starts_afresh(bench: Bench, seen: Seen) -> None:
    """F-G4: re-run after an aborted run, which undid what it had changed."""
    handle = await bench.start()
    view = await bench.until(handle, "gate")
    await handle.signal("reject", {"gate": view.gate, "by": "an approver", "reason": "not now"})
    ended = await handle.result()
    assert ended.outcome == "aborted"
    seen(ended.rule)
    assert "ensure_discarded" in bench.hands.called
    again = await recovered(bench)
    assert again.outcome == "recovered"
    assert again.recovery_id != ended.recovery_id
