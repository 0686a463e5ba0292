"""Schedules on a real server: a shelf in memory, hands that only answer, and a light job for every kind."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import AwareDatetime, ValidationError
from temporalio import activity, workflow
from temporalio.client import Client, ScheduleBackfill, ScheduleOverlapPolicy
from temporalio.worker import UnsandboxedWorkflowRunner, Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from activities.open_runs import OpenRuns
from domain import names
from domain.backup_policy import BackupPolicy
from domain.calendars import parse_calendar
from domain.jobs import WORK, Job, Work
from domain.order import Facts, Order, Outcome, StackOrder, Value
from domain.retention import plan_retention
from domain.retention_plan import Held, Place, Retained, RetentionOrder, RetentionPlan
from domain.stack import Kind, Service, Stack
from domain.wal_archive import Archived
from starter.agenda import Agenda
from tests.runbooks.conftest import STACK, TARGET, Hands
from worker.liveness import Liveness
from workflows.backup import BaseBackup
from workflows.errand import errand
from workflows.retention import Retention
from workflows.scheduled import Scheduled
from workflows.wal_archive import ArchiveWal

MAKES: dict[str, tuple[Place, ...]] = {
    "postgres-wal": (),
    "postgres-base": (("postgres", "base"),),
    "postgres-daily": (("postgres", "daily"),),
    "postgres-weekly": (("postgres", "weekly"),),
    "redis": (("redis", "rdb"), ("redis", "aof")),
    "minio": (("minio", "copy"),),
    "meilisearch": (("meilisearch", "snapshot"), ("meilisearch", "dump")),
    "hasura": (("hasura", "metadata"),),
    "stack": (("stack", "configuration"),),
    "offsite": (),
    "verification": (),
}
"""What each job puts on the shelf."""


class LightRequest(Value):
    """What every job is given, and which one it stands for."""

    stack: str
    reason: str
    job: str
    scheduled_for: AwareDatetime


class LightOrder(Order):
    """The same, for the one hand."""

    request: LightRequest


class LightHands:
    """Names the hand; the stage answers in its place."""

    @activity.defn
    def ensure_taken(self, order: LightOrder) -> Outcome:
        """Take it."""
        raise NotImplementedError


@workflow.defn(name="Light", sandboxed=False)
class Light:
    """A job that only says what it was asked for."""

    @workflow.run
    async def run(self, request: LightRequest) -> Outcome:
        """Take it."""
        return await errand("Take it", LightHands.ensure_taken, LightOrder(request=request))


@dataclass
class Shelf:
    """What was taken, and what of it is left."""

    held: list[Held] = field(default_factory=list)
    taken: dict[str, list[datetime]] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)

    def take(self, order: LightOrder) -> Outcome:
        """Put the backups of a job on the shelf."""
        at = order.request.scheduled_for
        self.taken.setdefault(order.request.job, []).append(at)
        for store, kind in MAKES[order.request.job]:
            self.held.append(
                Held(
                    id=f"{at:%Y%m%dT%H%M%SZ}-{kind}",
                    store=store,
                    kind=kind,
                    ended_at=datetime.now(UTC),
                    scheduled_for=at,
                )
            )
        return Outcome(sentence=f"taken for {at:%Y-%m-%d %H:%MZ}")

    def plan(self, order: RetentionOrder) -> RetentionPlan:
        """Judge the shelf."""
        return plan_retention(self.held, (), order.policy, as_of=order.as_of)

    def retain(self, order: RetentionOrder) -> Retained:
        """Remove what goes."""
        plan = self.plan(order)
        gone = {one.id for one in plan.going}
        self.removed += sorted(gone)
        self.held = [one for one in self.held if one.id not in gone]
        return Retained(plan=plan, removed=tuple(gone), sentence=plan.sentence)

    def left(self, store: str, kind: str) -> list[datetime]:
        """Return the times of what is left of a kind, the oldest first."""
        return sorted(one.age_key[0] for one in self.held if one.place == (store, kind))


SERVICES = {
    "postgres": Service(kind=Kind.POSTGRES),
    "redis": Service(kind=Kind.REDIS),
    "minio": Service(kind=Kind.OBJECTS),
    "meilisearch": Service(kind=Kind.SEARCH),
    "hasura": Service(kind=Kind.HASURA),
}


def stack_with(**policy: Any) -> Stack:
    """Return a stack that has every service a job needs."""
    return STACK.model_copy(update={"services": SERVICES, "backup": BackupPolicy.model_validate(policy)})


class Stage:
    """A worker with answering hands, the shelf, and the agenda of a stack."""

    def __init__(self, client: Client, hands: Hands, shelf: Shelf) -> None:
        self.client = client
        self.hands = hands
        self.shelf = shelf
        self.stack = stack_with()
        self.unfinished: tuple[str, ...] = ()

    def agenda(self, **policy: Any) -> Agenda:
        """Return the agenda of the stack with some policy, which the hands know from then on."""
        self.stack = stack_with(**policy)
        return Agenda(self.client, self.stack, names.CONTROL_QUEUE)

    def facts(self, _: StackOrder) -> Facts:
        return Facts(stack=self.stack, stack_digest="d" * 64, target=TARGET, unfinished=self.unfinished)

    async def until(self, reached: Callable[[], bool] | Callable[[], Awaitable[bool]]) -> None:
        """Wait until something holds; the test's own deadline ends what never does."""
        while True:
            found = reached()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.05)

    async def backfill(self, job: Job, first: datetime, last: datetime) -> None:
        """Let a schedule run for a time that has passed, one run after the other."""
        await self.client.get_schedule_handle(f"lab/{job}").backfill(
            ScheduleBackfill(start_at=first, end_at=last, overlap=ScheduleOverlapPolicy.BUFFER_ALL)
        )

    async def runs(self, schedule: str) -> list[Any]:
        """Return the runs of a schedule, the oldest first."""
        query = f"TemporalScheduledById = '{schedule}'"
        found = [one async for one in self.client.list_workflows(query)]
        return sorted(found, key=lambda one: one.start_time)

    async def trigger(self, job: Job) -> Any:
        """Let a schedule run now, and return the result of the run."""
        handle = self.client.get_schedule_handle(f"lab/{job}")
        before = (await handle.describe()).info.num_actions

        async def started() -> bool:
            return (await handle.describe()).info.num_actions > before

        await handle.trigger()
        await self.until(started)
        run: Any = (await handle.describe()).info.recent_actions[-1].action
        return await self.client.get_workflow_handle(run.workflow_id).result()


def let_light_do(patch: pytest.MonkeyPatch, *jobs: Job) -> None:
    """Let the light workflow do jobs, also those that nothing does yet."""
    for job in jobs:
        light = replace(WORK[job], workflow="Light", request={"job": job.value})
        patch.setitem(cast("dict[Job, Work]", WORK), job, light)


@asynccontextmanager
async def stage_on(client: Client, state: Path, *, sandboxed: bool = True) -> AsyncIterator[Stage]:
    """Run the workflows of schedules with answering hands; a thousand of them need no sandbox each."""
    shelf = Shelf()
    hands = Hands(state, client)
    stage = Stage(client, hands, shelf)
    hands.answers |= {
        "observe_stack": (StackOrder, stage.facts),
        "ensure_taken": (LightOrder, shelf.take),
        "ensure_wal_archived": (
            StackOrder,
            lambda _: Archived(sentence="archived", slot="s", received_lsn="0/1"),
        ),
        "observe_retention": (RetentionOrder, shelf.plan),
        "ensure_retained": (RetentionOrder, shelf.retain),
    }
    hands.answers["ensure_protected"] = (hands.answers["ensure_quiet"][0], lambda _: Outcome())

    async def connect() -> Client:
        return client

    with ThreadPoolExecutor() as threads:
        common: dict[str, Any] = {"activity_executor": threads, "interceptors": [Liveness(0.5)]}
        async with (
            Worker(
                client,
                task_queue=names.CONTROL_QUEUE,
                workflows=[Scheduled, Retention, BaseBackup, ArchiveWal, Light],
                activities=[OpenRuns(connect).observe_open_recovery],
                workflow_runner=SandboxedWorkflowRunner() if sandboxed else UnsandboxedWorkflowRunner(),
                workflow_failure_exception_types=[ValidationError],
                **common,
            ),
            Worker(client, task_queue=names.host_queue(), activities=hands.activities(), **common),
        ):
            yield stage


def due(at: str, start: datetime, end: datetime) -> list[datetime]:
    """Return the times of a calendar after ``start`` and until ``end``, found minute by minute."""
    calendar = parse_calendar(at)
    minutes = [start + timedelta(minutes=n) for n in range(1, int((end - start) / timedelta(minutes=1)) + 1)]
    return [
        one
        for one in minutes
        if one.minute in calendar.minute
        and one.hour in calendar.hour
        and one.day in calendar.day_of_month
        and one.month in calendar.month
        and one.isoweekday() % 7 in calendar.day_of_week
    ]
