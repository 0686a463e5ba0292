"""Several transfers at once, watched by the thread that speaks to Temporal."""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import TypeVar

from activities.offsite_progress import Progress
from activities.pulse import beat

T = TypeVar("T")
R = TypeVar("R")
_LOOK_SECONDS = 0.5


def together(
    act: Callable[[T], R], items: Iterable[T], *, parallel: int, progress: Progress, stopped: threading.Event
) -> list[R]:
    """Do something for each, several at once, and say how far it is; return what came of each, in order.

    The first failure sets ``stopped``, which transfers look at, and is raised when all have ended.
    """
    with ThreadPoolExecutor(parallel) as pool:
        # The token of this attempt belongs to its context; without it a late thread would not be stopped.
        futures = [pool.submit(copy_context().run, act, item) for item in items]
        waiting = set(futures)
        try:
            while waiting:
                done, waiting = wait(waiting, _LOOK_SECONDS, FIRST_EXCEPTION)
                for one in done:
                    one.result()
                beat(progress.sentence())
        except BaseException:
            stopped.set()
            for one in waiting:
                one.cancel()
            raise
    return [one.result() for one in futures]
