"""``dr backup verify --all`` as people and programs call it: the exit status is the verdict."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from domain.errors import BackupUnusable
from domain.jobs import Job
from tests.runbooks.terminal import Terminal
from tests.runbooks.verification_stage import Night, night_on

STACK = "stack: lab\nproject: lab\nservices:\n  postgres: {kind: postgres}\n"
Dr = Callable[..., Awaitable[tuple[int, Any, str]]]

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def night(environment: WorkflowEnvironment, tmp_path: Path) -> AsyncIterator[Night]:
    async with night_on(environment, tmp_path) as made:
        yield made


@pytest.fixture
def dr(environment: WorkflowEnvironment, tmp_path: Path) -> Dr:
    """Return ``dr`` at a terminal of a host with one stack: status, answer, and what people are shown."""
    (tmp_path / "stacks").mkdir()
    (tmp_path / "stacks" / "lab.yaml").write_text(STACK)
    terminal = Terminal(environment, tmp_path)

    async def run(*words: str) -> tuple[int, Any, str]:
        said = await terminal.dr(*words)
        return said.status, json.loads(said.out) if "--json" in words else None, said.out

    return run


async def test_a_verification_that_passed_ends_with_nought(night: Night, dr: Dr) -> None:
    code, said, _ = await dr("backup", "verify", "--all", "--json")
    assert code == 0, said
    assert said["command"] == "backup verify"
    assert said["data"]["passed"] is True
    assert len(said["data"]["restored"]) == 5


async def test_one_that_failed_ends_with_eight_and_names_what_is_wrong(night: Night, dr: Dr) -> None:
    night.fail("verify_restored", BackupUnusable("chat.dump is missing", code="backup-damaged"))
    code, _, shown = await dr("backup", "verify", "--all")
    assert code == 8
    assert "WRONG  postgres daily" in shown
    assert "chat.dump is missing" in shown
    assert "drawn with seed" in shown


async def test_what_is_not_due_yet_is_shown_so_and_the_status_is_nought(night: Night, dr: Dr) -> None:
    night.without("weekly")
    night.made_lately(Job.POSTGRES_WEEKLY)
    code, _, shown = await dr("backup", "verify", "--all")
    assert code == 0, shown
    assert "not due  postgres weekly: there: not due until" in shown


async def test_one_that_stood_down_ends_with_three(night: Night, dr: Dr) -> None:
    night.opened = "DatabaseCorruption is open as recovery/lab"
    code, said, _ = await dr("backup", "verify", "--all", "--json")
    assert (code, said["data"]["outcome"]) == (3, "stood_down")


async def test_a_second_one_finds_the_lock_of_the_schedule_taken(night: Night, dr: Dr) -> None:
    first = await night.client.start_workflow(
        "BackupVerification", {}, id="backup/lab/all/verification", task_queue="nobody-works-here"
    )
    code, said, _ = await dr("backup", "verify", "--all", "--json")
    assert (code, said["error"]["code"]) == (7, "busy")
    await first.terminate()


@pytest.mark.parametrize(
    "words", [("20261122T010000Z-base", "--all"), ("--all", "--self-test"), ("--all", "--restore")]
)
async def test_what_excludes_each_other_is_refused_and_none_of_it_is_left_undone_in_silence(
    night: Night,
    dr: Dr,
    words: tuple[str, ...],
) -> None:
    code, said, _ = await dr("backup", "verify", *words, "--json")
    assert (code, said["error"]["code"]) == (5, "usage")
    assert night.asked == []
