"""A recovery after another one: what succeeded is not done again, what ended in the middle is found."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from domain import names
from tests.e2e.stand import PATIENCE_SECONDS, Said, Stand
from tests.e2e.witness import Host
from tests.faults.record import Seen
from worker.connection import connect


def terminate(stand: Stand) -> None:
    """End the open run as a person may in the Web UI: at once, with nothing undone."""

    async def ended() -> None:
        client = await connect("test", stand.state)
        handle = client.get_workflow_handle(names.recovery_workflow_id(stand.name))
        await handle.terminate("somebody lost patience")

    asyncio.run(ended())


def rerun(stand: Stand) -> tuple[Said, dict[str, Any]]:
    """Start a recovery without a look before it, and return its answer and its report."""
    said = stand.dr("recover", "corruption", "--no-plan", "--yes-stack", stand.name)
    return said, stand.report(said.data["recovery_id"])


def leftovers_of(said: Said) -> dict[str, Any]:
    """Return what the doctor says of leftovers."""
    (found,) = [proof for proof in said.data["proofs"] if proof["name"] == "leftovers of recoveries"]
    assert isinstance(found, dict)
    return found


@pytest.mark.fault("G3", at_length=True)
def test_a_recovery_that_succeeded_is_not_done_again_and_nothing_is_restarted(
    damaged: Stand, host: Host, seen: Seen
) -> None:
    """F-G3: re-run after success."""
    stand = damaged
    first = stand.to_the_end(stand.recover())
    assert first["outcome"] == "recovered", first["rule"]
    services, volumes, ours = host.services(), host.volumes(), host.ours()
    reports = []
    for _ in range(2):
        said, report = rerun(stand)
        assert said.code == 3, said
        assert report["outcome"] == "stood_down"
        assert "Nothing was changed" in report["rule"]
        reports.append(report)
        # Container, start, restart count, restart policy and mounts of every service are as they were.
        assert host.services() == services
        assert host.volumes() == volumes
        assert host.ours() == ours
    seen(f"{first['recovery_id']} recovered, then {reports[0]['rule']}")
    kept = first["kept_aside"][0]["volume"]
    assert kept in volumes, "what the first one kept aside stays until it is released"
    evidence = [[(check["name"], check["passed"]) for check in report["checks"]] for report in reports]
    assert evidence[0] == evidence[1]
    assert all(passed is not False for _, passed in evidence[0])


@pytest.mark.fault("G4", at_length=True)
def test_what_a_terminated_run_left_is_told_kept_apart_and_removed_only_when_a_person_says_so(
    damaged: Stand, host: Host, seen: Seen
) -> None:
    """F-G4: re-run after a failed run."""
    stand, kept_before = damaged, set(host.kept())
    stand.recover()
    first = stand.wait("gate").recovery_id
    terminate(stand)
    copy, volume = f"dr-{first}-copy", f"dr-{first}-postgres-1"
    assert copy in host.ours()
    told = leftovers_of(stand.dr("doctor"))
    seen(told["evidence"])
    assert told["passed"] is False
    for word in (copy, volume, f"dr discard {first}", "it was never closed"):
        assert word in told["evidence"]

    report = stand.to_the_end(stand.recover())
    assert report["outcome"] == "recovered", report["rule"]
    # Its copy had the live volume mounted, which would have kept the exchange from being done.
    (restored,) = [step for step in report["steps"] if step["id"] == "ensure_restored"]
    assert f"stopped, of other recoveries: {copy}" in restored["sentence"]
    assert f"dr discard {first}" in report["facts"]["left by other recoveries"]
    (kept,) = report["kept_aside"]
    assert kept["volume"] == f"dr-{report['recovery_id']}-postgres-1", "it set its own volume aside"
    assert {copy, volume} <= set(host.ours()) | set(host.volumes()), "and left the other one's alone"

    services = host.services()
    said = stand.dr("discard", first, "--yes")
    assert said.code == 0, said
    assert said.data["volumes"] == [volume]
    assert set(host.kept()) - kept_before == {kept["volume"]}
    assert host.leftovers() == []
    assert host.services() == services
    assert leftovers_of(stand.dr("doctor"))["passed"] is True


def test_a_copy_is_not_discarded_while_a_recovery_is_open(damaged: Stand, host: Host) -> None:
    damaged.recover()
    recovery_id = damaged.wait("gate").recovery_id
    volumes = host.volumes()
    said = damaged.dr("discard", recovery_id, "--yes")
    assert said.code == 7, said
    assert host.volumes() == volumes
    assert damaged.wait("gate").recovery_id == recovery_id


@pytest.mark.fault("G4", at_length=True)
def test_the_fresh_directory_of_a_run_that_ended_after_its_swap_is_never_set_aside(
    damaged: Stand, host: Host, seen: Seen
) -> None:
    """F-G4: re-run after a run that ended when the restored data was already in its place."""
    stand = damaged
    stand.recover()
    first = stand.wait("gate").recovery_id
    assert stand.approve().code == 0
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not any("done     Start PostgreSQL" in line for line in _lines(stand)):
        assert time.monotonic() < deadline, "the server does not start"
        time.sleep(0.1)
    terminate(stand)
    _stands_down(stand, host, first, seen)
    _put_right(stand, host, first)


def _stands_down(stand: Stand, host: Host, first: str, seen: Seen) -> None:
    live = Path(stand.target().postgres.volumes_root) / stand.target().postgres.volume / "_data"
    fresh, kept = live.stat().st_ino, host.kept()
    assert f"dr-{first}-postgres-1" in kept
    said, report = rerun(stand)
    assert said.code == 3, said
    seen(report["rule"])
    assert first in report["rule"]
    assert "it was never closed" in report["rule"]
    assert "it stopped" in report["rule"]
    assert "auth" in report["rule"]
    assert f"old data kept in dr-{first}-postgres-1 until dr release {first}" in report["rule"]
    assert live.stat().st_ino == fresh, "the fresh directory is where it was"
    assert host.kept() == kept
    assert report["kept_aside"] == []


def _lines(stand: Stand) -> tuple[str, ...]:
    view = stand.look()
    return view.lines if view is not None else ()


def _put_right(stand: Stand, host: Host, first: str) -> None:
    """Undo what the terminated run changed, as its leftovers say; what it kept aside stays."""
    kept = host.kept()
    said = stand.dr("discard", first, "--yes")
    assert said.code == 0, said
    assert "failed" not in said.data["sentence"], said
    assert host.kept() == kept
    assert all(service[1] == "running" for service in host.services().values())
    assert all("unless-stopped" in service[4] for service in host.services().values())
    assert leftovers_of(stand.dr("doctor"))["passed"] is True
    assert stand.sql("SHOW autovacuum") == [("on",)]
    stand.take_backup()
    stand.dirty = False
