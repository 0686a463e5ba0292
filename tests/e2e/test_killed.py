"""Worker and Temporal server are killed with SIGKILL in the middle; the recovery goes on."""

import contextlib

import pytest
from docker.errors import APIError

from domain.incident import StatusView
from tests.e2e.stand import Stand, until
from tests.e2e.witness import Host
from tests.faults.record import Seen


def stopped_in_the_middle(stand: Stand, role: str) -> str:
    """Freeze the container of a role the moment it runs, and return its id."""

    def froze() -> str | None:
        for container in stand.events.of("start", role)[known:]:
            with contextlib.suppress(APIError):
                stand.client.api.pause(container)
                return container
        return None

    known = len(stand.events.of("start", role))
    return until(froze, f"a container {role} that runs", pause=0.01)


@pytest.mark.kill
@pytest.mark.fault("A3")
def test_a_worker_killed_in_the_restore_re_attaches_to_the_job_that_runs(
    damaged: Stand, host: Host, seen: Seen
) -> None:
    """F-A3: killed in the middle of a long effect, with the restore half copied."""
    stand = damaged
    kept_before = set(host.kept())
    begun = stand.begin_recovery()
    job = stopped_in_the_middle(stand, "restore")
    run_id = stand.begun(begun)
    killed = stand.kill_worker()
    until(lambda: stand.worker() not in {0, killed}, "the worker's supervisor starts it again")
    assert stand.client.api.inspect_container(job)["State"]["Paused"] is True
    stand.client.api.unpause(job)
    report = stand.to_the_end(run_id)

    assert report["outcome"] == "recovered", report["rule"]
    assert stand.events.of("create", "restore", report["recovery_id"]) == [job]
    assert stand.events.of("start", "restore", report["recovery_id"]) == [job]
    (step,) = [step for step in report["steps"] if step["id"] == "ensure_restored"]
    assert step["attempts"] >= 2
    assert step["workers"][-1].endswith(f"/{stand.worker()}")
    (died,) = [flag for flag in report["interruptions_survived"] if flag["kind"] == "worker_killed"]
    assert f"/{killed} died while '{step['title']}' ran" in died["sentence"]
    seen(died["sentence"])
    assert len(set(host.kept()) - kept_before) == 1
    assert host.leftovers() == []


def test_an_approval_before_and_after_a_kill_of_temporal_counts_once(damaged: Stand, host: Host) -> None:
    stand = damaged
    run_id = stand.recover()
    view = stand.wait("gate")
    assert isinstance(view, StatusView)
    stand.signal_approval(view, "one decision")
    stand.kill_temporal()
    assert stand.dr("up").code == 0
    stand.signal_approval(view, "one decision")
    report = stand.to_the_end(run_id)

    assert report["outcome"] == "recovered", report["rule"]
    approvals = [line for line in report["decisions"] if line["verb"] == "approve"]
    assert [line["counted"] for line in approvals] == [True, False]
    assert "said again" in approvals[1]["because"]
    assert [mark["name"] for mark in report["marks"]].count("decided") == 1
    swaps = [step for step in report["steps"] if step["id"] == "ensure_swapped_in"]
    assert len(swaps) == 1
    assert len(report["kept_aside"]) == 1
    assert host.leftovers() == []
