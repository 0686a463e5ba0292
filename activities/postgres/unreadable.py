"""Backups whose files the server's own user may not read: nothing was shown of them, good or bad."""

import re
from pathlib import Path

from domain.errors import Refused
from domain.order import PostgresTarget

CODE = "backup-unreadable"
_DENIED = re.compile(r": Permission denied(, and \d+ more)?$")


def refuse_unreadable(said: str, server: PostgresTarget, where: Path) -> None:
    """Raise ``Refused`` (``backup-unreadable``) where a program was not let in by what it complains of.

    Whoever copies a backup here as root leaves it so. It is not damaged for that, and keeps its level.
    """
    if _DENIED.search(said):
        raise Refused(
            f"the files cannot be read as the user of the server: {said}",
            where=str(where),
            hint=f"give them back, chown -R {server.uid}:{server.gid}, then verify it again",
            code=CODE,
        )
