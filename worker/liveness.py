"""Around every hand: it is kept alive while it works, and its errors are named."""

import asyncio
import contextlib
import inspect
import threading
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
)

from activities import pulse
from domain.errors import DrError, Unavailable


class Liveness(Interceptor):
    """Heartbeats as long as this process lives, so that a killed worker is noticed soon.

    A hand that hangs is another matter: its own limits end it.
    """

    def __init__(self, every_seconds: float) -> None:
        """Beat once in ``every_seconds``."""
        self._every = every_seconds

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 - the SDK names it so
        """Wrap the next interceptor."""
        return _Alive(next, self._every)


class _Alive(ActivityInboundInterceptor):
    def __init__(self, next_: ActivityInboundInterceptor, every_seconds: float) -> None:
        super().__init__(next_)
        self._every = every_seconds

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002, ANN401 - the SDK names and types it so
        """Run the hand with a beat beside it."""
        said, over = pulse.listen(), threading.Event()
        if inspect.iscoroutinefunction(input.fn):
            beating = asyncio.create_task(self._beat(said))
        else:
            # In a hand that runs in a thread, the SDK's heartbeat waits for the event loop.
            beating = asyncio.create_task(asyncio.to_thread(self._beat_in_thread, said, over))
        try:
            return await self.next.execute_activity(input)
        except DrError as error:
            raise ApplicationError(
                str(error),
                error.code,
                type=type(error).__name__,
                non_retryable=not isinstance(error, Unavailable),
            ) from error
        finally:
            over.set()
            beating.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await beating

    async def _beat(self, said: pulse.Said) -> None:
        while True:
            activity.heartbeat(said.sentence)
            await asyncio.sleep(self._every)

    def _beat_in_thread(self, said: pulse.Said, over: threading.Event) -> None:
        while not over.wait(self._every):
            with contextlib.suppress(TimeoutError):
                activity.heartbeat(said.sentence)
