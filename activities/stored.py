"""The files of a backup: listed when it is finished, and compared with that list ever after."""

import errno
import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from activities import plain_files
from activities.offsite_progress import Progress
from activities.pulse import beat
from domain.entries import ENTRY, StoredFile
from domain.errors import BackupUnusable

_DRAFT = re.compile(r"\.dr\.json\.[0-9a-f]{8}\.new")
_CHUNK_BYTES = 1 << 20
_BEAT_BYTES = 64 << 20
# Without blocking: a pipe in the place of a file would hold the worker for ever.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def stored_files(directory: Path) -> tuple[StoredFile, ...]:
    """Return every file below a directory with its size and SHA-256, sorted by path; not the entry's own.

    Raises ``BackupUnusable`` where something else than files and directories lies there.
    """
    strange = plain_files.strange_in(directory)
    if strange:
        raise _damaged(f"it holds {strange}", directory)
    try:
        return tuple(stored_file(directory, name) for name in names_in(directory))
    except OSError as error:
        raise _damaged(f"{Path(error.filename or '').name}: {error.strerror}", directory) from None


def names_in(directory: Path) -> list[str]:
    """Return the paths of all files below a directory, relative to it and sorted; not the entry's own."""
    found = []
    for folder, _, files in os.walk(directory):
        found += [str(Path(folder, name).relative_to(directory)) for name in files]
    # Beside the entry there may be its next version, which a killed worker had not given its name yet.
    return sorted(name for name in found if name != ENTRY and _DRAFT.fullmatch(name) is None)


def what_differs(directory: Path, files: tuple[StoredFile, ...]) -> str:
    """Compare a directory with the list of its files; return the first difference, or nothing.

    Every byte is read: neither size nor time of a file say what is in it (F-C2, F-C3).
    """
    strange = plain_files.strange_in(directory)
    if strange:
        return f"it holds {strange}"
    listed = {file.path for file in files}
    surplus = [name for name in names_in(directory) if name not in listed]
    if surplus:
        return f"it holds a file that is not on its list: {surplus[0]}"
    # Sizes first: they cost nothing, and a truncated file needs not be read.
    for file in files:
        there = Path(directory, file.path)
        size = there.lstat().st_size if there.is_file() else None
        if size is None:
            return f"{file.path} is missing"
        if size != file.bytes:
            return f"{file.path} has {size:,} bytes, it had {file.bytes:,}"
    return _altered(directory, files)


def _altered(directory: Path, files: tuple[StoredFile, ...]) -> str:
    for file in files:
        try:
            now = stored_file(directory, file.path)
        except OSError as error:
            return f"{file.path} cannot be read: {error.strerror}"
        if now != file:
            return f"{file.path} has other bytes than it had: SHA-256 {now.sha256[:16]}…"
    return ""


def sync_tree(directory: Path) -> None:
    """Have every file and directory below a directory on the disk."""
    for folder, _, files in os.walk(directory):
        for name in files:
            _sync(Path(folder), name)
        with plain_files.directory(Path(folder)) as handle:
            os.fsync(handle)


def _sync(folder: Path, name: str) -> None:
    with plain_files.directory(folder) as above:
        handle = os.open(name, _FILE, dir_fd=above)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def stored_file(directory: Path, name: str) -> StoredFile:
    """Return one file as it is now. Raises ``OSError``."""
    whole, size = hashlib.sha256(), 0
    progress = Progress(f"reading {name}", (directory / name).lstat().st_size)

    def tell(done: int) -> None:
        progress.at(done)
        beat(progress.sentence())

    for chunk in chunks(directory / name, tell):
        whole.update(chunk)
        size += len(chunk)
    return StoredFile(path=name, bytes=size, sha256=whole.hexdigest())


def chunks(path: Path, tell: Callable[[int], None]) -> Iterator[bytes]:
    """Yield the content of a regular file by whose path no link is followed; else raise ``OSError``."""
    with plain_files.directory(path.parent) as above:
        handle = os.open(path.name, _FILE, dir_fd=above)
    with os.fdopen(handle, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", path.name)
        done = 0
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk
            done += len(chunk)
            if done % _BEAT_BYTES < len(chunk):
                tell(done)


def _damaged(what: str, directory: Path) -> BackupUnusable:
    return BackupUnusable(what, where=str(directory), code="backup-damaged")
