"""Records that a backup was restored, started, checked and compared."""

from datetime import UTC, datetime
from pathlib import Path

from temporalio import activity

from activities.catalogue import find_backup, record_level
from domain.backups import Backup, Level, VerifyBackupOrder


class Proving:
    """Writes the level ``restored`` into the catalogue."""

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_recorded_restored(self, order: VerifyBackupOrder) -> Backup:
        """Record the level and the date; a backup that has the level keeps its date.

        Raises ``BackupUnusable`` when the backup is no longer on the shelf.
        """
        shelf = Path(order.target.shelf)
        known = find_backup(shelf, order.backup_id)
        if known.verified is not Level.RESTORED:
            known = record_level(shelf, order.backup_id, Level.RESTORED, datetime.now(UTC))
        return known.model_copy(
            update={"sentence": f"Backup {known.id} is recorded as restored, checked and compared"}
        )
