"""What the hand at work says of itself, shown while a command waits: one line, renewed in its place."""

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.status import Status
from temporalio.client import WorkflowExecutionDescription, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import RPCError

from starter.answer import people, plain

_LOOK_EVERY_SECONDS = 0.5
_LINE_EVERY_SECONDS = 10.0


class Line:
    """On a terminal one line that is renewed; elsewhere a line now and then, when it says something new."""

    def __init__(self, console: Console = people, clock: Callable[[], float] = time.monotonic) -> None:
        """Write to ``console``, which is never standard output."""
        self._console = console
        self._clock = clock
        self._status: Status | None = None
        self._said = ""
        self._said_at: float | None = None

    def __enter__(self) -> Self:
        """Show nothing yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the line away."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    def show(self, sentence: str) -> None:
        """Show a sentence in the place of the one before it."""
        if not sentence or sentence == self._said:
            return
        if self._console.is_terminal:
            if self._status is None:
                self._status = self._console.status(plain(sentence))
                self._status.start()
            self._status.update(plain(sentence))
        elif self._said_at is not None and self._clock() - self._said_at < _LINE_EVERY_SECONDS:
            return
        else:
            self._console.print(plain(sentence))
        self._said, self._said_at = sentence, self._clock()


async def shown_while(handle: WorkflowHandle[Any, Any], line: Line) -> None:
    """Show what the run's hands say, until this is cancelled; that a look failed is no news."""
    while True:
        await asyncio.sleep(_LOOK_EVERY_SECONDS)
        try:
            line.show(await said_by(await handle.describe()))
        except RPCError:
            continue


async def said_by(described: WorkflowExecutionDescription) -> str:
    """Return the last heartbeats of the hands that are at work, or why one is tried again."""
    said = []
    for pending in described.raw_description.pending_activities:
        if pending.HasField("heartbeat_details"):
            found = await pydantic_data_converter.decode(pending.heartbeat_details.payloads)
            said += [one for one in found[:1] if isinstance(one, str)]
        if pending.attempt > 1 and pending.HasField("last_failure"):
            said.append(f"attempt {pending.attempt}, for the last one failed: {pending.last_failure.message}")
    return "; ".join(said)
