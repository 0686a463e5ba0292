"""Schedules when the Temporal server itself was away."""

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import (
    Client,
    ScheduleCalendarSpec,
    ScheduleRange,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.contrib.pydantic import pydantic_data_converter

from domain.jobs import Job
from domain.order import Outcome
from infra.temporal import bootstrap, server
from infra.temporal.server import TemporalSettings
from tests.faults.record import Seen
from tests.hands.test_worker import free_ports
from tests.runbooks.schedule_stage import LightOrder, Stage, let_light_do, stage_on

pytestmark = [pytest.mark.kill, pytest.mark.timeout(240)]
CATCH_UP = timedelta(seconds=10)
AWAY_SECONDS = 24
EVERY_TWO_SECONDS = ScheduleCalendarSpec(
    second=(ScheduleRange(0, 58, 2),), minute=(ScheduleRange(0, 59),), hour=(ScheduleRange(0, 23),)
)


@pytest.fixture
async def embedded(tmp_path: Path) -> AsyncIterator[TemporalSettings]:
    port, ui, metrics = free_ports(3)
    settings = TemporalSettings(state=tmp_path / "dr", port=port, ui_port=ui, metrics_port=metrics)
    try:
        yield settings
    finally:
        await asyncio.to_thread(server.stop, settings)


async def started(settings: TemporalSettings) -> tuple[Client, int]:
    """Return a client of the server, once it answers, and the server's process."""
    endpoint = await asyncio.to_thread(server.ensure_running, settings)
    client = await Client.connect(endpoint.address, data_converter=pydantic_data_converter)
    await bootstrap.ensure_namespace(client)
    return client, endpoint.pid


class OneAfterTheOther:
    """Takes backups, each a little slower than the schedule fires, and notes how many run at once."""

    def __init__(self, stage: Stage) -> None:
        self.most = 0
        self._stage = stage
        self._running = 0
        self._lock = threading.Lock()

    def take(self, order: LightOrder) -> Outcome:
        with self._lock:
            self._running += 1
            self.most = max(self.most, self._running)
        threading.Event().wait(0.5)
        with self._lock:
            self._running -= 1
        return self._stage.shelf.take(order)


async def fire_every_two_seconds(stage: Stage) -> None:
    """Apply the schedule of one job, and let it fire faster than a stack file can say."""
    await stage.agenda(schedules={"redis": {"catch_up": "10s"}}).apply()

    def often(given: ScheduleUpdateInput) -> ScheduleUpdate:
        schedule = given.description.schedule
        schedule.spec.calendars, schedule.spec.jitter = [EVERY_TWO_SECONDS], None
        return ScheduleUpdate(schedule=schedule)

    await stage.client.get_schedule_handle("lab/redis").update(often)


@pytest.mark.fault("G6", at_length=True)
async def test_after_an_outage_over_many_slots_there_is_no_storm_and_the_lock_holds(
    embedded: TemporalSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen: Seen
) -> None:
    """F-G6: short interval, server down over several slots, catch-up window, suffixed ids."""
    let_light_do(monkeypatch, Job.REDIS)
    client, pid = await started(embedded)
    async with stage_on(client, tmp_path) as stage:
        backups = OneAfterTheOther(stage)
        stage.hands.answer("ensure_taken", backups.take)
        await fire_every_two_seconds(stage)
        taken = stage.shelf.taken.setdefault("redis", [])
        await stage.until(lambda: len(taken) >= 2)

        os.kill(pid, signal.SIGKILL)
        killed_at = datetime.now(UTC)
        await asyncio.sleep(AWAY_SECONDS)
        back_at = datetime.now(UTC)
        again, _ = await started(embedded)
        handle: Any = again.get_schedule_handle("lab/redis")

        async def missed() -> bool:
            return bool((await handle.describe()).info.num_actions_missed_catchup_window)

        await stage.until(missed)
        await stage.until(lambda: bool(taken) and taken[-1] > back_at)
        info = (await handle.describe()).info
        seen(f"{info.num_actions_missed_catchup_window} slots were missed and stay so")
        # What fell due earlier than the window reaches back was not made up for.
        assert not [at for at in taken if killed_at < at < back_at - CATCH_UP]
        assert len(set(taken)) == len(taken)
        assert backups.most == 1
        await handle.pause(note="the test is over")
