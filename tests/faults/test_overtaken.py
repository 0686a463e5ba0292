"""A worker that was frozen wakes up when its work has been done by another."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.e2e.stand import ROOT, until
from tests.faults.harness.plan import Plan
from tests.faults.harness.stand import FaultStand, assert_fired, assert_undisturbed
from tests.faults.record import Seen

pytestmark = [pytest.mark.kill, pytest.mark.timeout(900)]


@contextmanager
def a_second_worker(stand: FaultStand) -> Iterator[None]:
    """Run another worker of the same queues, undecorated."""
    environment = {k: v for k, v in stand.environment.items() if not k.startswith(("FAULT_", "PYTHONPATH"))}
    environment |= {
        "DR_METRICS_BIND": "127.0.0.1:0",
        "TEMPORAL_ADDRESS": f"127.0.0.1:{stand.temporal.port}",
    }
    with (stand.state / "second-worker.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "worker"], cwd=ROOT, env=environment, stdout=log, stderr=log
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


def is_frozen(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].startswith("T")


@pytest.mark.parametrize(
    ("step", "place"),
    [
        ("ensure_writers_stopped", "docker"),
        ("ensure_swapped_in", "docker"),
    ],
)
@pytest.mark.fault("A4", at_length=True)
def test_an_attempt_that_was_frozen_while_another_did_its_work_stops_itself(
    stand: FaultStand, seen: Seen, step: str, place: str
) -> None:
    """F-A4: an attempt times out but is still there while attempt 2 runs; it wakes up afterwards."""
    found = stand.disturbed_recovery().effects
    first = next(e for e in found if e.step == step and e.client == place)
    plan = Plan.at(first, "after", "stop")
    frozen: list[int] = []

    others = ExitStack()

    def freeze() -> None:
        until(stand.folder.fired, "the worker freezes")
        pid = stand.worker()
        until(lambda: is_frozen(pid), "the worker is frozen")
        frozen.append(pid)
        # Not before: it would take steps from the one whose faults are set.
        others.enter_context(a_second_worker(stand))

    with others:
        ended = stand.disturbed_recovery(plan, meanwhile=freeze)
        assert_fired(ended)
        assert_undisturbed(stand, ended)
        log = stand.state / "run" / "worker.log"
        before = log.stat().st_size
        services = stand.host.services()
        os.kill(frozen[0], signal.SIGCONT)
        until(
            lambda: "a later attempt has taken over" in log.read_bytes()[before:].decode(),
            "the frozen attempt says that it was overtaken",
        )
    seen(f"{step} was frozen in worker {frozen[0]}, done by another, and stopped itself when it woke up")
    assert stand.host.services() == services
    assert len(stand.host.kept()) == ended.after["kept volumes"]
    stand.release(ended.report["recovery_id"])
