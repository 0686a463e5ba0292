"""Backups of the stores beside PostgreSQL: what is asked for, and what was made."""

from pydantic import AwareDatetime

from domain.entries import Entry
from domain.order import Outcome, TargetOrder


class StoreBackupOrder(TargetOrder):
    """Back up one service; ``label`` makes a second call find the first one's result."""

    service: str = ""
    """Name of the service; empty when the target has one of the kind."""
    label: str
    reason: str = ""
    scheduled_for: AwareDatetime | None = None


class StoreBackups(Outcome):
    """The entries that one call made, one of each kind."""

    entries: tuple[Entry, ...] = ()
