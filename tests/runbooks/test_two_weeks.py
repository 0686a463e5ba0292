"""Two weeks of every schedule, played through by backfill (decision D6)."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment

from domain.backup_policy import BackupPolicy
from domain.jobs import WORK, Job
from tests.runbooks.schedule_stage import MAKES, Stage, due, let_light_do, stage_on

CLEARED_AT = timedelta(hours=7, minutes=30)
# Every five minutes would be four thousand runs of a job that leaves nothing on the shelf: once a day here.
ONCE_A_DAY = "30 0 * * *"
TIMES = {job: WORK[Job(job)].usual for job in MAKES} | {Job.POSTGRES_WAL.value: ONCE_A_DAY}


FAST = (
    # As they come, a server of one shard takes twenty steps a second.
    "history.transferProcessorMaxPollRPS=5000",
    "history.timerProcessorMaxPollRPS=5000",
    "history.visibilityProcessorMaxPollRPS=5000",
    'history.timerProcessorMaxTimeShift="50ms"',
    "worker.schedulerNamespaceStartWorkflowRPS=1000",
)


@pytest.fixture
async def stage(
    temporal_program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Stage]:
    let_light_do(monkeypatch, *(set(Job) - {Job.RETENTION}))
    async with (
        await WorkflowEnvironment.start_local(
            dev_server_existing_path=temporal_program,
            dev_server_extra_args=[word for one in FAST for word in ("--dynamic-config-value", one)],
            data_converter=pydantic_data_converter,
            dev_server_log_level="error",
        ) as environment,
        stage_on(environment.client, tmp_path, sandboxed=False) as made,
    ):
        yield made


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_two_weeks_of_all_schedules_take_and_keep_what_the_policy_says(stage: Stage) -> None:
    agenda = stage.agenda(schedules={Job.POSTGRES_WAL: {"at": ONCE_A_DAY}})
    await agenda.apply()
    # Nothing fires by itself meanwhile; a backfill runs a paused schedule all the same.
    await agenda.pause([], "the test", "two weeks are played through")
    end = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    start = end - timedelta(days=14)
    for day in range(1, 15):
        async with asyncio.timeout(120):
            await one_day(stage, start, start + timedelta(days=day))
    for job in MAKES:
        assert sorted(stage.shelf.taken.get(job, [])) == due(TIMES[job], start, end), job
    for job, places in MAKES.items():
        for place in places:
            assert stage.shelf.left(*place) == kept(
                stage, job, place[1], end - timedelta(days=1) + CLEARED_AT
            )
    assert {kind: len(stage.shelf.left(store, kind)) for store, kind in PLACES} == LEFT


PLACES = [place for places in MAKES.values() for place in places]
LEFT = {
    "base": 7,
    "daily": 14,
    "weekly": 2,
    "rdb": 7,
    "aof": 7,
    "copy": 30,
    "snapshot": 5,
    "dump": 5,
    "metadata": 14,
    "configuration": 14,
}


async def one_day(stage: Stage, start: datetime, last: datetime) -> None:
    """Play one day: every job at its times, then the removal of what is too old by then."""
    expected = {job: len(due(TIMES[job], start, last)) for job in MAKES}
    for job in MAKES:
        await stage.backfill(Job(job), last - timedelta(days=1), last)
    await stage.until(
        lambda: all(len(stage.shelf.taken.get(job, [])) >= count for job, count in expected.items())
    )
    cleared = stage.hands.called.count("ensure_retained")
    await stage.backfill(Job.RETENTION, last - timedelta(days=1), last)
    await stage.until(lambda: stage.hands.called.count("ensure_retained") > cleared)


def kept(stage: Stage, job: str, kind: str, as_of: datetime) -> list[datetime]:
    """Return what of a job's backups is left after the last removal, reckoned from times alone."""
    policy: BackupPolicy = stage.stack.backup
    counts = {"redis": policy.keep_redis, "minio": policy.keep_versions, "meilisearch": policy.keep_search}
    ages = {
        "base": policy.keep_base,
        "daily": policy.keep_daily,
        "weekly": policy.keep_weekly,
        "metadata": policy.keep_hasura,
        "configuration": policy.keep_stack,
    }
    taken = sorted(stage.shelf.taken[job])
    if job in counts:
        return taken[-counts[job] :]
    return [at for at in taken if as_of - at <= ages[kind]]
