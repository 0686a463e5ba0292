"""The order of the runbook, and what people can say to it."""

import asyncio
import re
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError

import workflows.database_corruption as scenario
from domain.backups import BackupChoice, PassedOver
from domain.diagnosis import Verdict
from domain.errors import Refused, Unavailable
from domain.incident import RecoveryRequest
from domain.ledger import Loss, MeasuredLoss, StoreLoss
from domain.recovery import Proof, Verified
from starter.recover import parked_plan

pytestmark = pytest.mark.timeout(60)


def documented() -> list[str]:
    found = re.findall(r"^\d+\. (.+)$", scenario.__doc__ or "", re.MULTILINE)
    return [title for title in found if "(people)" not in title]


async def approve(handle: Any, view: Any, by: str = "an approver") -> None:
    await handle.signal("approve", {"gate": view.gate, "digest": view.digest, "by": by})


async def titles(handle: Any) -> list[str]:
    view = await handle.query("status")
    return [line.split("Z ", 1)[1][9:].split(":")[0] for line in view["lines"]]


async def test_the_steps_are_those_of_the_docstring_in_its_order(bench: Any) -> None:
    handle = await bench.start()
    await approve(handle, await bench.until(handle, "gate"))
    result = await handle.result()
    done = await titles(handle)
    assert result.outcome == "recovered"
    assert sorted(done) == sorted(documented())
    search = "Bring the search index in line"
    assert [t for t in done if t != search] == [t for t in documented() if t != search]


async def test_a_server_that_is_dead_is_closed_before_people_are_asked(bench: Any) -> None:
    bench.hands.assess(Verdict.CORRUPT, answers=False)
    handle = await bench.start()
    await bench.until(handle, "gate")
    assert "ensure_last_wal" in bench.hands.called
    assert "ensure_swapped_in" not in bench.hands.called


async def test_a_living_server_is_not_touched_before_people_decided(bench: Any) -> None:
    handle = await bench.start()
    await bench.until(handle, "gate")
    assert not {"ensure_writers_stopped", "ensure_fenced", "ensure_last_wal"} & set(bench.hands.called)


async def test_an_approval_without_the_digest_is_refused_and_on_record(bench: Any) -> None:
    handle = await bench.start()
    view = await bench.until(handle, "gate")
    await handle.signal("approve", {"gate": "swap", "by": "an approver"})
    told = await handle.execute_update("decide", {"verb": "approve", "by": "an approver", "digest": "wrong"})
    assert not told["counted"]
    await approve(handle, view)
    await handle.result()
    report = (await handle.query("status"))["state"]
    assert report == "ended"


async def test_who_asked_for_the_recovery_may_not_approve_it(bench: Any) -> None:
    handle = await bench.start(RecoveryRequest(requested_by="one person"))
    view = await bench.until(handle, "gate")
    told = await handle.execute_update(
        "decide", {"verb": "approve", "by": "one person", "digest": view.digest}
    )
    assert not told["counted"]
    assert "may not approve" in told["because"]


async def test_a_rejected_gate_ends_the_run_as_aborted_with_nothing_swapped(bench: Any) -> None:
    handle = await bench.start()
    view = await bench.until(handle, "gate")
    await handle.signal("reject", {"gate": view.gate, "by": "an approver", "reason": "not now"})
    result = await handle.result()
    assert result.outcome == "aborted"
    assert "not now" in result.rule
    assert "ensure_swapped_in" not in bench.hands.called
    assert {"ensure_discarded", "ensure_unquiet", "ensure_recovery_cleared"} <= set(bench.hands.called)


async def test_an_abort_after_the_writers_were_stopped_opens_a_living_server_again(bench: Any) -> None:
    bench.hands.fail("ensure_promoted", Refused("broken", code="broken"))
    handle = await bench.start()
    await approve(handle, await bench.until(handle, "gate"))
    await bench.until(handle, "needs_human")
    await handle.signal("abort", {"by": "an operator", "reason": "enough"})
    result = await handle.result()
    assert result.outcome == "aborted"
    undone = {"ensure_discarded", "ensure_unfenced", "ensure_markers_resumed", "ensure_unquiet"}
    assert undone <= set(bench.hands.called)
    assert bench.hands.called.index("ensure_unfenced") < bench.hands.called.index("ensure_services_started")


async def test_a_healthy_database_is_stood_down_and_nothing_is_changed(bench: Any) -> None:
    bench.hands.assess(Verdict.SOUND)
    handle = await bench.start()
    result = await handle.result()
    assert result.outcome == "stood_down"
    assert bench.hands.called == ["observe_stack", "assess_corruption"]


async def test_an_unknown_stack_is_refused_without_a_change(bench: Any) -> None:
    bench.hands.fail("observe_stack", Refused("there is no stack named ghost", code="stack-unknown"))
    result = await (await bench.start(RecoveryRequest(stack="ghost"), "recovery/ghost")).result()
    assert result.outcome == "stood_down"
    assert "stack-unknown" in result.rule
    assert set(bench.hands.called) == {"observe_stack"}


async def test_a_run_without_the_lock_stands_down_with_the_right_link(bench: Any) -> None:
    result = await (await bench.start(workflow_id="my-own-id")).result()
    assert result.outcome == "stood_down"
    assert "workflowId=recovery%2Flab" in result.rule
    assert bench.hands.called == ["observe_stack"]


async def test_no_backup_parks_the_run_before_anything_is_stopped(bench: Any) -> None:
    bench.hands.answer(
        "choose_backup", lambda _: BackupChoice(backup=None, sentence="no usable backup", missing="take one")
    )
    handle = await bench.start()
    view = await bench.until(handle, "needs_human")
    assert view.parked_code == "no-backup"
    assert not {"ensure_writers_stopped", "ensure_fenced", "ensure_restored"} & set(bench.hands.called)


async def test_a_backup_whose_copy_fails_is_passed_over_for_an_older_one(bench: Any) -> None:
    verdicts = [False, True]
    bench.hands.answer(
        "verify_copy",
        lambda _: Verified(
            passed=verdicts.pop(0) if verdicts else True,
            lsn="0/3",
            proofs=(Proof(name="amcheck", passed=len(verdicts) == 0, evidence="block 9 is garbage"),),
        ),
    )
    excluded: list[tuple[PassedOver, ...]] = []
    normal = bench.hands.answers["choose_backup"][1]

    def choose(order: Any) -> Any:
        excluded.append(order.excluded)
        return normal(order)

    bench.hands.answer("choose_backup", choose)
    handle = await bench.start()
    await bench.until(handle, "gate")
    assert len(excluded) == 2
    assert "block 9 is garbage" in excluded[1][0].reason


async def test_a_failing_hand_parks_the_run_and_retry_goes_on(bench: Any) -> None:
    bench.hands.fail("ensure_restored", Refused("no room", code="no-room"), times=1)
    handle = await bench.start()
    view = await bench.until(handle, "needs_human")
    assert "no room" in view.parked_reason
    await handle.signal("retry", {"by": "an operator"})
    await bench.until(handle, "gate")


async def test_a_system_that_is_away_for_a_moment_does_not_park_the_run(bench: Any) -> None:
    bench.hands.fail("ensure_quiet", Unavailable("away", code="away"), times=2)
    handle = await bench.start()
    await bench.until(handle, "gate")
    assert bench.hands.called.count("ensure_quiet") == 3


async def test_the_approval_lapses_when_the_loss_got_worse(bench: Any) -> None:
    worse = Loss(postgres=StoreLoss(seconds=99.0, markers_lost=99, markers_acknowledged=100))
    handle = await bench.start()
    view = await bench.until(handle, "gate")
    bench.hands.answer("measure_loss", lambda _: MeasuredLoss(loss=worse))
    await approve(handle, view)
    again = view
    while again.digest == view.digest:
        again = await bench.until(handle, "gate")
    assert again.maximum_loss_seconds == 100
    assert "ensure_swapped_in" not in bench.hands.called


async def test_a_held_run_goes_on_only_after_resume(bench: Any) -> None:
    handle = await bench.start()
    view = await bench.until(handle, "gate")
    await handle.execute_update("decide", {"verb": "hold", "by": "an operator", "reason": "phone call"})
    await approve(handle, view)
    await bench.until(handle, "held")
    assert "ensure_writers_stopped" not in bench.hands.called
    await handle.signal("resume", {"by": "an operator"})
    assert (await handle.result()).outcome == "recovered"


async def test_the_same_decision_said_twice_counts_once(bench: Any) -> None:
    handle = await bench.start()
    view = await bench.until(handle, "gate")
    said = {"verb": "approve", "by": "an approver", "digest": view.digest, "id": "one"}
    first = await handle.execute_update("decide", said, id="u1")
    await handle.signal("approve", {k: v for k, v in said.items() if k != "verb"})
    result = await handle.result()
    assert first["counted"]
    assert result.outcome == "recovered"


async def test_a_plan_that_needs_a_person_is_told_and_ended_instead_of_waited_for(bench: Any) -> None:
    def refuse(_: Any) -> Any:
        raise Refused("the server is another one", code="identity")

    bench.hands.answer("assess_corruption", refuse)
    handle = await bench.start(RecoveryRequest(mode="plan"), "plan/lab/2")
    ended = asyncio.create_task(handle.result())
    view = await asyncio.wait_for(parked_plan(bench.client, handle, ended), 60)
    assert view is not None
    assert "the server is another one" in view.parked_reason
    assert (await ended).outcome == "aborted"
    assert "ensure_restored" not in bench.hands.called


async def test_a_plan_changes_nothing(bench: Any) -> None:
    handle = await bench.start(RecoveryRequest(mode="plan"), "plan/lab/1")
    result = await handle.result()
    assert result.rule.startswith("Plan")
    assert bench.hands.called == ["observe_stack", "assess_corruption", "choose_backup"]


async def test_malformed_input_ends_the_run_with_a_readable_message(bench: Any) -> None:
    handle = await bench.client.start_workflow(
        "DatabaseCorruption", {"stak": "lab"}, id="recovery/typo", task_queue="dr-control"
    )
    with pytest.raises(WorkflowFailureError) as failed:
        await handle.result()
    assert "stak" in str(failed.value.cause)
