"""``dr recover corruption --plan`` as people and programs call it: it ends, whatever it finds."""

import json
from pathlib import Path

import pytest
from temporalio.client import WorkflowExecutionStatus
from temporalio.testing import WorkflowEnvironment

from domain.errors import Refused
from domain.gates import GatePolicy
from domain.order import Facts
from tests.runbooks.conftest import STACK, TARGET, Bench
from tests.runbooks.terminal import Said, Terminal

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def terminal(environment: WorkflowEnvironment, tmp_path: Path) -> Terminal:
    return Terminal(environment, tmp_path)


async def plan(terminal: Terminal, *words: str) -> Said:
    return await terminal.dr("recover", "corruption", *words)


async def open_runs(bench: Bench) -> list[str]:
    """Return what runs still; by handle, for lists are behind."""
    found = [run async for run in bench.client.list_workflows("WorkflowId STARTS_WITH 'plan/'")]
    states = [await bench.client.get_workflow_handle(run.id, run_id=run.run_id).describe() for run in found]
    return [state.id for state in states if state.status is WorkflowExecutionStatus.RUNNING]


async def test_a_plan_that_goes_through_says_so(bench: Bench, terminal: Terminal) -> None:
    said = await plan(terminal, "--plan")
    assert said.status == 0, said
    assert "Plan" in said.err


@pytest.mark.parametrize("words", [("--plan",), ()], ids=["a plan", "the plan before a recovery"])
async def test_a_plan_that_would_wait_for_a_person_says_for_what_and_ends(
    bench: Bench, terminal: Terminal, words: tuple[str, ...]
) -> None:
    bench.hands.fail("choose_backup", Refused("the shelf holds another server's backups", code="strange"))
    said = await plan(terminal, *words)
    assert said.status == 4
    assert "a recovery would need a human" in said.out
    assert "the shelf holds another server's backups" in " ".join(said.out.split())
    assert await open_runs(bench) == []
    assert "ensure_restored" not in bench.hands.called


async def test_a_program_is_told_where_a_plan_would_park(bench: Bench, terminal: Terminal) -> None:
    bench.hands.fail("choose_backup", Refused("no shelf", code="strange"))
    said = await plan(terminal, "--plan", "--json")
    assert (said.status, json.loads(said.out)["command"]) == (4, "recover")
    assert said.data["parked_step"] == "choose_backup"
    assert "no shelf" in said.data["parked_reason"]
    assert await open_runs(bench) == []


async def test_a_plan_is_ended_where_only_signed_decisions_count(bench: Bench, terminal: Terminal) -> None:
    bench.hands.fail("choose_backup", Refused("no shelf", code="strange"))
    signed = STACK.model_copy(update={"gates": {"swap": GatePolicy(signed="required")}})
    facts = Facts(stack=signed, stack_digest="d" * 64, target=TARGET)
    bench.hands.answer("observe_stack", lambda _: facts)
    assert (await plan(terminal, "--plan")).status == 4
    assert await open_runs(bench) == []
