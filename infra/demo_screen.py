"""What the demonstration shows: one line a step, a bar for what is long."""

import asyncio
import time
from collections.abc import Awaitable
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError

from domain.durations import spoken
from domain.errors import Unavailable
from domain.incident import StatusView
from starter import orchestrator
from starter.answer import plain

T = TypeVar("T")

_LOOK_EVERY_SECONDS = 0.4
_STEP = 0.25


class Screen:
    """Prints with the time since the start; a bar moves only on a terminal."""

    def __init__(self, began: float) -> None:
        """``began`` is a Unix time."""
        self._began = began
        self.console = Console(highlight=False, soft_wrap=True)
        self._bar = Progress(
            TextColumn("        {task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"),
            console=self.console, transient=True,
        )  # fmt: skip
        self._task: TaskID | None = None
        self._told = ("", -1.0)
        self._seen: set[str] = set()

    def say(self, line: str) -> None:
        """Print one line."""
        self.console.print(f"[dim]{time.time() - self._began:6.1f} s[/] {plain(line)}")

    def chapter(self, title: str) -> None:
        """Begin a part."""
        self._close_bar()
        self.console.print(f"\n[bold]{plain(title)}[/]")

    def event(self, line: str) -> None:
        """Print what was done to the recovery from outside."""
        self.console.print(f"[dim]{time.time() - self._began:6.1f} s[/] [bold red]{plain(line)}[/]")

    def failed(self, line: str) -> None:
        """Print why the demonstration failed."""
        self._close_bar()
        self.console.print(f"[bold red]failed:[/] {plain(line)}")

    def progress(self, line: str, fraction: float | None) -> None:
        """Show one line of progress; with a fraction, a bar on a terminal and quarters elsewhere."""
        if fraction is None or fraction >= 1:
            self._close_bar()
            self.say(line)
        elif self.console.is_terminal:
            if self._task is None:
                self._bar.start()
                self._task = self._bar.add_task(plain(line), total=1.0)
            self._bar.update(self._task, description=plain(line), completed=fraction)
        elif line != self._told[0] or fraction >= self._told[1] + _STEP:
            self._told = (line, fraction)
            self.say(f"{line} {fraction:4.0%}")

    def _close_bar(self) -> None:
        if self._task is not None:
            self._bar.remove_task(self._task)
            self._bar.stop()
            self._task = None

    def news(self, view: StatusView) -> None:
        """Print the steps that ended since the last look."""
        for line in view.lines:
            words = line.split(" ", 2)
            if line not in self._seen and words[1:2] != ["running"]:
                self._close_bar()
                self.say(" ".join(words[1:]))
            self._seen.add(line)

    async def pulse(self, client: Client, handle: WorkflowHandle[Any, Any]) -> None:
        """Show what the pending step says of itself, then wait a moment."""
        try:
            described = await client.get_workflow_handle(handle.id).describe()
        except RPCError:
            await asyncio.sleep(_LOOK_EVERY_SECONDS)
            return
        for pending in described.raw_description.pending_activities:
            said = [p.data.decode(errors="replace").strip('"') for p in pending.heartbeat_details.payloads]
            if said and self.console.is_terminal:
                self.console.print(f"          [dim]{plain(said[0])[:100]}[/]", end="\r")
        await asyncio.sleep(_LOOK_EVERY_SECONDS)

    async def watch(self, client: Client, handle: WorkflowHandle[Any, Any], end: Awaitable[T]) -> T:
        """Show a run until it ends, and return its result."""
        task = asyncio.ensure_future(end)
        while not task.done():
            try:
                view = await orchestrator.look(client, handle.id)
                if view is not None:
                    self.news(view)
            except Unavailable:
                pass  # it has no query, or its worker is away
            await self.pulse(client, handle)
        return await task

    def brief(self, view: StatusView) -> None:
        """Show the brief of the gate."""
        self._close_bar()
        self.console.print(f"\n[bold]Gate {plain(view.gate)}: {plain(view.question)}[/]")
        for fact in view.brief:
            self.console.print(f"  · {plain(fact)}")
        self.console.print(f"  digest {plain(view.digest)}\n")

    def figures(self, known: dict[str, object], set_up: float, limits: tuple[int, int]) -> None:
        """Print how long the demonstration took, on a machine that had nothing and the time after."""
        self.console.print()
        self.say(f"of this run, set-up took {spoken(set_up)}")
        for key, words, limit in (
            ("first_seconds", "on a machine that had nothing of it", limits[0]),
            ("again_seconds", "again, with everything there", limits[1]),
        ):
            took = known.get(key)
            measured = spoken(float(str(took))) if took is not None else "not measured yet"
            self.say(f"make demo {words}: {measured} (at most {spoken(float(limit))})")
