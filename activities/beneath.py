"""Opens files below a directory, one part after the other: a link on the way is never followed (F-K2).

A check of a path says nothing about the moment after it. So every directory is opened from the handle of
the one above, and what is read, written or given away is the thing that the handle holds.
"""

import errno
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without blocking: a pipe in the place of a file would hold the worker for ever.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@contextmanager
def directory(root: Path, relative: str = "") -> Iterator[int]:
    """Open the directory ``root/relative`` and close it afterwards; ``root`` itself may be a link.

    Raises ``OSError``, for a link too.
    """
    handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in Path(relative).parts:
            inner = _opened(part, _DIRECTORY, handle)
            os.close(handle)
            handle = inner
        yield handle
    finally:
        os.close(handle)


def read(root: Path, relative: str, limit_bytes: int) -> bytes:
    """Return the content of a regular file below ``root``.

    Raises ``OSError`` for anything else there: a link, a pipe, a device, more than ``limit_bytes``.
    """
    where = Path(relative)
    with directory(root, str(where.parent)) as above:
        handle = _opened(where.name, _FILE, above)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise OSError(errno.EINVAL, "it is no regular file", where.name)
            content = file.read(limit_bytes + 1)
    if len(content) > limit_bytes:
        raise OSError(errno.EFBIG, f"it is larger than {limit_bytes} bytes", where.name)
    return content


def replace(root: Path, relative: str, content: bytes, *, mode: int = 0o600) -> None:
    """Replace a file below ``root`` in one step; after a crash there is the old one or the new one.

    The new file belongs to the owner of its directory. Raises ``OSError``, for a link on the way too.
    """
    where = Path(relative)
    with directory(root, str(where.parent)) as above:
        fresh = f".{where.name}.{uuid.uuid4().hex[:8]}.new"
        handle = os.open(
            fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=above
        )
        try:
            with os.fdopen(handle, "wb") as file:
                owner = os.fstat(above)
                os.fchown(handle, owner.st_uid, owner.st_gid)
                file.write(content)
                file.flush()
                os.fsync(handle)
            os.rename(fresh, where.name, src_dir_fd=above, dst_dir_fd=above)
        except BaseException:
            os.unlink(fresh, dir_fd=above)
            raise
        os.fsync(above)


def own(root: Path, relative: str, uid: int, gid: int, mode: int = 0o700) -> None:
    """Make a directory below ``root`` that only this user enters; one that is there is corrected.

    Raises ``OSError``; what a link in its place points to is left as it is.
    """
    where = Path(relative)
    with directory(root, str(where.parent)) as above:
        with suppress(FileExistsError):
            os.mkdir(where.name, mode, dir_fd=above)
        handle = _opened(where.name, _DIRECTORY, above)
        try:
            os.fchown(handle, uid, gid)
            os.fchmod(handle, mode)
        finally:
            os.close(handle)


def _opened(name: str, flags: int, above: int) -> int:
    try:
        return os.open(name, flags, dir_fd=above)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENOTDIR} and stat.S_ISLNK(
            os.stat(name, dir_fd=above, follow_symlinks=False).st_mode
        ):
            raise OSError(errno.ELOOP, "a symbolic link is not followed", name) from None
        raise
