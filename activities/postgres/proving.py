"""Records that a real recovery brought a backup back: checked, and compared where something was recorded."""

from datetime import UTC, datetime
from pathlib import Path

from temporalio import activity

from activities.catalogue import find_backup, record_level
from domain.backups import Backup, Level, VerifyBackupOrder
from domain.verification_base import recovered_level


class Proving:
    """Writes into the catalogue what a recovery has shown."""

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_recorded_restored(self, order: VerifyBackupOrder) -> Backup:
        """Record the level, the date, and by what; a backup that has that already keeps its date.

        The level is ``restored`` only where the copy was compared with what was recorded at the backup.
        Raises ``BackupUnusable`` when the backup is no longer on the shelf.
        """
        shelf = Path(order.target.shelf)
        known = find_backup(shelf, order.backup_id)
        level, by = recovered_level(known)
        if known.verified is not Level.RESTORED and known.verified_by != by:
            known = record_level(shelf, order.backup_id, level, datetime.now(UTC), by)
        said = "restored, checked and compared"
        if known.verified is not Level.RESTORED:
            said = f"restored and checked; it stays {known.verified}: nothing was recorded to compare it with"
        return known.model_copy(update={"sentence": f"Backup {known.id} is recorded as {said}"})
