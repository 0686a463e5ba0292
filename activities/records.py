"""Small facts that must outlive a killed worker, one JSON file each, on disk before they are relied on."""

import json
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from activities import drafts
from domain.paths import one_part


class Records:
    """The records of one state directory: ``<state>/<kind>/<recovery id>.json``."""

    def __init__(self, state: Path) -> None:
        """Keep the files under ``state``."""
        self._state = state

    def read(self, kind: str, recovery_id: str) -> dict[str, Any] | None:
        """Return the record, or ``None`` when there is none."""
        path = self._path(kind, recovery_id)
        if not path.is_file():
            return None
        found: dict[str, Any] = json.loads(path.read_text())
        return found

    def write(self, kind: str, recovery_id: str, values: dict[str, Any]) -> None:
        """Replace the record; it is on disk when this returns."""
        path = self._path(kind, recovery_id)

        def written() -> None:
            with _draft(path, values) as draft:
                draft.replace(path)

        drafts.persistently(written)
        _settle(path)

    def write_once(self, kind: str, recovery_id: str, values: dict[str, Any]) -> dict[str, Any]:
        """Write the record unless there is one; return the one that stands, which is on disk."""
        path = self._path(kind, recovery_id)

        def linked() -> bool:
            with _draft(path, values) as draft:
                try:
                    path.hardlink_to(draft)
                except FileExistsError:
                    return False
                finally:
                    draft.unlink(missing_ok=True)
            return True

        if not drafts.persistently(linked):
            return self.read(kind, recovery_id) or values
        _settle(path)
        return values

    def remove(self, kind: str, recovery_id: str) -> None:
        """Remove the record; one that is gone is fine."""
        self._path(kind, recovery_id).unlink(missing_ok=True)

    def _path(self, kind: str, recovery_id: str) -> Path:
        return self._state / kind / f"{one_part(recovery_id, 'a recovery id')}.json"


@contextmanager
def _draft(path: Path, values: dict[str, Any]) -> Iterator[Path]:
    """Write the values beside the record, under a name that no racing attempt has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(f".{uuid.uuid4().hex}")
    with draft.open("x") as file:
        drafts.claim(file.fileno())
        json.dump(values, file)
        file.flush()
        os.fsync(file.fileno())
        yield draft


def _settle(path: Path) -> None:
    """Have the record's name on the disk, and none of what dead attempts had written of it."""
    opened = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
        drafts.remove_abandoned(opened, re.compile(rf"{re.escape(path.stem)}\.[0-9a-f]{{32}}"))
    finally:
        os.close(opened)
