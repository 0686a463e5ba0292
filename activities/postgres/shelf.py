"""PostgreSQL's part of the shelf: its directories, its password file, the WAL it holds."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from activities import plain_files
from activities.catalogue import BASE
from activities.postgres.sql import Sql
from domain.errors import Refused, Unavailable
from domain.order import Target
from domain.paths import host_path
from domain.wal import Archive, History, history_of, is_segment, parse_history
from domain.wal_header import HEADER_BYTES, is_of

MOUNT = "/shelf"
"""Where containers of ours see ``<shelf>/postgres``."""
WAL = Path("postgres") / "wal"
_PASSFILE = ".pgpass"
_PARTIAL = ".partial"
_HISTORY_LIMIT_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Received:
    """The WAL on a shelf and the time of its newest bytes."""

    archive: Archive
    newest_at: datetime | None


def prepare(target: Target) -> Path:
    """Make PostgreSQL's directories on the shelf, owned by the server's user, and return the first.

    Raises ``Refused`` when this process may not do so.
    """
    shelf = Path(target.shelf)
    root = shelf / "postgres"
    try:
        shelf.mkdir(parents=True, exist_ok=True)
        for directory in (root, shelf / BASE, shelf / WAL):
            own(directory, target)
    except OSError as error:
        raise Refused(
            f"the shelf cannot be prepared: {error.filename}: {error.strerror}",
            where=str(root),
            hint="the worker of the host needs to run as root, or the shelf to be given to it",
            code="shelf-unusable",
        ) from None
    return root


def own(directory: Path, target: Target) -> None:
    """Make a directory that only the server's user enters; one that is there is corrected."""
    try:
        plain_files.own(directory, target.postgres.uid, target.postgres.gid)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise Refused(str(error.strerror), where=str(directory), code="shelf-unusable") from None


def archive_of(target: Target) -> str:
    """Return the host path of the archive; ``Refused`` when a link stands in the place of a directory."""
    path = Path(host_path(target.shelf, "the shelf")) / WAL
    try:
        with plain_files.directory(path):
            return str(path)
    except OSError as error:
        raise Refused(
            f"the archive cannot be mounted: {error.strerror}", where=str(path), code="shelf-unusable"
        ) from None


def connection_environment(sql: Sql, target: Target) -> dict[str, str]:
    """Return the environment for PostgreSQL's programs in our containers.

    A password goes into a file that only the server's user reads, never into argv or environment.
    """
    environment = {"PGCONNECT_TIMEOUT": "5"}
    password = sql.password(target.project, target.postgres)
    if password:
        user, secret = (_escaped(word) for word in (target.postgres.user, password))
        path = Path(target.shelf) / "postgres" / _PASSFILE
        plain_files.replace(path, f"*:*:*:{user}:{secret}\n".encode())
        environment["PGPASSFILE"] = f"{MOUNT}/{_PASSFILE}"
    return environment


def read_received(shelf: Path, segment_bytes: int, uid: int, system_identifier: str = "") -> Received:
    """Return the WAL of all receiver generations that user ``uid`` can use in a recovery.

    Files of a wrong size are left out, unreadable ones, and with ``system_identifier`` those that begin
    with other WAL than their name says or are of another cluster: to a recovering server none of them
    is there, and it would end early without an error.
    """
    closed: set[str] = set()
    partial: set[str] = set()
    histories: dict[int, History] = {}
    newest = 0.0
    for path in _files(shelf / WAL):
        found = path.lstat()
        size, changed = found.st_size, found.st_mtime
        timeline = history_of(path.name)
        if not (found.st_mode & (0o400 if found.st_uid == uid else 0o004)):
            continue
        if timeline is not None:
            _note_history(histories, timeline, path)
        elif is_segment(path.name) and size == segment_bytes:
            if not system_identifier or _begins_as_named(path, segment_bytes, system_identifier):
                closed.add(path.name)
                newest = max(newest, changed)
        elif path.name.endswith(_PARTIAL) and is_segment(path.stem) and size:
            partial.add(path.stem)
            newest = max(newest, changed)
    at = datetime.fromtimestamp(newest, UTC) if newest else None
    return Received(Archive(closed, partial - closed, histories), at)


@contextmanager
def asking(where: str) -> Iterator[None]:
    """Turn what the server answers to our own queries into ``Unavailable``."""
    try:
        yield
    except psycopg.Error as error:
        raise Unavailable(
            f"PostgreSQL did not carry out a query of ours: {str(error).strip().partition(chr(10))[0]}",
            where=where,
            code="postgres-unavailable",
        ) from None


def _files(root: Path) -> Iterator[Path]:
    if not root.is_dir():
        return
    for directory in sorted(root.iterdir()):
        if directory.is_dir() and not directory.is_symlink():
            yield from (path for path in directory.iterdir() if path.is_file() and not path.is_symlink())


def _begins_as_named(path: Path, segment_bytes: int, system_identifier: str) -> bool:
    try:
        with plain_files.opened(path) as handle:
            first = os.read(handle, HEADER_BYTES)
    except OSError:
        return False
    return is_of(first, path.name, segment_bytes, system_identifier)


def _note_history(histories: dict[int, History], timeline: int, path: Path) -> None:
    try:
        histories[timeline] = parse_history(plain_files.read(path, _HISTORY_LIMIT_BYTES).decode())
    except (ValueError, OSError):
        return


def _escaped(word: str) -> str:
    return word.replace("\\", "\\\\").replace(":", "\\:")
