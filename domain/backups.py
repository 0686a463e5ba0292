"""Backups and the WAL received beside them: what is known of each, and what is asked for."""

from datetime import datetime
from enum import StrEnum

from pydantic import AwareDatetime

from domain.contents import Contents
from domain.inert import Quoted
from domain.order import Order, Outcome, TargetOrder, Value
from domain.wal import SEGMENT_BYTES


class Level(StrEnum):
    """How far a backup was proven."""

    NONE = "none"
    MANIFEST = "manifest"
    """``pg_verifybackup`` and the checksums agree."""
    RESTORED = "restored"
    """It was restored, started, checked and compared."""


class Backup(Outcome):
    """One entry of the catalogue."""

    id: str
    store: str = "postgres"
    kind: str = "base"
    path: str
    """The data directory with its manifest, relative to the shelf."""
    started_at: datetime
    ended_at: datetime
    bytes: int
    sha256: str = ""
    """Of the backup's own manifest file."""
    stack: str = ""
    """Whose it is; empty where it was not recorded."""
    system_identifier: str
    server_version: str
    image_id: str
    timeline: int
    start_lsn: str
    stop_lsn: str
    start_segment: str
    verified: Level = Level.NONE
    verified_at: datetime | None = None
    verified_by: str = ""
    contents: Contents = Contents()
    record_sha256: str = ""
    """Of the file that says the same contents, beside the data directory; empty for older backups."""
    record_bytes: int = 0
    label: str = ""
    """The order's label: a second call with it finds this backup."""
    reason: str = ""
    scheduled_for: datetime | None = None
    wal_segment_bytes: int = SEGMENT_BYTES


class PassedOver(Value):
    """A backup that was not taken, and why."""

    id: Quoted
    reason: Quoted


class BackupOrder(TargetOrder):
    """Take a base backup; ``label`` makes a second call find the first one's result."""

    label: str
    reason: str = ""
    max_rate_bytes: int | None = None
    """At most so many bytes a second are read from the server; ``None`` is as fast as it goes."""
    scheduled_for: AwareDatetime | None = None


class ChooseOrder(TargetOrder):
    """Choose among the backups of the shelf."""

    before: AwareDatetime | None = None
    """The first evidence of damage: only older backups are taken. A time without a zone is refused."""
    timeline: int | None = None
    system_identifier: str | None = None
    excluded: tuple[PassedOver, ...] = ()
    """Backups that this run has tried already, with what was wrong."""


class BackupChoice(Outcome):
    """The backup to restore, or ``None`` with the reason."""

    backup: Backup | None
    passed_over: tuple[PassedOver, ...] = ()
    missing: str = ""
    """When there is none: what is missing and how to get it."""
    none_usable: bool = False
    """There is none because the shelf holds none that can be used; one from elsewhere would help."""
    last_wal_segment: str = ""
    wal_until: datetime | None = None
    """Time of the newest WAL in the archive: what lies behind it would be lost."""
    predicted_seconds: float | None = None
    room_bytes: int | None = None
    needed_bytes: int | None = None


class ShelfOrder(Order):
    """Look at a shelf."""

    shelf: str
    stack: str = ""
    """Whose backups are meant; those of others are strangers. Empty: everybody's."""


class BackupList(Outcome):
    """What a shelf holds: backups newest first, and what is not one."""

    backups: tuple[Backup, ...] = ()
    strangers: tuple[PassedOver, ...] = ()


class VerifyBackupOrder(TargetOrder):
    """Verify one backup of the target's shelf."""

    backup_id: str


class ReceiveOrder(TargetOrder):
    """Stream the WAL to the shelf; an empty ``slot`` is the one in use, else the first one."""

    slot: str = ""


class Receiving(Outcome):
    """How the receiver stands; ``None`` means that it was not measured."""

    slot: str
    directory: str
    """Relative to the shelf."""
    container: str = ""
    active: bool = False
    slot_state: str = ""
    """``wal_status`` of the slot: ``reserved``, ``extended``, ``unreserved``, ``lost``, or empty."""
    lag_bytes: int | None = None
    flushed_lsn: str | None = None
    newest_segment: str = ""
    """Newest closed segment in the directory."""


def spoken_bytes(size: float) -> str:
    """Return a size as a person would say it."""
    return f"{size / 1e9:.2f} GB" if size >= 10**9 else f"{size / 1e6:.1f} MB"
