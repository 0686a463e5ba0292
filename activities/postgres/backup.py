"""Base backups: taken by a detached job, verified by their manifest, then put on the shelf."""

from pathlib import Path

from temporalio import activity

from activities.engine import Engine
from activities.postgres.sql import Sql
from activities.tokens import Tokens
from domain.backups import Backup, BackupOrder, VerifyBackupOrder


class Backups:
    """Takes and verifies base backups of a running server."""

    def __init__(self, engine: Engine, sql: Sql, tokens: Tokens, state: Path) -> None:
        """Act through these clients; ``state`` is DR_STATE."""
        self._engine = engine
        self._sql = sql
        self._tokens = tokens
        self._state = state

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_base_backup(self, order: BackupOrder) -> Backup:
        """Take the backup of this label, or return the one that has it."""
        raise NotImplementedError

    @activity.defn(no_thread_cancel_exception=True)
    def verify_backup(self, order: VerifyBackupOrder) -> Backup:
        """Verify a backup against its manifest and record level and date."""
        raise NotImplementedError
