"""A search engine of its own that a backup is loaded into: same image, new volume, no network."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from activities.engine import Engine, Job
from activities.pulse import beat
from activities.reading import Reading
from activities.search_files import FILES, SNAPSHOT
from activities.search_place import SearchPlace
from domain.entries import Entry
from domain.errors import BackupUnusable, Refused, Unavailable

_START_SECONDS = 3600.0
_STOP_SECONDS = 60
_POLL_SECONDS = 0.2
_FILL_SECONDS = 3600.0
_NOT_EMPTY = 31
_IMPORT = "/import"
_HERE = "http://127.0.0.1:7700"
# The engine imports into an empty directory alone, and the directory of its data may be the whole volume: so
# what is imported lies in a volume beside it. Data that are there are never imported over (F-J10).
_FILL = f"""
set -eu
[ ! -e "$1" ] || [ -z "$(ls -A "$1")" ] || exit {_NOT_EMPTY}
cp -- "/in/$2" {_IMPORT}/backup
chmod 0600 {_IMPORT}/backup
chown "$4" "$3" {_IMPORT} {_IMPORT}/backup
"""
_ASK = """
if command -v curl >/dev/null; then exec curl -gsS --max-time 60 -- "$1"; else exec wget -qO- -- "$1"; fi
"""


class SearchCopy:
    """One such engine; its name says for what it was made, so that what is left of it is found."""

    def __init__(
        self, engine: Engine, place: SearchPlace, name: str, labels: Mapping[str, str], image_id: str = ""
    ) -> None:
        """``name`` is that of container and volume; ``place`` says what the live one is like.

        ``image_id`` is another image than the live one's.
        """
        self._image_id = image_id or place.container.image_id
        self._engine = engine
        self._place = place
        self.name = name
        self._beside = f"{name}-import"
        self._labels = labels

    def load(self, directory: Path, entry: Entry) -> None:
        """Load a backup and wait until the engine serves it.

        Raises ``Refused`` (``search-not-empty``) for a volume that holds data, ``BackupUnusable``
        (``search-import``) when the engine does not take the backup, ``Unavailable``.
        """
        place = self._place
        for volume in (self.name, self._beside):
            self._engine.ensure_volume(volume, self._labels)
        fill = Job(
            name=f"{self.name}-fill",
            image_id=self._image_id,
            entrypoint=("sh",),
            command=("-c", _FILL, "dr", place.database, FILES[entry.kind], place.mount, place.user),
            user="0:0",
            binds={
                self.name: f"{place.mount}:rw",
                self._beside: f"{_IMPORT}:rw",
                str(directory): "/in:ro",
            },
            labels=self._labels,
            capabilities=("DAC_OVERRIDE", "CHOWN", "FOWNER"),
        )
        self._fill(fill, entry)
        self._engine.ensure_job(self._server(entry))
        self._wait(entry)

    def _server(self, entry: Entry) -> Job:
        place = self._place
        option = "SNAPSHOT" if entry.kind == SNAPSHOT else "DUMP"
        return Job(
            name=self.name,
            image_id=self._image_id,
            command=(),
            user=place.user,
            binds={self.name: f"{place.mount}:rw", self._beside: f"{_IMPORT}:ro"},
            environment={
                **place.environment,
                "MEILI_DB_PATH": place.database,
                "MEILI_SNAPSHOT_DIR": place.snapshots,
                "MEILI_DUMP_DIR": place.dumps,
                "MEILI_NO_ANALYTICS": "true",
                # It has no key: nobody but us can reach it.
                "MEILI_ENV": "development",
                f"MEILI_IMPORT_{option}": f"{_IMPORT}/backup",
            },
            labels=self._labels,
            memory_bytes=place.memory_bytes,
            stop_signal="SIGTERM",
        )

    def get(self, path: str) -> dict[str, Any] | None:
        """Return the JSON object at a path, ``None`` when there is none."""
        done = self._engine.run(self.name, ("sh", "-c", _ASK, "dr", f"{_HERE}{path}"))
        try:
            body = json.loads(done.output)
        except (ValueError, RecursionError):
            body = None
        if done.exit_code != 0 or not isinstance(body, dict):
            raise self._failed(f"it does not answer {path.partition('?')[0]}: {done.errors.strip()[-200:]}")
        if str(body.get("code", "")).endswith("_not_found"):
            return None
        if "code" in body and "message" in body:
            raise self._failed(f"it answers {body['code']}")
        return body

    def finish(self) -> None:
        """Stop the engine cleanly and leave its volume as another one of its kind finds its own."""
        self._engine.stop(self.name, _STOP_SECONDS)
        self._engine.remove(self.name, force=True)
        self._engine.remove_volume(self._beside)

    def remove(self) -> None:
        """Remove all of it; nothing there is fine, and a stranger of its name is left alone."""
        for name in (self.name, f"{self.name}-fill"):
            found = self._engine.look(name)
            if found is not None and self._is_ours(found.labels):
                self._engine.remove(found.id, force=True)
        for name in (self.name, self._beside):
            volume = self._engine.volume(name)
            if volume is not None and self._is_ours(volume.get("Labels") or {}):
                self._engine.remove_volume(name)

    def _is_ours(self, labels: Mapping[str, str]) -> bool:
        return all(labels.get(key) == value for key, value in self._labels.items())

    def _fill(self, job: Job, entry: Entry) -> None:
        self._engine.remove(job.name, force=True)
        reading = Reading(self._engine, job.name, f"search: copying {entry.id}", entry.bytes)
        state, said, _ = self._engine.follow(job, reading, limit_seconds=_FILL_SECONDS)
        self._engine.remove(job.name, force=True)
        if state.exit_code == _NOT_EMPTY:
            raise Refused(
                f"the volume {self.name} holds data already, and nothing is imported over data",
                where=self.name,
                hint="restore into a new volume, or rebuild the index from SQL",
                code="search-not-empty",
            )
        if state.exit_code != 0:
            raise self._failed(f"its volume cannot be filled: {said.strip()[-200:]}")

    def _wait(self, entry: Entry) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            state = self._engine.look(self.name)
            if state is None or state.status in {"exited", "dead"}:
                said = "" if state is None else self._engine.logs(self.name, tail=5).strip()
                raise BackupUnusable(
                    f"the engine does not take {entry.id}: {said[-300:] or 'it does not say why'}",
                    where=self.name,
                    code="search-import",
                )
            try:
                if (self.get("/health") or {}).get("status") == "available":
                    return
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
            beat(f"search: {entry.id} is loaded")
            time.sleep(_POLL_SECONDS)

    def _failed(self, what: str) -> Unavailable:
        return Unavailable(f"the search engine of its own: {what}", where=self.name, code="search-copy")
