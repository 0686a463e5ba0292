"""What the shelf holds, for people who ask."""

from pathlib import Path

from temporalio import activity

from activities.catalogue import read_catalogue
from domain.backups import BackupList, ShelfOrder
from domain.contents import Contents


class Listing:
    """Reads the catalogue; changes nothing."""

    @activity.defn(no_thread_cancel_exception=True)
    def observe_backups(self, order: ShelfOrder) -> BackupList:
        """Return the backups of a shelf, newest first, and what lies there that is not one."""
        backups, strangers = read_catalogue(Path(order.shelf))
        newest = f", newest {backups[0].id} ({backups[0].verified})" if backups else ""
        return BackupList(
            sentence=f"{len(backups)} backups on the shelf{newest}",
            # What each table held is for the restored copy alone; of many backups it would be megabytes.
            backups=tuple(b.model_copy(update={"contents": Contents()}) for b in backups),
            strangers=tuple(strangers),
        )
