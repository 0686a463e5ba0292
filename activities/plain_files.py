"""Reads and writes files by paths on which no link is followed, one part after the other (F-K2).

A check of a path says nothing about the moment after it. So every directory is opened from the handle of
the one above, and what is read, replaced or given away is the very thing that the handle holds.
"""

import errno
import os
import re
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from activities import drafts

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without blocking: a pipe in the place of a file would hold the worker for ever.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def directory(path: Path) -> Iterator[int]:
    """Open a directory by its absolute path; close it afterwards. Raises ``OSError``, for a link too."""
    handle = os.open("/", _DIRECTORY)
    try:
        for part in path.parts[1:]:
            inner = _opened(part, _DIRECTORY, handle)
            os.close(handle)
            handle = inner
        yield handle
    finally:
        os.close(handle)


def names_in(handle: int) -> list[str]:
    """Return the names in a directory that is open, sorted."""
    return sorted(os.listdir(handle))


def names_at(path: Path) -> list[str]:
    """Return the names in a directory, sorted; none when it is missing or a link leads there."""
    try:
        with directory(path) as handle:
            return names_in(handle)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ELOOP, errno.ENOTDIR}:
            return []
        raise


def read(path: Path, limit_bytes: int) -> bytes:
    """Return the content of a regular file.

    Raises ``OSError`` for anything else there: a link, a pipe, a device, more than ``limit_bytes``.
    """
    with opened(path) as handle, os.fdopen(handle, "rb", closefd=False) as file:
        content = file.read(limit_bytes + 1)
    if len(content) > limit_bytes:
        raise OSError(errno.EFBIG, f"it is larger than {limit_bytes} bytes", path.name)
    return content


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """Open a regular file for reading; close it afterwards. Raises ``OSError`` for anything else there."""
    with directory(path.parent) as above:
        handle = _opened(path.name, _FILE, above)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", path.name)
        yield handle
    finally:
        os.close(handle)


@contextmanager
def written(path: Path, *, mode: int = 0o600) -> Iterator[BinaryIO]:
    """Write a file as large as it may be; it has its name when all of it is on the disk, else it is gone.

    One that was there is replaced. Raises ``OSError``, for a link on the way too.
    """
    with directory(path.parent) as above:
        fresh = f".{path.name[:200]}.{uuid.uuid4().hex[:8]}.new"
        handle = os.open(fresh, _NEW, mode, dir_fd=above)
        drafts.claim(handle)
        try:
            with os.fdopen(handle, "wb") as file:
                owner = os.fstat(above)
                os.fchown(handle, owner.st_uid, owner.st_gid)
                yield file
                file.flush()
                os.fsync(handle)
            os.rename(fresh, path.name, src_dir_fd=above, dst_dir_fd=above)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(fresh, dir_fd=above)
            raise
        os.fsync(above)


def replace(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Replace a file in one step; after a crash there is the old one or the new one.

    The new file belongs to the owner of its directory. What a dead attempt had written of it is removed.
    Raises ``OSError``, for a link on the way too.
    """

    def write() -> None:
        with written(path, mode=mode) as file:
            file.write(content)

    drafts.persistently(write)
    with directory(path.parent) as above:
        drafts.remove_abandoned(above, re.compile(rf"\.{re.escape(path.name[:200])}\.[0-9a-f]{{8}}\.new"))


def own(path: Path, uid: int, gid: int, mode: int = 0o700) -> None:
    """Make a directory that only this user enters; one that is there is corrected.

    Raises ``OSError``; what a link in its place points to is left as it is.
    """
    with directory(path.parent) as above:
        with suppress(FileExistsError):
            os.mkdir(path.name, mode, dir_fd=above)
        handle = _opened(path.name, _DIRECTORY, above)
        try:
            os.fchown(handle, uid, gid)
            os.fchmod(handle, mode)
        finally:
            os.close(handle)


def strange_in(path: Path) -> str:
    """Return the first thing below a directory that is neither file nor directory; or nothing."""
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            here = os.path.join(folder, name)  # noqa: PTH118 - speed: a backup has many files
            mode = os.lstat(here).st_mode
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                what = "a symbolic link" if stat.S_ISLNK(mode) else "no file"
                return f"{what}, which is not followed: {Path(here).relative_to(path)}"
    return ""


def _opened(name: str, flags: int, above: int) -> int:
    try:
        return os.open(name, flags, dir_fd=above)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENOTDIR} and stat.S_ISLNK(
            os.stat(name, dir_fd=above, follow_symlinks=False).st_mode
        ):
            raise OSError(errno.ELOOP, "a symbolic link is not followed", name) from None
        raise
