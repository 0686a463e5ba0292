"""Where a store's backups are made on the shelf: its directories, and what dead attempts left in them."""

import os
import shutil
from pathlib import Path

from activities import entries, plain_files
from domain.errors import Refused


def prepare(shelf: Path, store: str, kind: str, *, as_shelf: bool = False) -> Path:
    """Make the directory of a kind, which only one user enters: this process's, or that of the shelf.

    Raises ``Refused`` (``shelf-unusable``) when this process may not do so, or a link is in the way.
    """
    try:
        shelf.mkdir(parents=True, exist_ok=True)
        whose = shelf.lstat()
        owner = (whose.st_uid, whose.st_gid) if as_shelf else (os.geteuid(), os.getegid())
        for directory in (shelf / store, shelf / store / kind):
            plain_files.own(directory, *owner)
    except OSError as error:
        raise Refused(
            f"the shelf cannot be prepared: {error.strerror}",
            where=str(shelf / store),
            hint="the worker of the host needs to run as root, or the shelf to be given to it",
            code="shelf-unusable",
        ) from None
    return shelf / store / kind


def begin(partial: Path) -> None:
    """Make the directory in which a backup is made; it belongs to whom that of its kind belongs to."""
    whose = partial.parent.lstat()
    plain_files.own(partial, whose.st_uid, whose.st_gid)


def unfinished(directory: Path) -> list[Path]:
    """Return what attempts left in the directory of a kind that ended in the middle; links are left alone."""
    names = plain_files.names_at(directory)
    left = (directory / one for one in names if one.startswith(".") and one.endswith(entries.PARTIAL))
    return [path for path in left if not path.is_symlink()]


def clear(directory: Path) -> None:
    """Remove what attempts left that ended in the middle; call it alone."""
    for path in unfinished(directory):
        shutil.rmtree(path)


def id_in(directory: Path) -> str:
    """Return the id of the backup that a directory holds, finished or not."""
    return directory.name.removeprefix(".").removesuffix(entries.PARTIAL)
