"""Around every hand: it is kept alive while it works, and its errors are named."""

import asyncio
import contextlib
import inspect
import threading
from typing import Any

from pydantic import BaseModel
from temporalio import activity
from temporalio.exceptions import ApplicationError, CancelledError, FailureError
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
)

from activities import pulse
from domain.errors import DrError, Refused, Unavailable
from domain.inert import quoted

_LARGEST_BYTES = 1_500_000


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
            return _of_a_size(await self.next.execute_activity(input))
        except CancelledError as error:
            # The SDK says nothing of an attempt that was called off.
            activity.logger.info(str(error))
            raise
        except FailureError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it goes into the history
            raise _told(error) from None
        finally:
            over.set()
            beating.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await beating

    async def _beat(self, said: pulse.Said) -> None:
        while True:
            activity.heartbeat(quoted(said.sentence))
            await asyncio.sleep(self._every)

    def _beat_in_thread(self, said: pulse.Said, over: threading.Event) -> None:
        while not over.wait(self._every):
            with contextlib.suppress(TimeoutError):
                activity.heartbeat(quoted(said.sentence))


def _told(error: Exception) -> ApplicationError:
    """Return what the history is told of an error: its own words, without the errors that led to it.

    Those are libraries' and hold whatever a system answered; they are in the log, which quotes them too.
    """
    if not isinstance(error, DrError):
        activity.logger.warning("a hand failed in a way of its own", exc_info=error)
        return ApplicationError(quoted(str(error)), "unexpected", type=type(error).__name__)
    if error.__cause__ is not None:
        activity.logger.info(str(error), exc_info=error)
    return ApplicationError(
        str(error),
        error.code,
        {"what": error.what, "where": error.where, "hint": error.hint},
        type=type(error).__name__,
        non_retryable=not isinstance(error, Unavailable),
    )


def _of_a_size(answer: object) -> object:
    """Return an answer that the server takes. One that is too large would be sent again and again."""
    if isinstance(answer, BaseModel):
        size = len(answer.model_dump_json().encode())
        if size > _LARGEST_BYTES:
            raise Refused(
                f"the step's answer has {size / 1e6:.1f} MB; Temporal takes {_LARGEST_BYTES / 1e6:.1f} MB",
                where=type(answer).__name__,
                hint="look at what it names: a shelf full of strangers, a database of many thousand tables",
                code="answer-too-large",
            )
    return answer
