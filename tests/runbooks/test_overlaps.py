"""Backups, retention and verification that meet each other or a recovery: who yields, and what is said."""

import asyncio
import threading
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

from domain import names
from domain.backups import VerifyBackupOrder
from domain.dumps import RestoreProven
from domain.entries import EntryOrder, entry_of
from domain.errors import Refused
from domain.jobs import Job, lock_of
from tests.faults.record import Seen
from tests.runbooks import conftest
from tests.runbooks.conftest import BACKUP, Hands, bench_on
from tests.runbooks.schedule_stage import Stage, let_light_do, stage_on
from workflows.catalogue import VerifyBackup
from workflows.database_corruption import DatabaseCorruption

pytestmark = pytest.mark.timeout(120)
LATER = "2046-01-01T00:00:00Z"


@pytest.fixture
async def stage(environment: WorkflowEnvironment, tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage_on(environment.client, tmp_path) as made:
        yield made


async def open_a_recovery(client: Client) -> WorkflowHandle[Any, Any]:
    return await client.start_workflow(
        "DatabaseCorruption", id="recovery/lab", task_queue="nobody-works-here"
    )


@pytest.mark.fault("C10")
@pytest.mark.fault("G2")
async def test_a_scheduled_backup_that_runs_when_a_recovery_starts_stands_down_on_the_record(
    stage: Stage, seen: Seen
) -> None:
    """F-C10, F-G2: backup running when recovery starts: it yields, and its next run after it is taken."""
    opened = threading.Event()
    taking = [True]

    def take(_: Any) -> Any:
        if taking:
            opened.wait(60)
            raise Refused("recovery 20260102T0304Z-0badcafe is open on this stack", code="recovery-open")
        return BACKUP.model_copy(update={"sentence": "taken"})

    stage.hands.answer("ensure_base_backup", take)
    await stage.agenda().apply()
    handle = stage.client.get_schedule_handle("lab/postgres-base")
    await handle.trigger()
    await stage.until(lambda: "ensure_base_backup" in stage.hands.called)
    recovery = await open_a_recovery(stage.client)
    opened.set()
    (run,) = await stage.runs("lab/postgres-base")
    result: Any = await stage.client.get_workflow_handle(run.id).result()
    assert result["did"] == "stood_down"
    assert "20260102T0304Z-0badcafe is open" in result["sentence"]
    seen(result["sentence"])
    assert stage.hands.called.count("ensure_base_backup") == 1, "a refusal is not tried again"
    taking.clear()
    assert (await stage.trigger(Job.POSTGRES_BASE))["did"] == "stood_down"
    assert stage.hands.called.count("ensure_base_backup") == 1
    await recovery.terminate()
    assert (await stage.trigger(Job.POSTGRES_BASE))["did"] == "done"


@pytest.mark.fault("C10")
async def test_two_base_backups_never_run_at_once_whoever_starts_them(stage: Stage, seen: Seen) -> None:
    """F-C10: two backups overlap: by schedule and by hand they meet in one lock; the second is skipped."""
    go, at_work, most = threading.Event(), [0], [0]

    def take(_: Any) -> Any:
        at_work[0] += 1
        most[0] = max(most[0], at_work[0])
        go.wait(60)
        at_work[0] -= 1
        return BACKUP

    stage.hands.answer("ensure_base_backup", take)
    await stage.agenda().apply()
    by_hand = await stage.client.start_workflow(
        "BaseBackup", {}, id=lock_of("lab", Job.POSTGRES_BASE), task_queue=names.CONTROL_QUEUE
    )
    await stage.until(lambda: "ensure_base_backup" in stage.hands.called)
    result = await stage.trigger(Job.POSTGRES_BASE)
    assert result["did"] == "skipped"
    seen(result["sentence"])
    go.set()
    await by_hand.result()
    assert (most[0], stage.hands.called.count("ensure_base_backup")) == (1, 1)


@pytest.mark.fault("C9")
async def test_retention_with_a_clock_far_ahead_removes_nothing_during_an_incident_and_never_the_last_one(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, seen: Seen
) -> None:
    """F-C9: retention expires the only good one during an incident: run with a later clock."""
    let_light_do(monkeypatch, Job.POSTGRES_BASE, Job.POSTGRES_DAILY)
    await stage.agenda().apply()
    for job in (Job.POSTGRES_BASE, Job.POSTGRES_DAILY):
        first, last = (datetime.fromisoformat(f"2026-01-0{day}T00:00:00+00:00") for day in (1, 4))
        await stage.backfill(job, first, last)
        await stage.until(lambda job=job: len(stage.shelf.taken.get(job.value, [])) >= 3)
    held = len(stage.shelf.held)
    recovery = await open_a_recovery(stage.client)
    with pytest.raises(WorkflowFailureError) as failed:
        await retain(stage)
    cause = failed.value.cause
    assert isinstance(cause, ApplicationError)
    assert list(cause.details) == ["recovery-open"]
    assert len(stage.shelf.held) == held
    seen(cause.message)
    await recovery.terminate()
    await retain(stage)
    assert stage.shelf.removed
    for kind in ("base", "daily"):
        assert len(stage.shelf.left("postgres", kind)) == 1, "the newest of its kind stays, however old"


async def retain(stage: Stage) -> Any:
    request = {"stack": "lab", "scheduled_for": LATER}
    return await stage.client.execute_workflow(
        "Retention", request, id=lock_of("lab", Job.RETENTION), task_queue=names.CONTROL_QUEUE
    )


class WithVerification(Hands):
    """Answers for the verification of a backup too; it waits until it is let go."""

    begun, let_go = threading.Event(), threading.Event()

    def __init__(self, state: Path, client: Client) -> None:
        super().__init__(state, client)

        def verify(_: Any) -> Any:
            self.begun.set()
            self.let_go.wait(60)
            return BACKUP

        self.answers["observe_entry"] = (EntryOrder, lambda _: entry_of(BACKUP))
        self.answers["verify_backup"] = (VerifyBackupOrder, verify)


@pytest.mark.fault("G2")
async def test_a_recovery_does_not_wait_for_a_verification_that_runs(
    environment: WorkflowEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen: Seen
) -> None:
    """F-G2: recovery while verification runs: it only reads, so neither waits for the other."""
    monkeypatch.setattr(conftest, "Hands", WithVerification)
    WithVerification.let_go.clear()
    async with bench_on(environment, tmp_path, (DatabaseCorruption, VerifyBackup)) as bench:
        try:
            verifying = await bench.client.start_workflow(
                VerifyBackup.run, id="verify", task_queue=names.CONTROL_QUEUE
            )
            await asyncio.to_thread(WithVerification.begun.wait, 60)
            handle = await bench.start()
            view = await bench.until(handle, "gate")
            await handle.signal("approve", {"gate": view.gate, "digest": view.digest, "by": "an approver"})
            assert (await handle.result()).outcome == "recovered"
            seen("the recovery ended while the verification was at work")
        finally:
            WithVerification.let_go.set()
        result: RestoreProven = await verifying.result()
        assert result.passed
