"""Free room on a filesystem, and its refusal before anything is made that would not fit."""

import os
from pathlib import Path

from domain.backups import spoken_bytes
from domain.errors import Refused

ON_SHELF = "make room on the shelf's filesystem or move the shelf"
_HINT = "make room on its filesystem"


def free_bytes(place: str | Path) -> int:
    """Return how much may still be written at a place by whoever is not root. Raises ``OSError``."""
    there = os.statvfs(place)
    return there.f_bavail * there.f_frsize


def refuse_without_room(what: str, needed_bytes: int, *places: str, hint: str = _HINT) -> None:
    """Refuse (``no-room``) when so many bytes do not fit into one of the places.

    ``what`` ends the sentence "no room …": ``for a dump``, ``to restore the copy``.
    """
    for place in places:
        free = free_bytes(place)
        if free < needed_bytes:
            said = f"{spoken_bytes(needed_bytes)} needed, {spoken_bytes(free)} free"
            raise no_room(f"no room {what}: {said}", place, hint=hint)


def no_room(what: str, where: str, *, hint: str = _HINT) -> Refused:
    """Return the refusal for a place without room."""
    return Refused(what, where=where, hint=hint, code="no-room")
