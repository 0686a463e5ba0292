"""Backups: what the catalogue knows of each, and which one a recovery takes."""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from domain.order import Order, Outcome, TargetOrder, Value
from domain.wal import SEGMENT_BYTES


class Level(StrEnum):
    """How far a backup was proven."""

    NONE = "none"
    MANIFEST = "manifest"
    """``pg_verifybackup`` and the checksums agree."""
    RESTORED = "restored"
    """It was restored, started, checked and compared."""


class TableState(Value):
    """What one table held at the backup, for the comparison with a restored copy."""

    name: str
    rows: int


class Contents(Value):
    """What the database held about when the backup was taken."""

    tables: tuple[TableState, ...] = ()
    constraints: int = 0
    indexes: int = 0
    policies: int = 0
    triggers: int = 0
    functions: int = 0
    last_marker: int | None = None


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
    system_identifier: str
    server_version: str
    image_id: str
    timeline: int
    start_lsn: str
    stop_lsn: str
    start_segment: str
    verified: Level = Level.NONE
    verified_at: datetime | None = None
    contents: Contents = Contents()
    label: str = ""
    """The order's label: a second call with it finds this backup."""
    reason: str = ""
    wal_segment_bytes: int = SEGMENT_BYTES


class PassedOver(Value):
    """A backup that was not taken, and why."""

    id: str
    reason: str


class BackupOrder(TargetOrder):
    """Take a base backup; ``label`` makes a second call find the first one's result."""

    label: str
    reason: str = ""
    max_rate_bytes: int | None = None
    """At most so many bytes a second are read from the server; ``None`` is as fast as it goes."""


class ChooseOrder(TargetOrder):
    """Choose among the backups of the shelf."""

    before: datetime | None = None
    """The first evidence of damage: only older backups are taken."""
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
    last_wal_segment: str = ""
    wal_until: datetime | None = None
    """Time of the newest WAL in the archive: what lies behind it would be lost."""
    predicted_seconds: float | None = None
    room_bytes: int | None = None
    needed_bytes: int | None = None


class ShelfOrder(Order):
    """Look at a shelf."""

    shelf: str
    """Absolute path on the host."""


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


_COPY_BYTES_PER_SECOND = 300e6
_REPLAY_BYTES_PER_SECOND = 100e6
_FIXED_SECONDS = 10.0
_SPARE = 1.1
_GIGABYTE = 1e9


def major_version(version: str) -> str:
    """Return ``17`` of ``17.11 (Debian 17.11-1)``."""
    return version.split(".", 1)[0].split(" ", 1)[0]


def why_unfit(backup: Backup, order: ChooseOrder, *, major: str = "") -> str:
    """Return why a backup cannot be this server's, or an empty text.

    Only what the entry itself says is judged; an unknown (empty) expectation excludes nothing.
    """
    wanted_image = order.target.postgres.image_id
    tried = next((known.reason for known in order.excluded if known.id == backup.id), None)
    if tried is not None:
        return f"tried already in this recovery: {tried}"
    if order.before is not None and backup.ended_at >= order.before:
        return (
            f"it ended at {backup.ended_at:%Y-%m-%d %H:%M:%S}, not before the first evidence"
            f" of damage at {order.before:%Y-%m-%d %H:%M:%S}"
        )
    if order.system_identifier and backup.system_identifier != order.system_identifier:
        return (
            f"it is of another database system: {backup.system_identifier},"
            f" the server is {order.system_identifier}"
        )
    if major and major_version(backup.server_version) != major:
        return f"it is of PostgreSQL {major_version(backup.server_version)}, the server is {major}"
    if backup.image_id != wanted_image:
        return (
            f"it was taken by another image: {short_image(backup.image_id)},"
            f" the server runs {short_image(wanted_image)}"
        )
    return ""


def newest_first(backups: Iterable[Backup]) -> list[Backup]:
    """Return the backups by their end, the youngest first; the id decides between equals."""
    return sorted(backups, key=lambda backup: (backup.ended_at, backup.id), reverse=True)


def needed_bytes(backup: Backup, wal_bytes: int) -> int:
    """Return the room that a restored copy takes, with a tenth to spare."""
    return int((backup.bytes + wal_bytes) * _SPARE)


def predicted_seconds(backup: Backup, wal_bytes: int) -> float:
    """Return how long copy and replay will take; the rates are those of a modest disk."""
    copying = backup.bytes / _COPY_BYTES_PER_SECOND
    return round(copying + wal_bytes / _REPLAY_BYTES_PER_SECOND + _FIXED_SECONDS, 1)


def short_image(image_id: str) -> str:
    """Return an image id as Docker's lists show it."""
    return image_id.removeprefix("sha256:")[:12] or "unknown"


def spoken_bytes(size: float) -> str:
    """Return a size as a person would say it."""
    return f"{size / _GIGABYTE:.2f} GB" if size >= _GIGABYTE else f"{size / 1e6:.1f} MB"
