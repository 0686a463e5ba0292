"""How far a job is that does nothing but read: as the kernel counts the bytes that its process was given."""

import re
from pathlib import Path

from activities.engine import Engine
from activities.offsite_progress import Progress
from activities.pulse import beat

_READ = re.compile(r"^rchar: (\d+)$", re.MULTILINE)


class Reading:
    """Called whenever a job is looked at; says bytes, rate and an estimate where the kernel lets us see."""

    def __init__(self, engine: Engine, job: str, what: str, total_bytes: int) -> None:
        """``job`` is the name of the container, ``total_bytes`` what it will have read."""
        self._engine = engine
        self._job = job
        self._what = what
        self._progress = Progress(what, total_bytes)
        self._counts: Path | None = None

    def __call__(self, _line: str) -> None:
        """Say how far it is."""
        done = self._read()
        if done is None:
            beat(self._what)
            return
        self._progress.at(done)
        beat(self._progress.sentence())

    def _read(self) -> int | None:
        try:
            counts = self._counts or self._find()
            found = _READ.search(counts.read_text()) if counts else None
        except OSError:
            return None  # it has ended, or this worker may not look
        return int(found[1]) if found else None

    def _find(self) -> Path | None:
        state = self._engine.look(self._job)
        pid = int(state.raw["State"].get("Pid") or 0) if state is not None else 0
        self._counts = Path("/proc") / str(pid) / "io" if pid else None
        return self._counts
