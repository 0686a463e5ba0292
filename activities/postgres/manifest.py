"""What a backup's own files say of it, and whether they are all there and unchanged."""

import hashlib
import json
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any

from activities import plain_files
from activities.catalogue import data_directory
from activities.engine import Engine, Job
from activities.postgres.unreadable import refuse_unreadable
from activities.reading import Reading
from domain.backups import Backup
from domain.choice import major_version
from domain.errors import BackupUnusable
from domain.order import Target
from domain.paths import host_path, path_under
from domain.wal import format_lsn, is_segment, parse_lsn

_LIMIT_SECONDS = 6 * 3600.0
SHELF = "/shelf"
"""Where a container sees PostgreSQL's part of the shelf."""
_MANIFEST_LIMIT_BYTES = 256 * 1024 * 1024
_CONTROL_LIMIT_BYTES = 64 * 1024
_VERSION_LIMIT_BYTES = 100
_SKEW = timedelta(hours=2)
"""So far the clocks of host and server may stand apart before a backup is called older than it says."""


@dataclass(frozen=True)
class BackupFacts:
    """What manifest and control file state; ``bytes`` is measured."""

    system_identifier: str
    timeline: int
    start_lsn: str
    stop_lsn: str
    sha256: str
    bytes: int
    newest_at: datetime | None = None
    """The newest time that the manifest states of a file; the backup ended no earlier."""


def read_facts(data: Path) -> BackupFacts:
    """Read a backup's facts from its data directory; ``BackupUnusable`` names what is missing."""
    try:
        raw = plain_files.read(data / "backup_manifest", _MANIFEST_LIMIT_BYTES)
        stated = json.loads(raw)
        reach = stated["WAL-Ranges"][0]
        control = plain_files.read(data / "global" / "pg_control", _CONTROL_LIMIT_BYTES)
        # The control file begins with the system identifier on every version, in native byte order.
        identifier = struct.unpack_from("=Q", control)[0]
        return BackupFacts(
            system_identifier=str(identifier),
            timeline=int(reach["Timeline"]),
            start_lsn=format_lsn(parse_lsn(str(reach["Start-LSN"]))),
            stop_lsn=format_lsn(parse_lsn(str(reach["End-LSN"]))),
            sha256=hashlib.sha256(raw).hexdigest(),
            bytes=size_of(data),
            newest_at=_newest_in(stated),
        )
    except OSError as error:
        missing = Path(error.filename or "").name
        raise _unusable(f"{missing} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError, struct.error):
        raise _unusable("its manifest or control file is not readable as one") from None


def _newest_in(stated: Mapping[str, Any]) -> datetime | None:
    times = [str(file["Last-Modified"]) for file in stated.get("Files", ()) if "Last-Modified" in file]
    newest = max(times, default=None)
    if newest is None:
        return None
    return datetime.strptime(newest, "%Y-%m-%d %H:%M:%S GMT").replace(tzinfo=UTC)


def size_of(directory: Path) -> int:
    """Return the bytes of all files below a directory."""
    total = 0
    for folder, _, files in os.walk(directory):
        total += sum(os.lstat(os.path.join(folder, name)).st_size for name in files)  # noqa: PTH118 - speed
    return total


def own_segments(data: Path, segment_bytes: int) -> set[str]:
    """Return the WAL segments that the backup brings itself."""
    wal = data / "pg_wal"
    if not wal.is_dir():
        return set()
    return {p.name for p in wal.iterdir() if is_segment(p.name) and p.lstat().st_size == segment_bytes}


def what_is_wrong(
    engine: Engine, target: Target, backup: Backup, *, name: str, labels: Mapping[str, str]
) -> str:
    """Compare a backup on the shelf with its entry and its manifest; return what is wrong, or nothing."""
    data = data_directory(Path(target.shelf), backup.id)
    strange = plain_files.strange_in(data)
    if strange:
        return f"it holds {strange}"
    try:
        facts = read_facts(data)
    except BackupUnusable as error:
        return error.what
    if facts.sha256 != backup.sha256:
        return "its manifest is not the one that was recorded"
    if facts.system_identifier != backup.system_identifier:
        return f"its control file is of system {facts.system_identifier}, not {backup.system_identifier}"
    misstated = _misstated(facts, backup) or _other_version(data, backup)
    if misstated:
        return misstated
    return verify_manifest(engine, target, data, name=name, labels=labels)


def _misstated(facts: BackupFacts, backup: Backup) -> str:
    """Return how an entry says otherwise than its manifest: of which WAL it is, or that it is younger."""
    stated = (facts.timeline, parse_lsn(facts.start_lsn), parse_lsn(facts.stop_lsn))
    if stated != (backup.timeline, parse_lsn(backup.start_lsn), parse_lsn(backup.stop_lsn)):
        return (
            f"its manifest is of {facts.start_lsn} to {facts.stop_lsn} on timeline {facts.timeline},"
            f" its entry says {backup.start_lsn} to {backup.stop_lsn} on {backup.timeline}"
        )
    if facts.newest_at is not None and backup.started_at - facts.newest_at > _SKEW:
        return (
            f"it is older than it says: its newest file is of {facts.newest_at:%Y-%m-%d %H:%M:%S},"
            f" its entry lets it begin at {backup.started_at:%Y-%m-%d %H:%M:%S}"
        )
    return ""


def _other_version(data: Path, backup: Backup) -> str:
    """Return that the files are of another major version than the entry says, or nothing."""
    try:
        found = plain_files.read(data / "PG_VERSION", _VERSION_LIMIT_BYTES).decode().strip()
    except (OSError, ValueError):
        return ""  # its manifest lists it
    said = major_version(backup.server_version)
    return "" if found == said else f"its files are of PostgreSQL {found}, its entry says {said}"


def verify_manifest(
    engine: Engine, target: Target, data: Path, *, name: str, labels: Mapping[str, str]
) -> str:
    """Run ``pg_verifybackup`` now, without network; return its first complaint, or nothing.

    Raises ``Refused`` (``backup-unreadable``) when it was not let in, which says nothing of the backup. An
    answer that an earlier attempt left behind is thrown away: it may be stale.
    """
    server = target.postgres
    job = Job(
        name=name,
        image_id=server.image_id,
        entrypoint=("pg_verifybackup",),
        command=(str(seen_at(target, data)),),
        user=f"{server.uid}:{server.gid}",
        binds={host_path(f"{target.shelf}/postgres", "the shelf"): f"{SHELF}:ro"},
        labels=labels,
    )
    old = engine.look(name)
    if old is not None and not old.running and all(old.labels.get(k) == v for k, v in labels.items()):
        engine.remove(old.id, force=True)
    reading = Reading(engine, name, f"verifying {data.parent.name.strip('.')}", size_of(data))
    state, log, _ = engine.follow(job, reading, limit_seconds=_LIMIT_SECONDS)
    engine.remove(state.id, force=True)
    said = "" if state.exit_code == 0 else _complaint(log, state.exit_code)
    refuse_unreadable(said, server, data)
    return said


def seen_at(target: Target, data: Path) -> PurePosixPath:
    """Return where a container that mounts PostgreSQL's part of the shelf at ``/shelf`` sees a backup.

    The backup's own directory is never mounted by its path: Docker would follow a link in its place to
    anywhere on the host (F-K2), while inside the container every link ends inside the container.
    """
    root = Path(target.shelf) / "postgres"
    return path_under(SHELF, str(data.relative_to(root)) if data.is_relative_to(root) else str(data))


def _complaint(log: str, exit_code: int | None) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if "error:" in line] or lines
    first = errors[0].rpartition("error:")[2].strip() if errors else f"pg_verifybackup ended with {exit_code}"
    more = f", and {len(errors) - 1} more" if len(errors) > 1 else ""
    return first + more


def _unusable(what: str) -> BackupUnusable:
    return BackupUnusable(what, code="backup-damaged")
