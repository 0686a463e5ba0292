"""Small facts that must outlive a killed worker, one JSON file each, on disk before they are relied on."""

import json
import os
from pathlib import Path
from typing import Any


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
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".tmp")
        with fresh.open("w") as file:
            json.dump(values, file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def remove(self, kind: str, recovery_id: str) -> None:
        """Remove the record; one that is gone is fine."""
        self._path(kind, recovery_id).unlink(missing_ok=True)

    def _path(self, kind: str, recovery_id: str) -> Path:
        return self._state / kind / f"{recovery_id}.json"
