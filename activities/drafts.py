"""Drafts: files that are being written beside their place, each under a name that no other attempt has.

Whoever writes one holds a lock on it, which ends with its process. So a draft that nobody holds is what a
dead attempt left.
"""

import fcntl
import os
import re
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_TIMES = 3


def claim(handle: int) -> None:
    """Hold a draft that was just made, as long as it is open."""
    with suppress(OSError):  # a filesystem without locks: there none is ever taken for abandoned
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def remove_abandoned(directory: int, pattern: re.Pattern[str]) -> None:
    """Remove the drafts of these names from an open directory that nobody holds any more."""
    for name in os.listdir(directory):
        if pattern.fullmatch(name) is None:
            continue
        with suppress(OSError):
            handle = os.open(name, _READ, dir_fd=directory)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(name, dir_fd=directory)
            finally:
                os.close(handle)


def persistently(write: Callable[[], T]) -> T:
    """Write once more when the draft is gone: somebody looked between its making and its claim."""
    for _ in range(_TIMES - 1):
        with suppress(FileNotFoundError):
            return write()
    return write()
