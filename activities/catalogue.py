"""The catalogue of a shelf: one ``dr.json`` beside each base backup, written last."""

from pathlib import Path

from domain.backups import Backup, PassedOver

BASE = Path("postgres") / "base"
ENTRY = "dr.json"
DATA = "data"


def read_catalogue(shelf: Path) -> tuple[list[Backup], list[PassedOver]]:
    """Return the entries, newest first, and what is no usable entry with the reason."""
    raise NotImplementedError


def list_backups(shelf: Path) -> list[Backup]:
    """Return the entries of a shelf, newest first."""
    return read_catalogue(shelf)[0]


def record(shelf: Path, backup: Backup) -> None:
    """Write or replace the entry of a backup in one step."""
    raise NotImplementedError
