"""One hand at a time: a second one on this host waits a while for the first, which may be frozen or slow.

A lock is a file, which goes with whoever held it: names of entries would pile up. So whoever gets one looks
whether its file still has the name; if not, somebody else may hold another file of that name by now.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from activities.pulse import beat
from domain.errors import Unavailable
from domain.paths import one_part

_WAIT_SECONDS = 60.0
_POLL_SECONDS = 0.25
_LEFT_SECONDS = 3600.0
"""A file this old that nobody holds was left by a process that was killed."""


@contextmanager
def alone(state: Path, what: str, *, wait_seconds: float = _WAIT_SECONDS) -> Iterator[None]:
    """Hold the lock ``what`` under ``state``; it ends with the process that holds it.

    Raises ``Unavailable`` (``at-work``) when another one keeps it.
    """
    directory = state / "locks"
    path = directory / one_part(what, "the name of a lock")
    directory.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + wait_seconds
    while (handle := _held(path)) is None:
        if time.monotonic() > deadline:
            raise Unavailable(
                f"another attempt still works on {what}",
                where=str(directory),
                hint="it ends by itself, or with the worker that it runs in",
                code="at-work",
            )
        beat(f"waiting for another attempt at {what}")
        time.sleep(_POLL_SECONDS)
    try:
        yield
    finally:
        try:
            # Before the lock ends: afterwards the name may be another's.
            if _is_named(path, handle):
                path.unlink(missing_ok=True)
        finally:
            # Else a name that cannot be removed would keep the lock for as long as this process lives.
            os.close(handle)
        _sweep(directory)


def _held(path: Path) -> int | None:
    """Return a handle that holds the lock of this name, or ``None`` while another one holds it."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return None
        if _is_named(path, handle):
            return handle
        os.close(handle)  # it was removed while we came: the name is free, or another one's


def _is_named(path: Path, handle: int) -> bool:
    mine = os.fstat(handle)
    with suppress(FileNotFoundError):
        there = path.lstat()
        return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)
    return False


def _sweep(directory: Path) -> None:
    """Remove old files that nobody holds; a lock that cannot be looked at now is left for the next time."""
    with suppress(OSError):
        for path in directory.iterdir():
            if time.time() - path.lstat().st_mtime < _LEFT_SECONDS:
                continue
            handle = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_named(path, handle):
                    path.unlink()
            except BlockingIOError:
                continue
            finally:
                os.close(handle)
