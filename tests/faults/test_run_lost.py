"""The run itself is lost, with its server's database or by a person's hand; what it left is named."""

import asyncio
from typing import Any

import pytest

from domain import names
from domain.incident import StatusView
from infra.temporal import server
from starter.answer import Exit
from tests.e2e.stand import Said, until
from tests.faults.harness.plan import Plan
from tests.faults.harness.stand import FaultStand
from tests.faults.record import Seen
from worker.connection import connect

pytestmark = [pytest.mark.kill, pytest.mark.timeout(1200)]
PAUSED = Plan("ensure_promoted", "step", "hand", 1, "after", "stop")


def leftovers_of(said: Said) -> dict[str, Any]:
    (found,) = [proof for proof in said.data["proofs"] if proof["name"] == "leftovers of recoveries"]
    assert isinstance(found, dict)
    return found


def lose_the_run(stand: FaultStand) -> str:
    """Recover up to the promotion, stop the worker for good there, and return the recovery id."""
    stand.sound = stand.content()
    stand.damage_pages()
    stand.folder.arm(PAUSED)
    stand.recover()
    recovery_id = stand.wait("gate").recovery_id
    assert stand.approve().code == 0
    until(stand.folder.fired, "the copy is promoted")
    stand.kill_worker()
    return recovery_id


@pytest.mark.fault("A6", at_length=True)
def test_a_lost_database_of_temporal_is_not_a_silent_restart_from_scratch(
    stand: FaultStand, seen: Seen, request: pytest.FixtureRequest
) -> None:
    """F-A6: Temporal's database is lost in the middle of a run."""
    recovery_id = lose_the_run(stand)
    stand.kill_temporal()
    for path in stand.temporal.home.glob("temporal.db*"):
        path.unlink()
    assert stand.dr("up").code == 0
    # It makes the schedules anew, and a new one is not paused. Not now: the markers are paused, and a run
    # that comes half a minute later cannot measure what was lost since.
    request.addfinalizer(stand.pause_schedules)
    assert stand.look() is None, "the server knows of no run"
    found = leftovers_of(stand.dr("doctor"))
    assert found["passed"] is False
    assert recovery_id in found["evidence"]
    seen(found["evidence"])

    ended = stand.disturbed_recovery()
    assert ended.report["recovery_id"] != recovery_id
    assert recovery_id in str(ended.report), "the report names what was found of the lost run"
    assert ended.report["outcome"] == "recovered"
    assert stand.content().keys() == stand.sound.keys()


def terminate(stand: FaultStand) -> None:
    """Terminate the run as anybody may in the Web UI, and wait until a worker is there again."""

    async def work() -> None:
        client = await connect("test", stand.state)
        await client.get_workflow_handle(names.recovery_workflow_id(stand.name)).terminate("by hand")

    asyncio.run(work())
    until(lambda: server.status(stand.temporal) is not None and stand.worker() != 0, "a worker")


@pytest.mark.fault("A11", at_length=True)
@pytest.mark.fault("G4", at_length=True)
def test_a_terminated_run_is_reopened_and_goes_on_to_its_end(stand: FaultStand, seen: Seen) -> None:
    """F-A11, F-G4: run terminated by hand in the middle; it resumes, and nothing is restored twice."""
    before = stand.artefacts()
    recovery_id = lose_the_run(stand)
    assert stand.dr("reopen", "--stack", stand.name, "--reason", "too early").code == Exit.BUSY
    terminate(stand)
    said = stand.dr("reopen", "--stack", stand.name, "--by", "test", "--reason", "terminated by mistake")
    assert said.code == 0
    seen(f"terminated after its copy was promoted, and reopened as {said.data['run_id']}")
    report = stand.to_the_end(said.data["run_id"])
    assert report["outcome"] == "recovered"
    assert report["recovery_id"] == recovery_id
    assert stand.artefacts()["kept volumes"] == before["kept volumes"] + 1
    assert stand.content().keys() == stand.sound.keys()
    again = stand.dr("reopen", "--stack", stand.name, "--reason", "once more")
    assert again.code == Exit.REFUSED
    assert again.envelope["error"]["code"] == "run-ended"
    stand.release(recovery_id)


@pytest.mark.fault("A11", at_length=True)
def test_a_terminated_run_is_told_from_its_journal(stand: FaultStand, seen: Seen) -> None:
    """F-A11: run terminated by hand in the middle."""
    recovery_id = lose_the_run(stand)
    terminate(stand)
    found = leftovers_of(stand.dr("doctor"))
    assert found["passed"] is False
    assert recovery_id in found["evidence"]
    seen(found["evidence"])

    ended = stand.disturbed_recovery()
    assert ended.report["outcome"] == "recovered"
    assert recovery_id in str(ended.report), "the report names what was found of the lost run"


@pytest.mark.fault("A11", at_length=True)
def test_a_cancelled_run_ends_its_step_parks_and_says_where_everything_is(
    stand: FaultStand, seen: Seen
) -> None:
    """F-A11: run cancelled by hand in the middle; the current effect finishes, and the run parks."""
    before = stand.artefacts()
    stand.damage_pages()
    stand.folder.arm(Plan("ensure_following", "step", "hand", 1, "after", "delay", seconds=2.0))
    run_id = stand.recover()
    until(stand.folder.fired, "the copy follows")

    async def cancel() -> None:
        client = await connect("test", stand.state)
        await client.get_workflow_handle(names.recovery_workflow_id(stand.name)).cancel()

    asyncio.run(cancel())

    def parked() -> StatusView | None:
        view = stand.look()
        return view if view is not None and view.state == "needs_human" else None

    view = until(parked, "it parks")
    assert "cancel" in view.parked_reason
    seen(view.parked_reason)
    assert stand.dr("retry", "--by", "test", "--reason", "go on").code == 0
    report = stand.to_the_end(run_id)
    assert report["outcome"] == "recovered"
    assert stand.artefacts()["kept volumes"] == before["kept volumes"] + 1
    stand.release(report["recovery_id"])
