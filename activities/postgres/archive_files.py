"""The closed WAL segments of an archive, for those who judge and remove them."""

import errno
import os
import re
import stat
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from activities import plain_files
from activities.postgres.shelf import WAL
from domain.wal import is_segment
from domain.wal_retention import Segment

_OURS = re.compile(r"dr_recv_[a-z0-9_]{1,50}")
_SIZES = {2**power for power in range(20, 31)}
"""What ``initdb --wal-segsize`` accepts, in bytes: a file of another size is no whole segment."""


def closed_segments(shelf: Path) -> list[Segment]:
    """Return the whole segments in the directories of our receivers. Raises ``OSError``.

    Files of other names, links, unfinished segments and directories of others are not among them.
    """
    receivers = [name for name in plain_files.names_at(shelf / WAL) if _OURS.fullmatch(name)]
    return [segment for name in receivers for segment in _segments_in(shelf, str(WAL / name))]


def remove_segments(shelf: Path, directory: str, doomed: Iterable[Segment]) -> tuple[int, int]:
    """Remove segments of a directory that are as they were judged; return how many, and their bytes."""
    removed = freed = 0
    with plain_files.directory(shelf / directory) as handle:
        for segment in doomed:
            with suppress(FileNotFoundError):
                if _read(directory, segment.name, handle) == segment:
                    os.unlink(segment.name, dir_fd=handle)
                    removed, freed = removed + 1, freed + segment.bytes
        os.fsync(handle)
    return removed, freed


def _segments_in(shelf: Path, directory: str) -> list[Segment]:
    try:
        with plain_files.directory(shelf / directory) as handle:
            read = [
                _read(directory, name, handle) for name in plain_files.names_in(handle) if is_segment(name)
            ]
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENOTDIR}:
            return []
        raise
    return [segment for segment in read if segment is not None]


def _read(directory: str, name: str, handle: int) -> Segment | None:
    try:
        found = os.stat(name, dir_fd=handle, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode) or found.st_size not in _SIZES:
        return None
    written = datetime.fromtimestamp(found.st_mtime, UTC)
    return Segment(directory=directory, name=name, bytes=found.st_size, at=written)
