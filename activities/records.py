"""Small facts that must outlive a killed worker, one JSON file each, on disk before they are relied on."""

import json
import os
import uuid
from pathlib import Path
from typing import Any

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
        _draft(path, values).replace(path)
        _sync(path.parent)

    def write_once(self, kind: str, recovery_id: str, values: dict[str, Any]) -> dict[str, Any]:
        """Write the record unless there is one; return the one that stands, which is on disk."""
        path = self._path(kind, recovery_id)
        draft = _draft(path, values)
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            return self.read(kind, recovery_id) or values
        finally:
            draft.unlink()
        _sync(path.parent)
        return values

    def remove(self, kind: str, recovery_id: str) -> None:
        """Remove the record; one that is gone is fine."""
        self._path(kind, recovery_id).unlink(missing_ok=True)

    def _path(self, kind: str, recovery_id: str) -> Path:
        return self._state / kind / f"{one_part(recovery_id, 'a recovery id')}.json"


def _draft(path: Path, values: dict[str, Any]) -> Path:
    """Write the values beside the record, under a name that no racing attempt has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(f".{uuid.uuid4().hex}")
    with draft.open("w") as file:
        json.dump(values, file)
        file.flush()
        os.fsync(file.fileno())
    return draft


def _sync(directory: Path) -> None:
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
