"""The Temporal server is away for longer than a worker waits for it."""

import pytest

from tests.e2e.stand import until
from tests.e2e.test_killed import stopped_in_the_middle
from tests.faults.harness.plan import Plan
from tests.faults.harness.stand import FaultStand, assert_fired, assert_undisturbed
from tests.faults.record import Seen

pytestmark = [pytest.mark.kill, pytest.mark.timeout(1800)]


def steps_named(report: dict[str, object], name: str) -> list[dict[str, object]]:
    steps = report["steps"]
    assert isinstance(steps, list)
    return [step for step in steps if step["id"] == name]


@pytest.mark.parametrize("step", ["ensure_last_wal", "ensure_swapped_in"])
@pytest.mark.fault("A2", at_length=True)
def test_a_result_that_is_lost_while_the_server_is_away_is_found_again_by_the_second_attempt(
    stand: FaultStand, seen: Seen, step: str
) -> None:
    """F-A2: server stopped for more than 15 s while the activity finishes, so that its result is lost."""
    ended = stand.disturbed_recovery(
        Plan(step, "step", "hand", 1, "after", "kill", ("temporal",)), away_seconds=18
    )
    (line,) = steps_named(ended.report, step)
    assert line["attempts"] == 2
    seen(f"the server was away for 18 s when {step} had ended; it ran {line['attempts']} times")
    assert_fired(ended)
    assert_undisturbed(stand, ended)
    stand.release(ended.report["recovery_id"])


@pytest.mark.fault("A12", at_length=True)
def test_a_restore_goes_on_while_heartbeats_cannot_reach_the_server(stand: FaultStand, seen: Seen) -> None:
    """F-A12: server away for longer than the heartbeat timeout during a long restore."""
    jobs: list[str] = []

    def strike() -> None:
        jobs.append(stopped_in_the_middle(stand, "restore"))
        stand.kill_temporal()
        until(lambda: stand.look() is not None, "the server is back")
        state = stand.client.api.inspect_container(jobs[0])["State"]
        assert state["Paused"] is True
        assert state["Running"] is True
        seen("the job was still there after 15 s without a server")
        stand.client.api.unpause(jobs[0])

    ended = stand.disturbed_recovery(meanwhile=strike, away_seconds=15)
    assert_fired(ended)
    assert_undisturbed(stand, ended)
    assert stand.events.of("create", "restore", ended.report["recovery_id"]) == jobs
    assert stand.events.of("start", "restore", ended.report["recovery_id"]) == jobs
    stand.release(ended.report["recovery_id"])


@pytest.mark.fault("A5", nightly=True)
def test_a_server_that_is_away_for_ten_minutes_finds_the_run_where_it_was(
    stand: FaultStand, seen: Seen
) -> None:
    """F-A5: Temporal server away for 10 min in the middle of a run."""
    ended = stand.disturbed_recovery(
        Plan("ensure_following", "step", "hand", 1, "before", "kill", ("temporal",)), away_seconds=600
    )
    seen("away for 600 s")
    assert_fired(ended)
    assert_undisturbed(stand, ended)
    stand.release(ended.report["recovery_id"])
