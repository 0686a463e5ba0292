"""Detached processes that outlive the command that started them.

Each daemon has a name inside a run directory. Its record there holds the pid, the start time of the process
and the boot it belongs to, so that a recycled pid is never mistaken for it: only processes that were recorded
are ever signalled. A supervised daemon runs below a small supervisor that starts it again when it dies.

``python -m infra.daemons supervise NAME --run-directory DIR -- PROGRAM ARGUMENT...`` is the supervisor.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType

from domain.errors import Refused

LOG_LIMIT_BYTES = 20_000_000
FIRST_BACK_OFF_SECONDS = 0.5
LAST_BACK_OFF_SECONDS = 30.0
STEADY_AFTER_SECONDS = 60.0
GRACE_SECONDS = 10.0

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_STATE_FIELD = 0
_START_FIELD = 19

# To compile its modules anew takes a killed worker longer than everything else until it is back.
_QUICK = {"PYTHONDONTWRITEBYTECODE": ""}

# A Popen that is forgotten warns about a running child; these are meant to go on running.
_children: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True, kw_only=True)
class Daemon:
    """What to run. ``argv`` holds no secret: it is recorded, and every user of the host can read it.

    ``env`` is added to the environment of the caller. The log is ``<run_directory>/<name>.log`` unless named.
    """

    name: str
    argv: tuple[str, ...]
    run_directory: Path
    log: Path | None = None
    cwd: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    supervised: bool = False


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """The identity of a process: pid, its start in clock ticks after boot, and the boot."""

    pid: int
    start_ticks: int
    boot_id: str
    argv: tuple[str, ...]


def start(daemon: Daemon) -> Recorded:
    """Start a daemon in a session of its own, or return the one that runs already.

    Readiness is the caller's to check. Raises ``Refused`` (``program-missing``) when there is none.
    """
    daemon.run_directory.mkdir(parents=True, exist_ok=True)
    with _locked(daemon.run_directory, daemon.name):
        running = recorded(daemon.run_directory, daemon.name)
        if running is not None:
            return running
        # A supervisor that was killed leaves its child behind; two of them must not run.
        _end(daemon.run_directory, _child_name(daemon.name), GRACE_SECONDS)
        return _spawn(daemon)


def recorded(run_directory: Path, name: str) -> Recorded | None:
    """Return the record of a daemon that runs; None when it does not, or is another process now."""
    record = _read(run_directory, name)
    return record if record is not None and _alive(record) else None


def supervised(run_directory: Path, name: str) -> Recorded | None:
    """Return the record of what a supervisor keeps running now; None when it does not run."""
    return recorded(run_directory, _child_name(name))


def is_running(run_directory: Path, name: str) -> bool:
    """Return whether the recorded process of that name is alive."""
    return recorded(run_directory, name) is not None


def names(run_directory: Path) -> tuple[str, ...]:
    """Return the names of the daemons recorded in a run directory, running or not."""
    return tuple(sorted(path.stem for path in run_directory.glob("*.json") if path.suffixes == [".json"]))


def stop(run_directory: Path, name: str, grace_seconds: float = GRACE_SECONDS) -> bool:
    """End a daemon: SIGTERM, wait, SIGKILL. Return whether something ran; nothing recorded is no error."""
    if not run_directory.is_dir():
        return False
    with _locked(run_directory, name):
        # The supervisor waits for its child, so it gets a little longer than the child.
        ended = _end(run_directory, name, grace_seconds + 2)
        orphan = _end(run_directory, _child_name(name), grace_seconds)
        return ended or orphan


def _child_name(name: str) -> str:
    """Return the name under which the supervisor records what it supervises."""
    return f"{name}.child"


def _spawn(daemon: Daemon) -> Recorded:
    argv = daemon.argv
    if daemon.supervised:
        if shutil.which(argv[0]) is None:
            raise _missing(daemon, argv[0])
        supervisor = (sys.executable, "-m", "infra.daemons", "supervise", daemon.name)
        argv = (*supervisor, "--run-directory", str(daemon.run_directory.resolve()), "--", *argv)
    log = daemon.log or daemon.run_directory / f"{daemon.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
        log.replace(log.with_name(log.name + ".1"))
    with log.open("ab") as output:
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=daemon.cwd,
                env={**os.environ, **_QUICK, **daemon.env},
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise _missing(daemon, error.filename) from error
    _children[process.pid] = process
    return _record(daemon.run_directory, daemon.name, process.pid, argv)


def _missing(daemon: Daemon, path: str) -> Refused:
    return Refused(
        f"{daemon.name} cannot be started: {path} does not exist",
        where=str(daemon.cwd or Path.cwd()),
        hint="run make setup, or correct the path",
        code="program-missing",
    )


def _record(run_directory: Path, name: str, pid: int, argv: Sequence[str]) -> Recorded:
    """Write who a process is, before anybody can forget it."""
    stat = _stat(pid)
    # A process that is gone already keeps a start no live process can have.
    ticks = int(stat[_START_FIELD]) if stat else -1
    record = Recorded(pid=pid, start_ticks=ticks, boot_id=_boot_id(), argv=tuple(argv))
    path = run_directory / f"{name}.json"
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with fresh.open("w", encoding="utf-8") as file:
        json.dump(asdict(record), file)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    return record


def _read(run_directory: Path, name: str) -> Recorded | None:
    try:
        content = json.loads((run_directory / f"{name}.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return Recorded(**{**content, "argv": tuple(content["argv"])})


def _boot_id() -> str:
    return _BOOT_ID.read_text(encoding="ascii").strip()


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/<pid>/stat after the program's name, which may itself hold brackets."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()


def _alive(record: Recorded) -> bool:
    _reap(record.pid)
    stat = _stat(record.pid)
    if stat is None or stat[_STATE_FIELD] in {"Z", "X"}:
        return False
    return int(stat[_START_FIELD]) == record.start_ticks and record.boot_id == _boot_id()


def _reap(pid: int) -> None:
    """Take the exit status of a child of this very process, which would stay a zombie otherwise."""
    child = _children.get(pid)
    if child is not None and child.poll() is not None:
        del _children[pid]


def _end(run_directory: Path, name: str, grace_seconds: float) -> bool:
    record = _read(run_directory, name)
    if record is None:
        return False
    ended = _end_process(record, grace_seconds)
    (run_directory / f"{name}.json").unlink(missing_ok=True)
    return ended


def _end_process(record: Recorded, grace_seconds: float) -> bool:
    try:
        # The descriptor holds this very process: between the look and the signal no other can take its pid.
        descriptor = os.pidfd_open(record.pid)
    except ProcessLookupError:
        return False
    try:
        if not _alive(record):
            return False
        for number, wait_seconds in ((signal.SIGTERM, grace_seconds), (signal.SIGKILL, GRACE_SECONDS)):
            if _signalled_and_gone(descriptor, number, wait_seconds):
                break
        _reap(record.pid)
    finally:
        os.close(descriptor)
    return True


def _signalled_and_gone(descriptor: int, number: signal.Signals, wait_seconds: float) -> bool:
    try:
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return True
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(wait_seconds * 1000))


@contextmanager
def _locked(run_directory: Path, name: str) -> Iterator[None]:
    """Keep two commands from starting or ending the same daemon at once."""
    with (run_directory / f"{name}.lock").open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class _Supervisor:
    """Starts a program again when it dies, with a growing pause, until it is told to stop."""

    def __init__(self, name: str, run_directory: Path, argv: Sequence[str]) -> None:
        self._name = name
        self._run_directory = run_directory
        self._argv = tuple(argv)
        self._told = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None

    def run(self) -> int:
        """Return when the program ended well or the supervisor was told to stop."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        pause = FIRST_BACK_OFF_SECONDS
        while not self._told.is_set():
            began = time.monotonic()
            status = self._once()
            if status == 0 or self._told.is_set():
                break
            lived = time.monotonic() - began
            # What was killed from outside did not fail by itself: nothing is won by waiting longer.
            steady = lived > STEADY_AFTER_SECONDS or status < 0
            pause = FIRST_BACK_OFF_SECONDS if steady else pause
            print(f"{self._name} ended with {status} after {lived:.1f} s; again in {pause:.1f} s", flush=True)
            self._told.wait(pause)
            pause = min(pause * 2, LAST_BACK_OFF_SECONDS)
        (self._run_directory / f"{_child_name(self._name)}.json").unlink(missing_ok=True)
        return 0

    def _once(self) -> int:
        self._child = subprocess.Popen(self._argv, stdin=subprocess.DEVNULL)
        _record(self._run_directory, _child_name(self._name), self._child.pid, self._argv)
        if self._told.is_set():
            # The signal came while the child was being made and did not reach it.
            self._child.terminate()
        return self._child.wait()

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._told.set()
        child = self._child
        if child is not None and child.returncode is None:
            child.terminate()
            last = threading.Timer(GRACE_SECONDS, child.kill)
            last.daemon = True
            last.start()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the supervisor from the command line."""
    parser = argparse.ArgumentParser(prog="python -m infra.daemons")
    verbs = parser.add_subparsers(required=True)
    supervise = verbs.add_parser("supervise", help="run a program and start it again when it dies")
    supervise.add_argument("name")
    supervise.add_argument("--run-directory", type=Path, required=True)
    supervise.add_argument("argv", nargs="+", metavar="-- PROGRAM ARGUMENT")
    chosen = parser.parse_args(arguments)
    return _Supervisor(chosen.name, chosen.run_directory, chosen.argv).run()


if __name__ == "__main__":
    sys.exit(main())
