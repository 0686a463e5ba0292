"""How schedules stand, by the word of a real server: never due, paused, run by hand, or of somebody else."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from temporalio.client import Client, Schedule, ScheduleActionStartWorkflow, ScheduleSpec
from temporalio.testing import WorkflowEnvironment

from activities.due import Schedules
from domain import names
from domain.jobs import Job
from domain.order import StackOrder
from domain.verification_due import allowed_age
from domain.verification_standing import Standing, not_due_until
from tests.runbooks.schedule_stage import Stage, let_light_do, stage_on
from workflows.scheduled import JobRequest

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def stage(environment: WorkflowEnvironment, tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage_on(environment.client, tmp_path) as made:
        yield made


async def standing(client: Client, stack: str = "lab") -> dict[Job, Standing]:
    async def connect() -> Client:
        return client

    found = await Schedules(connect).observe_schedules(StackOrder(stack=stack))
    return {one.job: one for one in found.standings}


async def waits(stage: Stage, job: Job) -> bool:
    """Tell whether a job is shown to be not due yet."""

    async def connect() -> Client:
        return stage.client

    found = await Schedules(connect).observe_schedules(StackOrder(stack="lab"))
    within = allowed_age(stage.stack, job) or timedelta()
    return not_due_until(job, within, found, datetime.now(UTC)) is not None


async def test_schedules_that_were_just_made_wait_for_their_first_time(stage: Stage) -> None:
    assert await standing(stage.client) == {}
    assert not await waits(stage, Job.POSTGRES_WEEKLY)
    await stage.agenda().apply()
    found = await standing(stage.client)
    assert set(found) == set(Job)
    weekly = found[Job.POSTGRES_WEEKLY]
    assert (weekly.paused, weekly.times) == (False, 0)
    assert weekly.next_at is not None
    assert weekly.next_at.isoweekday() == 7
    assert await waits(stage, Job.POSTGRES_WEEKLY)
    assert await standing(stage.client, "other") == {}


async def test_one_that_is_paused_or_was_run_once_waits_for_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_light_do(monkeypatch, Job.POSTGRES_WEEKLY)
    agenda = stage.agenda()
    await agenda.apply()
    await agenda.pause([Job.POSTGRES_DAILY], "an operator", "the disk is replaced")
    assert not await waits(stage, Job.POSTGRES_DAILY)
    assert await waits(stage, Job.POSTGRES_BASE)
    await stage.trigger(Job.POSTGRES_WEEKLY)
    assert not await waits(stage, Job.POSTGRES_WEEKLY)


@pytest.mark.parametrize("what", ["another workflow", "another job", "another stack"])
async def test_something_else_under_the_name_of_a_job_is_no_schedule_of_it(stage: Stage, what: str) -> None:
    given = JobRequest(
        stack="other" if what == "another stack" else "lab",
        job=Job.REDIS if what == "another job" else Job.POSTGRES_WEEKLY,
    )
    await stage.client.create_schedule(
        "lab/postgres-weekly",
        Schedule(
            action=ScheduleActionStartWorkflow(
                "Light" if what == "another workflow" else "Scheduled",
                given,
                id="scheduled/lab/postgres-weekly",
                task_queue=names.CONTROL_QUEUE,
            ),
            spec=ScheduleSpec(cron_expressions=["0 3 * * 0"]),
        ),
    )
    assert await standing(stage.client) == {}
