"""The ledger's files outside the stack: journals, and the flags that say what it may do."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import islice, takewhile
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from domain.errors import Refused
from domain.ledger import JournalLine, MarkerState, Store
from domain.markers import Known, read_journal
from domain.paths import one_part

COMPACT_AFTER = 3600
"""Pruned markers after which their lines leave the journal."""
_RECENT_BYTES = 64 * 1024


class LedgerFiles:
    """Where the ledger of one stack keeps what must outlive the stack; all under ``DR_STATE``."""

    def __init__(self, state: Path, stack: str) -> None:
        """``state`` is ``DR_STATE``. Raises ``Refused`` when ``stack`` is no file name."""
        one_part(stack, "the name of a stack")
        self.directory = state / "ledger" / stack
        self.recovery_open = state / "recovery-open" / stack
        self.pause_postgres = self.directory / "pause-postgres"
        self.probe = state / "probe" / f"{stack}.jsonl"
        self._in_flight = self.directory / "postgres.in-flight"
        self._owner = self.directory / "owner"

    def journal(self, store: Store) -> Path:
        """Return the journal of a store."""
        return self.directory / f"{store.value}.jsonl"

    def known(self, store: Store) -> Known:
        """Read the journal of a store; one that is not there is empty."""
        path = self.journal(store)
        return read_journal(path.read_bytes() if path.is_file() else b"")

    def newest(self, store: Store) -> dict[MarkerState, datetime]:
        """Return when each state was written last, of some minutes; torn and garbled lines are left out."""
        try:
            with self.journal(store).open("rb") as file:
                start = max(file.seek(0, 2) - _RECENT_BYTES, 0)
                file.seek(start)
                lines = file.read().split(b"\n")[1 if start else 0 : -1]
        except FileNotFoundError:
            return {}
        last: dict[MarkerState, datetime] = {}
        for raw in lines:
            with suppress(ValidationError):
                line = JournalLine.model_validate_json(raw)
                last[line.state] = max(last.get(line.state, line.at), line.at)
        return last

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Hold the ledger of this stack. Raises ``Refused`` when another process holds it."""
        with self._locked(self._owner, wait_seconds=0) as held:
            if not held:
                raise Refused(
                    "the ledger of this stack is kept by another process",
                    where=str(self.directory),
                    hint="one process writes the markers of a stack",
                    code="ledger-running",
                )
            yield

    @contextmanager
    def marker_in_flight(self, *, wait_seconds: float) -> Iterator[bool]:
        """Hold the right to send a marker to PostgreSQL; false when it was not to be had in time.

        The writer looks at the pause flag inside; who sets the flag and then holds this once knows
        that no marker is on its way. A killed process lets go of it.
        """
        with self._locked(self._in_flight, wait_seconds=wait_seconds) as held:
            yield held

    @contextmanager
    def _locked(self, path: Path, *, wait_seconds: float) -> Iterator[bool]:
        path.parent.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + wait_seconds
        with path.open("a") as file:
            while not (held := _try_lock(file)) and time.monotonic() < deadline:
                time.sleep(0.05)
            yield held


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def put_flag(path: Path, text: str) -> bool:
    """Make a flag file that holds ``text``, durably; return whether it was there with it before."""
    if path.is_file() and path.read_text() == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    _replace(path, text.encode())
    return True


def drop_flag(path: Path) -> bool:
    """Remove a flag file, durably; return whether it was there."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    _sync_directory(path.parent)
    return True


class Journal:
    """One store's journal, opened by its only writer; each line is on disk before it returns."""

    def __init__(self, path: Path) -> None:
        """Open or make the file; a torn last line is cut off."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._fd = self._open()
        known = read_journal(path.read_bytes())
        self.highest = known.highest
        self._attempted = dict(known.attempted)
        self._pruned_below = known.pruned_below
        self._forgotten = 0

    def append(self, n: int, state: MarkerState) -> datetime:
        """Write one line and force it to disk; return its time. Raises ``OSError``."""
        line = JournalLine(n=n, state=state, at=datetime.now(UTC))
        data = line.model_dump_json().encode() + b"\n"
        end = os.fstat(self._fd).st_size
        try:
            _write_whole(self._fd, data)
        except OSError:
            # A half line would swallow the next one.
            os.ftruncate(self._fd, end)
            raise
        if state is MarkerState.PRUNED:
            self._pruned_below = max(self._pruned_below, n)
        else:
            self._attempted.setdefault(n, line.at)
            self.highest = max(self.highest, n)
        return line.at

    def older_than(self, moment: datetime, limit: int) -> list[int]:
        """Return the oldest numbers that may still be in the store and were attempted before."""
        return list(takewhile(lambda n: self._attempted[n] < moment, islice(self._attempted, limit)))

    def forget(self, numbers: list[int]) -> None:
        """Stop knowing numbers that were pruned; now and then their lines go, too."""
        for n in numbers:
            self._attempted.pop(n, None)
        self._forgotten += len(numbers)
        if self._forgotten >= COMPACT_AFTER:
            self._compact()
            self._forgotten = 0

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def _compact(self) -> None:
        border = JournalLine(n=self._pruned_below, state=MarkerState.PRUNED, at=datetime.now(UTC))
        kept = [border.model_dump_json().encode()]
        for raw in self._path.read_bytes().split(b"\n")[:-1]:
            try:
                line = JournalLine.model_validate_json(raw)
            except ValueError:
                # A garbled line among those that stay is still a hole in what is known.
                if len(kept) > 1:
                    kept.append(raw)
                continue
            if line.n in self._attempted and line.state is not MarkerState.PRUNED:
                kept.append(raw)
        _replace(self._path, b"\n".join(kept) + b"\n")
        os.close(self._fd)
        self._fd = self._open()

    def _open(self) -> int:
        new = not self._path.exists()
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        text = self._path.read_bytes()
        if not text.endswith(b"\n"):
            os.ftruncate(fd, text.rfind(b"\n") + 1)
            os.fsync(fd)
        if new:
            _sync_directory(self._path.parent)
        return fd


def _write_whole(fd: int, data: bytes) -> None:
    written = os.write(fd, data)
    if written != len(data):
        message = f"only {written} of {len(data)} bytes were written"
        raise OSError(message)
    os.fsync(fd)


def _replace(path: Path, data: bytes) -> None:
    beside = path.with_name(path.name + ".new")
    with beside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
