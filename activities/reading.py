"""How far a job is that reads or copies: as the kernel counts the bytes that its processes were given."""

import re
from pathlib import Path

from activities.engine import Engine
from activities.offsite_progress import Progress
from activities.pulse import beat

_READ = re.compile(r"^rchar: (\d+)$", re.MULTILINE)
_PROCESSES = Path("/proc")
_MOST = 100


class Reading:
    """Called whenever a job is looked at; says bytes, rate and an estimate where the kernel lets us see."""

    def __init__(self, engine: Engine, job: str, what: str, total_bytes: int | None) -> None:
        """``job`` is the name of the container, ``total_bytes`` what it will have read, if that is known."""
        self._engine = engine
        self._job = job
        self._what = what
        self._progress = Progress(what, total_bytes)
        self._pid = 0

    def __call__(self, _line: str) -> None:
        """Say how far it is."""
        done = self._read()
        if done is None:
            beat(self._what)
        else:
            self._progress.tell(done)

    def _read(self) -> int | None:
        try:
            pid = self._pid or self._find()
            return read_by(pid) if pid else None
        except OSError:
            return None  # it has ended, or this worker may not look

    def _find(self) -> int:
        state = self._engine.look(self._job)
        self._pid = int(state.raw["State"].get("Pid") or 0) if state is not None else 0
        return self._pid


def read_by(pid: int, processes: Path = _PROCESSES) -> int:
    """Return how many bytes a process and all that it started were given; raises ``OSError`` without it.

    The first process of a container only waits for the one that works; what ended is counted to its parent.
    """
    total, waiting, looked = _count(processes / str(pid)), _children(processes / str(pid)), 0
    while waiting and looked < _MOST:
        looked += 1
        process = processes / str(waiting.pop())
        try:
            total += _count(process)
            waiting += _children(process)
        except OSError:
            continue  # it has ended meanwhile
    return total


def _count(process: Path) -> int:
    found = _READ.search((process / "io").read_text())
    return int(found[1]) if found else 0


def _children(process: Path) -> list[int]:
    return [int(word) for file in process.glob("task/*/children") for word in file.read_text().split()]
