"""Which backups were taken, remembered apart from the shelf: what vanishes there is missed (F-C1)."""

from datetime import datetime
from pathlib import Path

from activities.records import Records
from domain.backups import Backup, PassedOver

KIND = "taken"


def note_taken(state: Path, stack: str, backup: Backup) -> None:
    """Remember a backup; ``state`` is DR_STATE, which lies on another disk than the shelf."""
    Records(state).write(f"{KIND}/{stack}", backup.id, {"ended_at": backup.ended_at.isoformat()})


def forget_taken(state: Path, stack: str, backup_id: str) -> None:
    """Forget a backup that was removed on purpose."""
    Records(state).remove(f"{KIND}/{stack}", backup_id)


def vanished(state: Path, stack: str, present: set[str]) -> list[PassedOver]:
    """Return the backups that were taken and are not on the shelf, newest first."""
    records = Records(state)
    found = []
    for path in (state / KIND / stack).glob("*.json"):
        record = records.read(f"{KIND}/{stack}", path.stem)
        if record is not None and path.stem not in present:
            at = datetime.fromisoformat(record["ended_at"])
            reason = f"it is missing: it ended at {at:%Y-%m-%d %H:%M:%SZ} and is not on the shelf any more"
            found.append(PassedOver(id=path.stem, reason=reason))
    return sorted(found, key=lambda gone: gone.id, reverse=True)
