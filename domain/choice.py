"""Which backup a recovery takes: what excludes one, and what restoring it will need. Pure."""

from collections.abc import Iterable, Sequence

from domain.backups import Backup, ChooseOrder, Level, spoken_bytes

_COPY_BYTES_PER_SECOND = 300e6
_REPLAY_BYTES_PER_SECOND = 100e6
_FIXED_SECONDS = 10.0
_SPARE = 1.1
_SUSPICIOUS = 0.5


def major_version(version: str) -> str:
    """Return ``17`` of ``17.11 (Debian 17.11-1)``."""
    return version.split(".", 1)[0].split(" ", 1)[0]


def of_another_stack(said: str, stack: str) -> str:
    """Return whose a backup says that it is where that is another stack's; no name excludes nothing."""
    return f"it is of the stack {said}, this one is {stack}" if said and stack and said != stack else ""


def why_unfit(backup: Backup, order: ChooseOrder, *, major: str = "") -> str:
    """Return why a backup cannot be this server's, or an empty text.

    Only what the entry says is judged; an unknown (empty) expectation excludes nothing.
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
    foreign = _foreign(backup, order)
    if foreign:
        return foreign
    if major and major_version(backup.server_version) != major:
        return f"it is of PostgreSQL {major_version(backup.server_version)}, the server is {major}"
    # An entry rebuilt from the files knows no image; the major version is judged above.
    if backup.image_id and backup.image_id != wanted_image:
        return (
            f"it was taken by another image: {short_image(backup.image_id)},"
            f" the server runs {short_image(wanted_image)}"
        )
    return ""


def _foreign(backup: Backup, order: ChooseOrder) -> str:
    """Return whose a backup is where it is not this server's; of its very server no name matters."""
    if not order.system_identifier:
        return of_another_stack(backup.stack, order.target.stack)
    if backup.system_identifier == order.system_identifier:
        return ""
    return (
        f"it is of another database system: {backup.system_identifier},"
        f" the server is {order.system_identifier}"
    )


def suspiciously_small(backup: Backup, known: Sequence[Backup]) -> str:
    """Return why a backup is too small to be believed, or an empty text.

    Measured against the one before it of the same database system; one that was restored is proven.
    """
    before = next(
        (
            other
            for other in newest_first(known)
            if (other.ended_at, other.id) < (backup.ended_at, backup.id)
            and other.system_identifier == backup.system_identifier
        ),
        None,
    )
    if before is None or backup.verified is Level.RESTORED or backup.bytes >= before.bytes * _SUSPICIOUS:
        return ""
    had = f"{before.id} had {spoken_bytes(before.bytes)}"
    return f"it is suspiciously small: {spoken_bytes(backup.bytes)}, {had}"


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
