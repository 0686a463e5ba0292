"""The catalogue of a shelf: one ``dr.json`` beside each base backup, written last."""

import re
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from activities import plain_files
from domain.backups import Backup, Level, PassedOver
from domain.choice import newest_first
from domain.entries import ENTRY
from domain.errors import BackupUnusable, Refused
from domain.wal import is_segment, parse_lsn

BASE = Path("postgres") / "base"
DATA = "data"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
"""An id names a directory and containers, so it is no other text than that."""
_STRANGERS_NAMED = 50
_LONGEST = 2000
_ENTRY_LIMIT_BYTES = 16 * 1024 * 1024
SEGMENT_SIZES = {2**power for power in range(20, 31)}
"""What ``initdb --wal-segsize`` accepts, in bytes."""


def read_catalogue(shelf: Path) -> tuple[list[Backup], list[PassedOver]]:
    """Return the entries, newest first, and what is no usable entry with the reason.

    What does not belong there is reported and left alone; symbolic links are not followed. Raises
    ``Refused`` when this process may not look at the shelf at all.
    """
    backups: list[Backup] = []
    strangers: list[PassedOver] = []
    base = shelf / BASE
    try:
        paths = sorted(base.iterdir()) if base.is_dir() and not base.is_symlink() else []
    except PermissionError as error:
        raise Refused(
            f"the shelf cannot be read: {error.strerror}",
            where=str(base),
            hint="the worker of the host needs to run as root, or the shelf to be given to it",
            code="shelf-unusable",
        ) from None
    for path in paths:
        try:
            backups.append(_read(shelf, path))
        except BackupUnusable as error:
            strangers.append(PassedOver(id=path.name, reason=error.what))
    more = len(strangers) - _STRANGERS_NAMED
    if more > 0:
        strangers[_STRANGERS_NAMED:] = [PassedOver(id="…", reason=f"{more} more that are no backups")]
    return newest_first(backups), strangers


def list_backups(shelf: Path) -> list[Backup]:
    """Return the entries of a shelf, newest first."""
    return read_catalogue(shelf)[0]


def find_backup(shelf: Path, backup_id: str) -> Backup:
    """Return one entry; raises ``BackupUnusable`` when there is none, with what is wrong with it."""
    entries, strangers = read_catalogue(shelf)
    for entry in entries:
        if entry.id == backup_id:
            return entry
    reason = next((known.reason for known in strangers if known.id == backup_id), "it is not there")
    raise BackupUnusable(
        f"backup {backup_id}: {reason}",
        where=str(shelf / BASE),
        hint="`dr backup list` shows what the shelf holds",
        code="backup-unknown",
    )


def record_level(shelf: Path, backup_id: str, level: Level, at: datetime, by: str = "") -> Backup:
    """Record how far a backup was proven, when and by what (empty: as usual); return the new entry."""
    proven = {"verified": level, "verified_at": at, "verified_by": by}
    entry = find_backup(shelf, backup_id).model_copy(update=proven)
    record(shelf, entry)
    return entry


def data_directory(shelf: Path, backup_id: str) -> Path:
    """Return where the data directory of a backup lies."""
    return shelf / BASE / backup_id / DATA


def record(shelf: Path, backup: Backup) -> None:
    """Write or replace the entry of a backup in one step."""
    write_entry(shelf / BASE / backup.id, backup)


def write_entry(directory: Path, backup: Backup) -> None:
    """Write the entry into a backup's directory: to the disk first, then under its name."""
    plain_files.replace(directory / ENTRY, backup.model_dump_json(indent=2).encode())


def _read(shelf: Path, path: Path) -> Backup:
    if path.is_symlink():
        raise _unusable("a symbolic link, which is not followed")
    if path.name.startswith("."):
        raise _unusable("an unfinished backup")
    if _ID.fullmatch(path.name) is None:
        raise _unusable("its name is none that a backup has")
    if not path.is_dir():
        raise _unusable("not a backup's directory")
    entry = _entry(path)
    data = path / DATA
    if entry.id != path.name or entry.path != str(data.relative_to(shelf)):
        raise _unusable(f"its entry is that of {entry.id} at {entry.path}")
    if data.is_symlink() or not data.is_dir():
        raise _unusable("its data directory is missing")
    return entry


def _entry(path: Path) -> Backup:
    try:
        text = plain_files.read(path / ENTRY, _ENTRY_LIMIT_BYTES)
    except OSError as error:
        raise _unusable(f"its entry {ENTRY} cannot be read: {error.strerror}") from None
    try:
        entry = Backup.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _unusable(f"its entry {ENTRY} is broken: {where} {first['msg']}".replace("  ", " ")) from None

    if _implausible(entry):
        raise _unusable(f"its entry {ENTRY} is broken: it names no real times or positions")
    return entry


def _implausible(entry: Backup) -> bool:
    """Tell whether times lack their zone or positions are none; such an entry cannot be judged."""
    try:
        parse_lsn(entry.start_lsn)
        parse_lsn(entry.stop_lsn)
    except ValueError:
        return True
    return (
        entry.started_at.tzinfo is None
        or entry.ended_at.tzinfo is None
        or not is_segment(entry.start_segment)
        or entry.wal_segment_bytes not in SEGMENT_SIZES
        # It goes into histories and reports, which take no megabytes of somebody's text.
        or any(isinstance(value, str) and len(value) > _LONGEST for _, value in entry)
    )


def _unusable(what: str) -> BackupUnusable:
    return BackupUnusable(what, code="backup-stranger")
