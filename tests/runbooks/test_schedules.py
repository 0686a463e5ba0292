"""Schedules on a real Temporal server: made from the stack file, corrected, paused, resumed."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast, get_type_hints

import pytest
from temporalio import workflow
from temporalio.client import (
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleCalendarSpec,
    ScheduleOverlapPolicy,
    ScheduleRange,
    ScheduleSpec,
    ScheduleUpdate,
)
from temporalio.testing import WorkflowEnvironment

from domain.errors import Refused
from domain.jobs import WORK, Job, Work
from starter.timetable import wanted
from tests.runbooks.schedule_stage import Stage, let_light_do, stage_on
from worker.workflows import WORKFLOWS
from workflows.scheduled import JobRequest, given_to

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def stage(environment: WorkflowEnvironment, tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage_on(environment.client, tmp_path) as made:
        yield made


@pytest.mark.parametrize("job", [job for job in Job if WORK[job].workflow])
def test_the_workflow_of_a_job_is_there_and_takes_what_its_schedule_gives_it(job: Job) -> None:
    known = {workflow._Definition.must_from_class(one).name: one for one in WORKFLOWS}
    runs: Any = known[WORK[job].workflow]
    request = get_type_hints(runs.run)["request"]
    due = datetime(2026, 11, 22, 1, 0, tzinfo=UTC)
    given = request.model_validate_json(json.dumps(given_to(JobRequest(stack="lab", job=job), due)))
    assert given.stack == "lab"
    assert given.scheduled_for == due


async def edited(stage: Stage, job: Job, change: Any) -> None:
    """Do what somebody does in the Web UI's form."""

    def edit(given: Any) -> ScheduleUpdate:
        change(given.description.schedule)
        return ScheduleUpdate(schedule=given.description.schedule)

    await stage.client.get_schedule_handle(f"lab/{job}").update(edit)


async def test_applied_twice_the_second_time_changes_nothing(stage: Stage) -> None:
    agenda = stage.agenda()
    first = await agenda.apply()
    assert {line.id for line in first} == {f"lab/{job}" for job in Job}
    assert {line.did for line in first} == {"created"}
    handle = stage.client.get_schedule_handle("lab/retention")
    before = await handle.describe()
    second = await agenda.apply()
    assert {line.did for line in second} == {"unchanged"}
    assert not [line.drift for line in second if line.drift]
    after = await handle.describe()
    assert after.info.last_updated_at == before.info.last_updated_at


async def test_a_schedule_is_what_the_file_says(stage: Stage) -> None:
    await stage.agenda(
        schedules={
            "retention": {
                "at": "15,45 6-8 * * mon-fri",
                "comment": "before the office opens",
                "time_zone": "Europe/Berlin",
                "jitter": "30s",
                "catch_up": "5m",
            }
        }
    ).apply()
    found = (await stage.client.get_schedule_handle("lab/retention").describe()).schedule
    (calendar,) = found.spec.calendars
    assert calendar.comment == "before the office opens"
    assert [(r.start, r.end) for r in calendar.hour] == [(6, 8)]
    assert [(r.start, r.end) for r in calendar.minute] == [(15, 15), (45, 45)]
    assert [(r.start, r.end) for r in calendar.day_of_week] == [(1, 5)]
    assert found.spec.time_zone_name == "Europe/Berlin"
    assert found.spec.jitter == timedelta(seconds=30)
    assert found.policy.overlap is ScheduleOverlapPolicy.SKIP
    assert found.policy.catchup_window == timedelta(minutes=5)
    assert not found.state.paused
    assert isinstance(found.action, ScheduleActionStartWorkflow)
    assert found.action.workflow == "Scheduled"
    daily = (await stage.client.get_schedule_handle("lab/postgres-base").describe()).schedule
    assert daily.spec.time_zone_name in {None, "UTC"}
    assert daily.policy.catchup_window == timedelta(minutes=10)


async def test_a_job_that_nothing_does_yet_is_paused_with_that_reason_until_something_does(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = replace(WORK[Job.REDIS], workflow="")
    monkeypatch.setitem(cast("dict[Job, Work]", WORK), Job.REDIS, nobody)
    lines = {line.job: line for line in await stage.agenda().apply()}
    assert lines[Job.REDIS].state == "paused"
    assert lines[Job.REDIS].note == "paused by dr: nothing does this job yet"
    assert lines[Job.RETENTION].state == "running"
    with pytest.raises(Refused) as refused:
        await stage.agenda().resume([Job.REDIS], "an operator", "try it")
    assert refused.value.code == "paused-by-file"
    # A version that does it lets it run.
    let_light_do(monkeypatch, Job.REDIS)
    line = {one.job: one for one in await stage.agenda().apply()}[Job.REDIS]
    assert line.state == "running"
    assert line.did == "corrected: it is paused by dr: nothing does this job yet instead of running"


async def test_a_stack_without_a_service_has_no_schedule_for_it_and_neither_has_a_job_that_is_struck_out(
    stage: Stage,
) -> None:
    lines = await stage.agenda(schedules={"postgres-weekly": None}).apply()
    assert {line.job for line in lines} == set(Job) - {Job.POSTGRES_WEEKLY}
    bare = stage.stack.model_copy(update={"services": {"postgres": stage.stack.services["postgres"]}})
    jobs = {want.job for want in wanted(bare, "q")}
    assert not jobs & {Job.REDIS, Job.MINIO, Job.MEILISEARCH, Job.HASURA}
    assert {Job.POSTGRES_BASE, Job.STACK, Job.RETENTION} <= jobs


async def test_an_edit_in_the_web_ui_is_shown_as_drift_and_put_back(stage: Stage) -> None:
    agenda = stage.agenda()
    await agenda.apply()

    def change(schedule: Schedule) -> None:
        schedule.spec.calendars = [
            ScheduleCalendarSpec(hour=(ScheduleRange(5),), minute=(ScheduleRange(15),), comment="moved")
        ]
        schedule.policy.overlap = ScheduleOverlapPolicy.ALLOW_ALL
        schedule.policy.catchup_window = timedelta(days=365)
        schedule.spec.jitter = None

    await edited(stage, Job.RETENTION, change)
    line = next(line for line in await agenda.look() if line.job == Job.RETENTION)
    assert "calendar: 15 5 * * * instead of 30 7 * * *" in line.drift
    assert any(one.startswith("comment: moved instead of") for one in line.drift)
    assert "overlap: ALLOW_ALL instead of SKIP" in line.drift
    assert "catch-up window: 3.1536e+07 s instead of 600 s" in line.drift
    assert "jitter: none instead of 60 s" in line.drift
    corrected = {line.job: line for line in await agenda.apply()}
    assert corrected[Job.RETENTION].did.startswith("corrected: calendar: 15 5 * * *")
    assert {one.did for job, one in corrected.items() if job != Job.RETENTION} == {"unchanged"}
    assert not [one.drift for one in await agenda.look() if one.drift]


async def test_times_added_and_another_input_are_drift_too(stage: Stage) -> None:
    agenda = stage.agenda()
    await agenda.apply()

    def change(schedule: Schedule) -> None:
        schedule.spec.skip = [ScheduleCalendarSpec(day_of_week=(ScheduleRange(1),))]
        schedule.spec.end_at = datetime(2030, 1, 1, tzinfo=UTC)
        assert isinstance(schedule.action, ScheduleActionStartWorkflow)
        schedule.action.workflow = "BaseBackup"
        schedule.action.args = [{"stack": "another"}]

    await edited(stage, Job.RETENTION, change)
    line = next(line for line in await agenda.look() if line.job == Job.RETENTION)
    points = {one.partition(":")[0] for one in line.drift}
    assert points == {"further times", "only from or to", "workflow", "input"}
    await agenda.apply()
    assert not [one.drift for one in await agenda.look() if one.drift]


async def test_a_pause_keeps_its_reason_and_survives_apply_until_somebody_resumes(stage: Stage) -> None:
    agenda = stage.agenda()
    await agenda.apply()
    (line,) = await agenda.pause([Job.RETENTION], "an operator", "the disk is replaced")
    assert (line.state, line.note) == ("paused", "held by an operator: the disk is replaced")
    assert not line.drift
    # Also when the rest of it is corrected.
    moved = stage.agenda(schedules={"retention": {"at": "0 9 * * *"}})
    applied = {one.job: one for one in await moved.apply()}[Job.RETENTION]
    assert applied.did.startswith("corrected: calendar")
    assert (applied.state, applied.note) == ("paused", "held by an operator: the disk is replaced")
    (line,) = await moved.resume([Job.RETENTION], "another", "done")
    assert (line.state, line.note) == ("running", "resumed by another: done")
    assert {one.did for one in await moved.apply()} == {"unchanged"}


async def test_a_pause_in_the_web_ui_is_a_persons_and_is_left_alone(stage: Stage) -> None:
    agenda = stage.agenda()
    await agenda.apply()
    await stage.client.get_schedule_handle("lab/retention").pause(note="typed into the form")
    line = {one.job: one for one in await agenda.apply()}[Job.RETENTION]
    assert (line.did, line.state, line.note) == ("unchanged", "paused", "typed into the form")


async def test_what_the_file_pauses_stays_paused_and_what_it_no_longer_pauses_runs_again(
    stage: Stage,
) -> None:
    paused = {"retention": {"paused_because": "until the audit is over"}}
    agenda = stage.agenda(schedules=paused)
    lines = {one.job: one for one in await agenda.apply()}
    assert lines[Job.RETENTION].note == "paused by the stack file: until the audit is over"
    with pytest.raises(Refused, match="until the audit is over"):
        await agenda.resume([Job.RETENTION], "an operator", "now")
    # Somebody resumes it in the Web UI.
    await stage.client.get_schedule_handle("lab/retention").unpause(note="why not")
    line = {one.job: one for one in await agenda.look()}[Job.RETENTION]
    assert line.drift == ["it runs instead of being paused by the stack file: until the audit is over"]
    assert {one.job: one.state for one in await agenda.apply()}[Job.RETENTION] == "paused"
    line = {one.job: one for one in await stage.agenda().apply()}[Job.RETENTION]
    assert line.state == "running"
    assert "instead of running" in line.did


async def test_schedules_of_jobs_that_are_gone_are_told_and_removed_only_when_asked_for(stage: Stage) -> None:
    await stage.agenda().apply()
    foreign = ScheduleActionStartWorkflow("Theirs", id="x", task_queue="theirs")
    other = ScheduleActionStartWorkflow("Scheduled", id="y", task_queue="theirs")
    await stage.client.create_schedule("lab/theirs", Schedule(action=foreign, spec=ScheduleSpec()))
    await stage.client.create_schedule("lab2/redis", Schedule(action=other, spec=ScheduleSpec()))
    await stage.client.create_schedule("lab/long-gone", Schedule(action=other, spec=ScheduleSpec()))
    agenda = stage.agenda(schedules={"postgres-weekly": None})

    async def unknown() -> set[str]:
        return {line.id for line in await agenda.look() if line.state == "unknown"}

    async def listed() -> bool:
        return await unknown() == {"lab/long-gone", "lab/postgres-weekly"}

    # Listings follow a moment later.
    await stage.until(listed)
    left = {line.id: line.did for line in await agenda.apply() if line.state == "unknown"}
    assert left == {"lab/long-gone": "left", "lab/postgres-weekly": "left"}
    assert (await stage.client.get_schedule_handle("lab/postgres-weekly").describe()).id
    removed = {line.id: line.did for line in await agenda.apply(prune=True) if line.state == "unknown"}
    assert removed == {"lab/long-gone": "removed", "lab/postgres-weekly": "removed"}
    for name in ("lab/theirs", "lab2/redis", "lab/retention"):
        assert (await stage.client.get_schedule_handle(name).describe()).id == name


async def test_a_time_zone_that_the_server_does_not_know_is_refused_by_its_key(stage: Stage) -> None:
    with pytest.raises(Refused) as refused:
        await stage.agenda(schedules={"redis": {"time_zone": "Mars/Olympus"}}).apply()
    assert refused.value.code == "schedule-refused"
    assert "backup.schedules.redis" in refused.value.hint


async def test_a_job_that_is_not_in_the_file_and_one_that_was_never_made_cannot_be_paused(
    stage: Stage,
) -> None:
    agenda = stage.agenda(schedules={"redis": None})
    for job, said in ((Job.REDIS, "has no schedule for redis"), (Job.MINIO, "is not there yet")):
        with pytest.raises(Refused, match=said) as refused:
            await agenda.pause([job], "an operator", "why")
        assert refused.value.code == "schedule-missing"
