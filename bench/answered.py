"""A recovery with hands that only answer, on a Temporal server and a worker of its own."""

import asyncio
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowHandle

from bench.answering import Slate
from bench.place import temporal_settings
from domain import names
from domain.approval import Message
from domain.errors import Unavailable
from domain.incident import RecoveryRequest, RecoveryResult, StatusView
from infra import daemons, up
from infra.temporal import server
from starter import orchestrator
from worker.settings import Settings

STACK = "lab"
"""The stack that the answering hands speak of."""
SCHEDULED = EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
STARTED = EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED
COMPLETED = EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED
SIGNALED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
TIMER = EventType.EVENT_TYPE_TIMER_STARTED
_PATIENCE_SECONDS = 60.0


class Site:
    """Temporal and the answering worker, each a process of its own."""

    def __init__(self, settings: Settings) -> None:
        """Use the place that the environment names."""
        self.settings = settings
        self.slate = Slate(settings.state)

    def start_server(self) -> server.Endpoint:
        """Start the Temporal server and make its namespace ready."""
        endpoint = up.ensure_temporal(self.settings, lambda _: None)
        if endpoint is None:
            raise Unavailable("TEMPORAL_ADDRESS names another server", code="not-our-server")
        return endpoint

    def start_worker(self) -> None:
        """Start the worker below a fresh supervisor, which has not backed off yet."""
        self.stop_worker()
        plain = up.worker_daemon(self.settings, self.start_server(), {})
        daemons.start(replace(plain, argv=(sys.executable, "-m", "bench.answering")))
        up.wait_for_pollers(self.settings)

    def stop_server(self) -> None:
        """End the Temporal server; its state stays."""
        server.stop(temporal_settings(self.settings))

    def server_pid(self) -> int:
        """Return the pid of the Temporal server."""
        found = server.status(temporal_settings(self.settings))
        if found is None:
            raise Unavailable("the Temporal server does not run", code="no-server")
        return found.pid

    def stop_worker(self) -> None:
        """End the worker and its supervisor."""
        daemons.stop(up.run_directory(self.settings.state), up.WORKER)

    def wait_for(self, what: str) -> float:
        """Wait until a hand noted a moment, and return it."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while (moment := self.slate.moment(what)) is None:
            if time.monotonic() > deadline:
                raise Unavailable(f"it did not happen in time: {what}", code="bench-stuck")
            time.sleep(0.01)
        return moment


class Run:
    """One recovery with hands that only answer."""

    def __init__(self, client: Client, handle: WorkflowHandle[Any, RecoveryResult]) -> None:
        """Watch this run."""
        self._client = client
        self.handle = handle

    @classmethod
    async def begin(cls, client: Client, settings: Settings) -> "Run":
        """Start a recovery."""
        request = RecoveryRequest(stack=STACK, requested_by="bench")
        workflow_id = names.recovery_workflow_id(STACK)
        return cls(
            client,
            await orchestrator.start(
                client, settings, "DatabaseCorruption", request, workflow_id, RecoveryResult
            ),
        )

    async def finish(self) -> list[HistoryEvent]:
        """Approve the gate as soon as it opens; return the history of the whole run."""
        await self.reach(lambda event: event.event_type == TIMER)
        await self.approve()
        await self.handle.result()
        return await self.history()

    async def approve(self) -> None:
        """Approve the open gate."""
        while True:
            view: StatusView = await self.handle.query("status", result_type=StatusView)
            if view.state == "gate":
                break
            await asyncio.sleep(0.02)
        await self.handle.signal("approve", Message(gate=view.gate, digest=view.digest, by="bench approver"))

    async def reach(self, wanted: Callable[[HistoryEvent], bool]) -> HistoryEvent:
        """Wait for an event of the history, without asking the worker for anything."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            async for event in self.handle.fetch_history_events(wait_new_event=True):
                if wanted(event):
                    return event
        raise Unavailable("the run ended before it came to what was waited for", code="bench-stuck")

    async def history(self) -> list[HistoryEvent]:
        """Return all events so far."""
        return [event async for event in self.handle.fetch_history_events()]


def seconds_of(event: HistoryEvent) -> float:
    """Return the Unix time of an event."""
    return event.event_time.seconds + event.event_time.nanos / 1e9


def step_seconds(events: list[HistoryEvent]) -> list[float]:
    """Return the time from each step to the next one; where people decided, none is taken."""
    taken: list[float] = []
    last: float | None = None
    for event in events:
        if event.event_type == SIGNALED:
            last = None
        elif event.event_type == SCHEDULED:
            if last is not None:
                taken.append(seconds_of(event) - last)
            last = seconds_of(event)
    return taken


def phases(events: list[HistoryEvent]) -> dict[str, list[float]]:
    """Return what the time of a step is made of: until it is taken, until its answer, until the next one."""
    parts: dict[str, list[float]] = {
        "until a worker takes it": [],
        "until it answers": [],
        "until the next": [],
    }
    begun: dict[int, float] = {}
    last: float | None = None
    for event in events:
        at = seconds_of(event)
        if event.event_type == SCHEDULED:
            begun[event.event_id] = at
            parts["until the next"] += [at - last] if last is not None else []
        elif event.event_type == STARTED:
            scheduled = event.activity_task_started_event_attributes.scheduled_event_id
            parts["until a worker takes it"].append(at - begun[scheduled])
            begun[event.event_id] = at
        elif event.event_type == COMPLETED:
            started = event.activity_task_completed_event_attributes.started_event_id
            parts["until it answers"].append(at - begun[started])
            last = at
        elif event.event_type == SIGNALED:
            last = None
    return parts
