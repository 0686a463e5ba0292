"""``dr recover corruption --plan`` as people and programs call it: it ends, whatever it finds."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus
from temporalio.testing import WorkflowEnvironment

from domain.errors import Refused
from domain.gates import GatePolicy
from domain.order import Facts
from tests.runbooks.conftest import STACK, TARGET, Bench

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def terminal(environment: WorkflowEnvironment, tmp_path: Path) -> dict[str, str]:
    """Return the environment of a terminal whose ``dr`` finds the server of the tests."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("DR_", "TEMPORAL_"))}
    return kept | {
        "DR_STATE": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "TEMPORAL_ADDRESS": environment.client.service_client.config.target_host,
    }


async def plan(terminal: dict[str, str], *words: str) -> tuple[int, str, str]:
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", "from starter.cli import main; main()", "recover", "corruption", *words],
        env=terminal,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


async def open_runs(bench: Bench) -> list[str]:
    """Return what runs still; by handle, for lists are behind."""
    found = [run async for run in bench.client.list_workflows("WorkflowId STARTS_WITH 'plan/'")]
    states = [await bench.client.get_workflow_handle(run.id, run_id=run.run_id).describe() for run in found]
    return [state.id for state in states if state.status is WorkflowExecutionStatus.RUNNING]


async def test_a_plan_that_goes_through_says_so(bench: Bench, terminal: dict[str, str]) -> None:
    status, _, said = await plan(terminal, "--plan")
    assert status == 0, said
    assert "Plan" in said


@pytest.mark.parametrize("words", [("--plan",), ()], ids=["a plan", "the plan before a recovery"])
async def test_a_plan_that_would_wait_for_a_person_says_for_what_and_ends(
    bench: Bench, terminal: dict[str, str], words: tuple[str, ...]
) -> None:
    bench.hands.fail("choose_backup", Refused("the shelf holds another server's backups", code="strange"))
    status, shown, _ = await plan(terminal, *words)
    assert status == 4
    assert "a recovery would need a human" in shown
    assert "the shelf holds another server's backups" in " ".join(shown.split())
    assert await open_runs(bench) == []
    assert "ensure_restored" not in bench.hands.called


async def test_a_program_is_told_where_a_plan_would_park(bench: Bench, terminal: dict[str, str]) -> None:
    bench.hands.fail("choose_backup", Refused("no shelf", code="strange"))
    status, shown, _ = await plan(terminal, "--plan", "--json")
    told: dict[str, Any] = json.loads(shown)
    assert (status, told["command"], told["data"]["parked_step"]) == (4, "recover", "choose_backup")
    assert "no shelf" in told["data"]["parked_reason"]
    assert await open_runs(bench) == []


async def test_a_plan_is_ended_where_only_signed_decisions_count(
    bench: Bench, terminal: dict[str, str]
) -> None:
    bench.hands.fail("choose_backup", Refused("no shelf", code="strange"))
    signed = STACK.model_copy(update={"gates": {"swap": GatePolicy(signed="required")}})
    facts = Facts(stack=signed, stack_digest="d" * 64, target=TARGET)
    bench.hands.answer("observe_stack", lambda _: facts)
    status, _, _ = await plan(terminal, "--plan")
    assert status == 4
    assert await open_runs(bench) == []
