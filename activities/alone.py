"""One hand at a time: a second one on this host waits a while for the first, which may be frozen or slow."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from activities.pulse import beat
from domain.errors import Unavailable
from domain.paths import one_part

_WAIT_SECONDS = 60.0
_POLL_SECONDS = 0.25


@contextmanager
def alone(state: Path, what: str, *, wait_seconds: float = _WAIT_SECONDS) -> Iterator[None]:
    """Hold the lock ``what`` under ``state``; it ends with the process that holds it.

    Raises ``Unavailable`` (``at-work``) when another one keeps it.
    """
    directory = state / "locks"
    directory.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + wait_seconds
    with (directory / one_part(what, "the name of a lock")).open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Unavailable(
                        f"another attempt still works on {what}",
                        where=str(directory),
                        hint="it ends by itself, or with the worker that it runs in",
                        code="at-work",
                    ) from None
            beat(f"waiting for another attempt at {what}")
            time.sleep(_POLL_SECONDS)
        yield
