"""``dr schedules`` and ``dr retention`` as people and programs call them, against a real Temporal server."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from temporalio.testing import WorkflowEnvironment

from domain.retention_plan import Held
from tests.runbooks.schedule_stage import stage_on
from tests.runbooks.terminal import Terminal

STACK = """\
stack: shop
project: shop
services:
  postgres: {kind: postgres}
backup:
  schedules:
    postgres-weekly: null
"""
pytestmark = pytest.mark.timeout(120)


class Operator(Terminal):
    """Somebody at a terminal of a host with one stack."""

    def __init__(self, environment: WorkflowEnvironment, state: Path) -> None:
        super().__init__(environment, state)
        self.file = state / "stacks" / "shop.yaml"
        self.file.parent.mkdir()
        self.file.write_text(STACK)


@pytest.fixture
def operator(environment: WorkflowEnvironment, tmp_path: Path) -> Operator:
    return Operator(environment, tmp_path)


async def test_an_operator_applies_looks_pauses_and_resumes_without_any_worker(operator: Operator) -> None:
    applied = await operator.dr("schedules", "apply", "--json")
    assert applied.status == 0
    assert json.loads(applied.out)["command"] == "schedules apply"
    assert {line["did"] for line in applied.data} == {"created"}
    jobs = {line["job"] for line in applied.data}
    assert {"postgres-base", "retention"} <= jobs
    assert not jobs & {"redis", "postgres-weekly"}

    paused = await operator.dr(
        "schedules", "pause", "retention", "--reason", "an audit", "--by", "an operator", "--json"
    )
    (line,) = paused.data
    assert (line["state"], line["note"], line["did"]) == ("paused", "held by an operator: an audit", "paused")
    shown = await operator.dr("schedules", "list")
    assert "held by an operator: an audit" in " ".join(shown.out.split())
    assert "drift" not in shown.out
    resumed = await operator.dr("schedules", "resume", "retention", "--reason", "it is over", "--json")
    assert resumed.data[0]["state"] == "running"
    assert resumed.data[0]["next"].endswith("Z")


async def test_what_cannot_be_done_is_refused_with_a_code_and_a_hint(operator: Operator) -> None:
    await operator.dr("schedules", "apply")
    for words, code in (
        (("pause", "--reason", "why"), "which-job"),
        (("pause", "postgres-weekly", "--reason", "why"), "schedule-missing"),
        (("pause", "retention", "--reason", "a\nb"), "reason-missing"),
        (("list", "--stack", "nowhere"), "stack-unknown"),
    ):
        said = await operator.dr("schedules", *words, "--json")
        assert (said.status, said.error["code"]) == (5, code), words
    assert (await operator.dr("schedules", "pause", "no-such-job", "--reason", "why")).status == 2
    operator.file.write_text(STACK.replace("postgres-weekly: null", "postgres-weekly: {at: never}"))
    said = await operator.dr("schedules", "apply", "--stack", "shop", "--json")
    assert (said.status, said.error["code"]) == (5, "stack-file")
    assert said.error["where"].endswith("shop.yaml, line 7")


async def test_an_operator_sees_what_retention_would_remove_before_it_does(
    operator: Operator, environment: WorkflowEnvironment, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    async with stage_on(environment.client, tmp_path) as stage:
        for days in (40, 35, 1):
            at = now - timedelta(days=days)
            stage.shelf.held.append(Held(id=f"{days}-daily", store="postgres", kind="daily", ended_at=at))
        planned = await operator.dr("retention", "--plan", "--json")
        assert [one["id"] for one in planned.data["plan"]["going"]] == ["40-daily", "35-daily"]
        assert planned.data["removed"] == []
        assert len(stage.shelf.held) == 3
        shown = await operator.dr("retention", "--plan")
        words = " ".join(shown.out.split())
        assert "goes postgres daily 40-daily (0.0 MB): it is older than 30 d: 40 d" in words
        assert "stays postgres daily 1-daily (0.0 MB): it is not older than 30 d" in words
        recovery = await environment.client.start_workflow(
            "DatabaseCorruption", id="recovery/lab", task_queue="nobody-works-here"
        )
        refused = await operator.dr("retention", "--json")
        assert (refused.status, refused.error["code"]) == (5, "recovery-open")
        await recovery.terminate()
        done = await operator.dr("retention", "--json")
        assert sorted(done.data["removed"]) == ["35-daily", "40-daily"]
        assert [one.id for one in stage.shelf.held] == ["1-daily"]
