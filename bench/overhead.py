"""``python -m bench.overhead``: what the orchestration costs, and how soon a run goes on after a kill.

The product's own worker process and Temporal server with the product's own settings; the hands only answer.
"""

import argparse
import asyncio
import os
import random
import signal
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import docker
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

from bench.answered import COMPLETED, SCHEDULED, STARTED, TIMER, Run, Site, phases, seconds_of, step_seconds
from bench.answering import Plan
from bench.figures import Findings, Table, deliver, met, options, spread
from bench.machine import describe
from bench.place import own_place, say
from domain import names
from infra import up
from infra.temporal import server
from worker.connection import connect
from worker.settings import Settings
from worker.tools_image import tools_image

STEP_TARGET_SECONDS = 0.025
BETWEEN_TARGET_SECONDS = 4.0
WATCHED_TARGET_SECONDS = 8.0
SERVER_TARGET_SECONDS = 1.0
EVENTS_TARGET = 500
_LATEST_DEATH_SECONDS = 0.03
"""A step with a hand that only answers takes about this long, so deaths fall anywhere in one."""
_WAITED_FOR = "ensure_restored"
_KILLED_AFTER = [
    "ensure_quiet",
    "choose_backup",
    "ensure_following",
    "verify_copy",
    "ensure_markers_paused",
    "ensure_fenced",
    "ensure_promoted",
    "ensure_serving",
    "verify_metadata",
    "measure_downtime",
]
_THROTTLES = ("ProcessorMaxPollRPS", "ProcessorMaxTimeShift")


class Steps:
    """What recoveries with hands that only answer took."""

    def __init__(self) -> None:
        """Nothing was measured yet."""
        self.taken: list[float] = []
        self.parts: dict[str, list[float]] = {}
        self.events = 0

    def add(self, history: list[HistoryEvent]) -> None:
        """Add one run."""
        self.events = max(self.events, len(history))
        self.taken += step_seconds(history)
        for name, seconds in phases(history).items():
            self.parts.setdefault(name, []).extend(seconds)


async def measure_steps(client: Client, settings: Settings, runs: int) -> Steps:
    """Measure the time a step; the first run only warms up."""
    measured = Steps()
    for number in range(runs + 1):
        history = await (await Run.begin(client, settings)).finish()
        if number:
            measured.add(history)
    return measured


async def measure_bare(client: Client, runs: int, steps: int) -> list[float]:
    """Return the time an activity of a workflow that has nothing around its activities."""
    taken: list[float] = []
    for number in range(runs + 1):
        handle = await client.start_workflow(
            "BareLoop", steps, id=f"bench/bare/{number}", task_queue=names.CONTROL_QUEUE
        )
        await handle.result()
        events = [event async for event in handle.fetch_history_events()]
        taken += step_seconds(events) if number else []
    return taken


# -- kills ----------------------------------------------------------------------------------------


async def kill_between(client: Client, site: Site, number: int) -> tuple[float, bool]:
    """Kill the worker about when a step ends; return the time until the next step is done.

    Also whether a hand was lost with the worker: then its silence had to be noticed first.
    """
    await asyncio.to_thread(site.start_worker)
    after = random.uniform(0, _LATEST_DEATH_SECONDS)  # noqa: S311 - no secret
    site.slate.lay(Plan(step=_KILLED_AFTER[number % len(_KILLED_AFTER)], act="die", after_seconds=after))
    run = await Run.begin(client, site.settings)
    approving = asyncio.create_task(run.finish())
    died = await asyncio.to_thread(site.wait_for, "died")
    await run.reach(lambda event: event.event_type == COMPLETED and seconds_of(event) > died)
    events = await approving
    done = min(seconds_of(e) for e in events if e.event_type == COMPLETED and seconds_of(e) > died)
    lost = any(
        event.activity_task_started_event_attributes.attempt > 1
        for event in events
        if event.event_type == STARTED
    )
    return done - died, lost


async def kill_watching(client: Client, site: Site, image: str) -> float:
    """Kill the worker while a hand watches a container; return the time until it is watched again."""
    await asyncio.to_thread(site.start_worker)
    site.slate.lay(Plan(step=_WAITED_FOR, act="watch", image=image))
    run = await Run.begin(client, site.settings)
    await asyncio.to_thread(site.wait_for, "watching")
    await asyncio.sleep(random.uniform(0.2, 2.2))  # noqa: S311 - anywhere between two beats
    killed = time.time()
    os.kill(up.worker_pid(site.settings), signal.SIGKILL)
    again = await asyncio.to_thread(site.wait_for, "reattached")
    await run.finish()
    return again - killed


async def kill_server(client: Client, site: Site, *, at_gate: bool) -> tuple[float, float]:
    """Kill Temporal and start it again; return the time until it answers, and from there to progress.

    Either a run waits at its gate and is approved as soon as the server takes the approval, or a hand is
    at work and ends as soon as the server is back.
    """
    if not at_gate:
        site.slate.lay(Plan(step=_WAITED_FOR, act="wait"))
    run = await Run.begin(client, site.settings)
    if at_gate:
        await run.reach(lambda event: event.event_type == TIMER)
    else:
        await asyncio.to_thread(site.wait_for, "waiting")
    killed = time.time()
    os.kill(site.server_pid(), signal.SIGKILL)
    await asyncio.to_thread(site.start_server)
    back = time.time()
    if at_gate:
        await run.approve()
    else:
        site.slate.clear()
        site.slate.note("go")
    event = await run.reach(lambda event: event.event_type == SCHEDULED and seconds_of(event) > back)
    await (run.handle.result() if at_gate else run.finish())
    return back - killed, seconds_of(event) - back


# -- all of it ------------------------------------------------------------------------------------


@contextmanager
def throttled() -> Iterator[None]:
    """Have servers that are started meanwhile use Temporal's own limits instead of the product's."""
    kept = tuple(row for row in server.DYNAMIC_CONFIG if not any(word in row[0] for word in _THROTTLES))
    with mock.patch.object(server, "DYNAMIC_CONFIG", kept):
        yield


async def measure(runs: int, kills: int) -> Findings:
    """Measure everything, one after the other, on one server and one worker at a time."""
    settings = Settings()
    found = Findings("overhead", describe(settings.state))
    site = Site(settings)
    endpoint = await asyncio.to_thread(site.start_server)
    found.machine["Temporal"] = endpoint.version
    say(f"steps: {runs} recoveries")
    await asyncio.to_thread(site.start_worker)
    client = await _client(settings)
    steps = await measure_steps(client, settings, runs)
    bare = await measure_bare(client, runs, len(steps.taken) // runs)
    await asyncio.to_thread(site.stop_worker)
    await asyncio.to_thread(site.stop_server)
    say("the same, with the limits that Temporal comes with")
    with throttled():
        await asyncio.to_thread(site.start_worker)
        slow = await measure_steps(await _client(settings), settings, max(1, runs // 4))
        await asyncio.to_thread(site.stop_worker)
        await asyncio.to_thread(site.stop_server)
    await asyncio.to_thread(site.start_worker)
    client = await _client(settings)
    between, lost = await _between(client, site, kills)
    watched = await _watched(client, site, kills)
    await asyncio.to_thread(site.start_worker)
    gates = [await kill_server(client, site, at_gate=True) for _ in range(kills)]
    say(f"Temporal killed at a gate: {kills} times")
    hands = [await kill_server(client, site, at_gate=False) for _ in range(kills)]
    say(f"Temporal killed during a hand: {kills} times")
    _tell_steps(found, steps, bare, slow.taken)
    _tell_kills(found, between, lost, watched, gates, hands)
    return found


async def _client(settings: Settings) -> Client:
    return await connect("bench", settings.state)


async def _between(client: Client, site: Site, kills: int) -> tuple[list[float], list[float]]:
    """Kill until ``kills`` deaths fell between two steps; those that took a hand along are kept apart."""
    between: list[float] = []
    lost: list[float] = []
    for number in range(4 * kills):
        if len(between) == kills:
            break
        seconds, hand_lost = await kill_between(client, site, number)
        (lost if hand_lost else between).append(seconds)
        say(f"worker killed {'inside' if hand_lost else 'between'} steps: {seconds:.2f} s")
    return between, lost


async def _watched(client: Client, site: Site, kills: int) -> list[float]:
    engine = docker.from_env(timeout=60)
    image = tools_image(engine, site.settings.tools_image)
    engine.close()
    if not image:
        say("no tools image is there: kills inside a watched job are left out")
        return []
    taken: list[float] = []
    for _ in range(kills):
        taken.append(await kill_watching(client, site, image))
        say(f"worker killed inside a watched job: {taken[-1]:.2f} s")
    return taken


def _tell_steps(found: Findings, measured: Steps, bare: list[float], slow: list[float]) -> None:
    steps, events = measured.taken, measured.events
    middle = statistics.median(steps)
    ratio = middle / statistics.median(bare)
    parts = tuple((f"of it, {name}", *spread(taken, "ms"), "", "") for name, taken in measured.parts.items())
    rows = (
        ("a step of the runbook", *spread(steps, "ms"), "25 ms at the median",
         met(middle, STEP_TARGET_SECONDS)),
        *parts,
        ("a bare activity on the same server", *spread(bare, "ms"), "", ""),
        ("a step with Temporal's own limits", *spread(slow, "ms"), "", ""),
    )  # fmt: skip
    note = (
        f"{len(steps)} steps. A step of the runbook costs {ratio:.2f} times a bare activity. A whole"
        f" recovery has {events} events in its history (target: at most {EVENTS_TARGET},"
        f" {met(events, EVENTS_TARGET)})."
    )
    head = ("orchestration", "median", "95 %", "worst", "target", "")
    found.tables.append(Table("Orchestration a step, hands that only answer", head, rows, note))
    found.data |= {
        "step_seconds": steps,
        "bare_seconds": bare,
        "untuned_step_seconds": slow,
        "step_parts_seconds": measured.parts,
    }
    found.data["events"] = events


def _tell_kills(
    found: Findings,
    between: list[float],
    lost: list[float],
    watched: list[float],
    gates: list[tuple[float, float]],
    hands: list[tuple[float, float]],
) -> None:
    def row(what: str, taken: list[float], target: float | None) -> tuple[str, ...]:
        if not taken:
            return (what, "0", "not measured", "", "", "", "")
        judged = (f"{target:g} s", met(max(taken), target)) if target is not None else ("", "")
        return (what, str(len(taken)), *spread(taken), *judged)

    rows = (
        row("worker, between two steps", between, BETWEEN_TARGET_SECONDS),
        row("worker, a hand lost with it", lost, None),
        row("worker, inside a watched job", watched, WATCHED_TARGET_SECONDS),
        row("Temporal, run at a gate", [after for _, after in gates], SERVER_TARGET_SECONDS),
        row("Temporal, during a hand", [after for _, after in hands], SERVER_TARGET_SECONDS),
        row("Temporal, from its kill until it answers", [down for down, _ in (*gates, *hands)], None),
    )
    note = (
        "Worker: from the kill to the next step done, or to the job being watched again; its supervisor"
        " starts it again. Temporal: from the moment it answers again to the next step."
    )
    head = ("kill -9 of", "times", "median", "95 %", "worst", "target at worst", "")
    found.tables.append(Table("Until a run goes on after a kill", head, rows, note))
    found.data |= {
        "between_seconds": between,
        "hand_lost_seconds": lost,
        "watched_seconds": watched,
        "server_at_gate_seconds": gates,
        "server_during_hand_seconds": hands,
    }


def main() -> int:
    """Measure and print; 0 unless something could not be measured at all."""
    parser = options("overhead", (__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=20, help="recoveries, and kills of each kind")
    asked: argparse.Namespace = parser.parse_args()
    with own_place():
        deliver(asyncio.run(measure(asked.runs, asked.runs)), asked)
    return 0


if __name__ == "__main__":
    sys.exit(main())
