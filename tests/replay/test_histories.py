from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer

from tests.replay.branches import BRANCHES
from tests.replay.changed_runbook import Changed
from tests.replay.record import HISTORIES
from worker.workflows import WORKFLOWS

FILES = sorted(HISTORIES.glob("*.json"))


def history_in(path: Path) -> WorkflowHistory:
    return WorkflowHistory.from_json("recovery/lab", path.read_text(encoding="utf-8"))


def replayer(*workflows: type) -> Replayer:
    return Replayer(workflows=workflows, data_converter=pydantic_data_converter)


def test_there_is_a_history_of_every_branch_and_no_other() -> None:
    assert {path.stem for path in FILES} == set(BRANCHES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
async def test_a_recorded_history_replays(path: Path) -> None:
    await replayer(*WORKFLOWS).replay_workflow(history_in(path))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
async def test_a_runbook_with_one_more_step_does_not_replay(path: Path) -> None:
    found = await replayer(Changed).replay_workflow(history_in(path), raise_on_replay_failure=False)
    assert "Nondeterminism" in str(found.replay_failure)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_history_is_complete_and_ends_in_the_outcome_of_its_branch(path: Path) -> None:
    last = history_in(path).events[-1].workflow_execution_completed_event_attributes
    result = pydantic_data_converter.payload_converter.from_payloads(last.result.payloads)[0]
    assert result["outcome"] == BRANCHES[path.stem][1]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_history_stays_small(path: Path) -> None:
    assert len(history_in(path).events) < 600
