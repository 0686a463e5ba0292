"""The choice of the backup to restore: the newest one that is whole today."""

from pathlib import Path

from temporalio import activity

from activities.engine import Engine
from domain.backups import BackupChoice, ChooseOrder


class Choosing:
    """Chooses among the backups of a shelf; a bad one is passed over and named, never raised."""

    def __init__(self, engine: Engine, state: Path) -> None:
        """Act through ``engine``; ``state`` is DR_STATE."""
        self._engine = engine
        self._state = state

    @activity.defn(no_thread_cancel_exception=True)
    def choose_backup(self, order: ChooseOrder) -> BackupChoice:
        """Return the newest usable backup, or none with what is missing."""
        raise NotImplementedError
