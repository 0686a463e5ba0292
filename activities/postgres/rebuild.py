"""The entry of a base backup made anew from its manifest, its control file and its version file."""

import json
from datetime import UTC, datetime
from pathlib import Path

from activities import catalogue, entries, plain_files
from activities.postgres import manifest
from domain.backups import Backup
from domain.entries import REBUILT
from domain.errors import BackupUnusable
from domain.wal import SEGMENT_BYTES, is_segment, parse_lsn, segment_name

_LIMIT_BYTES = 256 * 1024 * 1024
_VERSION_BYTES = 100


def base_entry(shelf: Path, backup_id: str) -> Backup:
    """Return the entry of a base backup as manifest, control file and version file state it.

    Raises ``BackupUnusable`` when they do not.
    """
    data = catalogue.data_directory(shelf, backup_id)
    facts = manifest.read_facts(data)
    try:
        version = plain_files.read(data / "PG_VERSION", _VERSION_BYTES).decode().strip()
        ended = max(
            _newest_in(data), datetime.fromtimestamp((data / "backup_manifest").lstat().st_mtime, UTC)
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unusable(f"its files do not say when and by what it was taken: {error}") from None
    size = _segment_bytes(data)
    return Backup(
        sentence=f"Base backup {backup_id}, its entry rebuilt from its files",
        id=backup_id,
        path=str(catalogue.BASE / backup_id / catalogue.DATA),
        started_at=_started(backup_id),
        ended_at=ended,
        bytes=facts.bytes,
        sha256=facts.sha256,
        system_identifier=facts.system_identifier,
        server_version=version,
        # Not known; the major version is, and a copy is checked before anybody relies on it.
        image_id="",
        timeline=facts.timeline,
        start_lsn=facts.start_lsn,
        stop_lsn=facts.stop_lsn,
        start_segment=segment_name(facts.timeline, parse_lsn(facts.start_lsn), size),
        reason=REBUILT,
        wal_segment_bytes=size,
    )


def _newest_in(data: Path) -> datetime:
    """Return the newest time that the manifest states of a file; the backup ended no earlier."""
    found = json.loads(plain_files.read(data / "backup_manifest", _LIMIT_BYTES))["Files"]
    newest = max(str(file["Last-Modified"]) for file in found)
    return datetime.strptime(newest, "%Y-%m-%d %H:%M:%S GMT").replace(tzinfo=UTC)


def _segment_bytes(data: Path) -> int:
    """Return the size of the WAL segments that the backup brings itself."""
    wal = data / "pg_wal"
    sizes = {p.lstat().st_size for p in wal.iterdir() if is_segment(p.name)} if wal.is_dir() else set()
    return max((size for size in sizes if size in catalogue.SEGMENT_SIZES), default=SEGMENT_BYTES)


def _started(backup_id: str) -> datetime:
    at = entries.taken_at(backup_id)
    if at is None:
        raise _unusable("its name states no time")
    return at


def _unusable(what: str) -> BackupUnusable:
    return BackupUnusable(what, code="backup-stranger")
