"""What schedules start: the job as a child under its lock, skipped or stood down where it must not run."""

import threading
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

from domain import names
from domain.backups import BackupOrder
from domain.errors import Refused, VerificationFailed
from domain.jobs import Job, lock_of
from tests.faults.record import Seen
from tests.runbooks.conftest import BACKUP
from tests.runbooks.schedule_stage import Stage, let_light_do, stage_on
from workflows.retention import RetentionRequest
from workflows.scheduled import JobRequest, ScheduledResult

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def stage(environment: WorkflowEnvironment, tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage_on(environment.client, tmp_path) as made:
        yield made


@pytest.fixture
def all_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    let_light_do(monkeypatch, *(set(Job) - {Job.RETENTION}))


async def test_a_run_does_its_job_as_a_child_under_the_id_of_the_lock(stage: Stage, all_jobs: None) -> None:
    await stage.agenda().apply()
    result = await stage.trigger(Job.POSTGRES_DAILY)
    assert result["did"] == "done"
    assert result["workflow_id"] == "backup/lab/postgres/daily"
    (run,) = await stage.runs("lab/postgres-daily")
    assert run.id.startswith("scheduled/lab/postgres-daily-")
    child = await stage.client.get_workflow_handle("backup/lab/postgres/daily").describe()
    assert child.parent_id == run.id
    assert child.workflow_type == "Light"
    (at,) = stage.shelf.taken["postgres-daily"]
    assert datetime.fromisoformat(result["scheduled_for"]) == at
    assert result["sentence"] == f"taken for {at:%Y-%m-%d %H:%MZ}"


async def test_the_base_backup_and_the_retention_that_there_are_run_by_schedule(stage: Stage) -> None:
    asked: list[BackupOrder] = []

    def take(order: BackupOrder) -> Any:
        asked.append(order)
        return BACKUP.model_copy(update={"sentence": "taken"})

    stage.hands.answer("ensure_base_backup", take)
    await stage.agenda().apply()
    assert (await stage.trigger(Job.POSTGRES_BASE))["sentence"] == "taken"
    assert asked[0].reason.startswith("scheduled for 20")
    result = await stage.trigger(Job.RETENTION)
    assert (result["did"], result["workflow_id"]) == ("done", "backup/lab/all/retention")


@pytest.mark.fault("C10")
async def test_a_run_that_meets_the_same_job_started_by_hand_is_skipped_and_says_so(
    stage: Stage, all_jobs: None, seen: Seen
) -> None:
    """F-C10: a backup by hand runs while a schedule fires."""
    await stage.agenda().apply()
    go = threading.Event()
    stage.hands.answer("ensure_taken", lambda order: (go.wait(60), stage.shelf.take(order))[1])
    by_hand = await stage.client.start_workflow(
        "Light",
        {"stack": "lab", "reason": "by hand", "job": "redis", "scheduled_for": "2026-01-01T00:00:00Z"},
        id=lock_of("lab", Job.REDIS),
        task_queue=names.CONTROL_QUEUE,
    )
    result = await stage.trigger(Job.REDIS)
    assert result["did"] == "skipped"
    assert result["sentence"] == "Skipped: backup/lab/redis/all is still running"
    seen(result["sentence"])
    go.set()
    await by_hand.result()
    assert len(stage.shelf.taken["redis"]) == 1


@pytest.mark.fault("G6")
async def test_a_schedule_that_fires_while_its_last_run_still_works_is_skipped_by_the_server(
    stage: Stage, all_jobs: None, seen: Seen
) -> None:
    """F-G6: schedules fire late or too often; the ids have suffixes, the lock has none."""
    await stage.agenda().apply()
    go = threading.Event()
    stage.hands.answer("ensure_taken", lambda order: (go.wait(60), stage.shelf.take(order))[1])
    handle = stage.client.get_schedule_handle("lab/redis")
    await handle.trigger()
    await stage.until(lambda: "ensure_taken" in stage.hands.called)
    await handle.trigger()

    async def skipped() -> bool:
        return (await handle.describe()).info.num_actions_skipped_overlap > 0

    await stage.until(skipped)
    seen("the server skipped one while the one before it ran")
    go.set()
    await stage.until(lambda: len(stage.shelf.taken.get("redis", [])) == 1)
    assert (await handle.describe()).info.num_actions == 1


@pytest.mark.fault("G2")
async def test_backups_and_retention_stand_down_while_a_recovery_is_open(
    stage: Stage, all_jobs: None, seen: Seen
) -> None:
    """F-G2: a recovery is open when a schedule fires (I3)."""
    await stage.agenda().apply()
    recovery = await stage.client.start_workflow(
        "DatabaseCorruption", id="recovery/lab", task_queue="nobody-works-here"
    )
    for job in (Job.POSTGRES_BASE, Job.RETENTION):
        result = await stage.trigger(job)
        assert result["did"] == "stood_down"
        assert "DatabaseCorruption is open as recovery/lab" in result["sentence"]
        seen(result["sentence"])
    assert "observe_stack" not in stage.hands.called, "it need not even look at a stack that may be down"
    with pytest.raises(WorkflowFailureError) as failed:
        await stage.client.execute_workflow(
            "Retention", RetentionRequest(), id="by-hand", task_queue=names.CONTROL_QUEUE
        )
    cause = failed.value.cause
    assert isinstance(cause, ApplicationError)
    assert (cause.type, list(cause.details)) == ("Refused", ["recovery-open"])
    await recovery.terminate()
    assert (await stage.trigger(Job.POSTGRES_BASE))["did"] == "done"
    assert stage.shelf.removed == []


async def test_the_archive_is_seen_to_by_one_hand_that_stands_down_by_itself(stage: Stage) -> None:
    await stage.agenda().apply()
    result = await stage.trigger(Job.POSTGRES_WAL)
    assert (result["did"], result["sentence"]) == ("done", "archived")
    assert result["workflow_id"] == "backup/lab/postgres/wal"
    assert "observe_stack" not in stage.hands.called, "so many runs are kept small"
    left_open = Refused("recovery 20260102T0304Z-0badcafe was never closed", code="recovery-open")
    stage.hands.fail("ensure_wal_archived", left_open)
    result = await stage.trigger(Job.POSTGRES_WAL)
    assert result["did"] == "stood_down"
    assert "20260102T0304Z-0badcafe was never closed" in result["sentence"]
    await stage.client.start_workflow("DatabaseCorruption", id="recovery/lab", task_queue="nobody-works-here")
    asked = stage.hands.called.count("ensure_wal_archived")
    result = await stage.trigger(Job.POSTGRES_WAL)
    assert "DatabaseCorruption is open as recovery/lab" in result["sentence"]
    assert stage.hands.called.count("ensure_wal_archived") == asked


async def test_a_hole_in_the_archive_fails_the_scheduled_run_and_is_named(stage: Stage) -> None:
    hole = VerificationFailed("0000000100000000000000AB missing or unusable", code="archive-broken")
    stage.hands.fail("ensure_wal_archived", hole)
    await stage.agenda().apply()
    with pytest.raises(WorkflowFailureError) as failed:
        await stage.trigger(Job.POSTGRES_WAL)
    cause: BaseException | None = failed.value
    while cause is not None and not isinstance(cause, ApplicationError):
        cause = cause.__cause__
    assert cause is not None
    assert "0000000100000000000000AB missing" in cause.message
    assert stage.hands.called.count("ensure_wal_archived") == 1, "trying again mends no hole"


@pytest.mark.fault("A6")
async def test_a_recovery_whose_run_is_lost_pauses_schedules_by_the_hosts_own_flag(
    stage: Stage, all_jobs: None, seen: Seen
) -> None:
    """F-A6: Temporal's database was lost while a recovery was open."""
    await stage.agenda().apply()
    stage.unfinished = ("20260102T0304Z-0badcafe",)
    result = await stage.trigger(Job.REDIS)
    assert result["did"] == "stood_down"
    assert "20260102T0304Z-0badcafe was never closed" in result["sentence"]
    seen(result["sentence"])
    assert not stage.shelf.taken


async def test_a_recovery_that_opens_after_the_look_stands_the_run_down_too(stage: Stage) -> None:
    stage.hands.fail("ensure_retained", Refused("nothing is removed: X is open", code="recovery-open"))
    await stage.agenda().apply()
    result = await stage.trigger(Job.RETENTION)
    assert result["did"] == "stood_down"


async def test_a_job_that_failed_fails_its_scheduled_run(stage: Stage, all_jobs: None) -> None:
    stage.hands.fail("ensure_taken", Refused("no room", code="no-room"))
    await stage.agenda().apply()
    with pytest.raises(WorkflowFailureError):
        await stage.trigger(Job.REDIS)


async def test_a_run_started_by_hand_is_due_when_it_starts(stage: Stage, all_jobs: None) -> None:
    handle = await stage.client.start_workflow(
        "Scheduled",
        JobRequest(stack="lab", job=Job.REDIS),
        id="by-hand",
        task_queue=names.CONTROL_QUEUE,
        result_type=ScheduledResult,
    )
    result = await handle.result()
    assert result.scheduled_for == (await handle.describe()).start_time


async def test_retention_in_plan_mode_removes_nothing_and_asks_nobody(stage: Stage) -> None:
    result = await stage.client.execute_workflow(
        "Retention", {"mode": "plan"}, id="plan", task_queue=names.CONTROL_QUEUE
    )
    assert result["removed"] == []
    assert "ensure_retained" not in stage.hands.called
