"""The ledger's process: one marker a second into every store, acknowledged outside the stack.

It is a process of its own, so that a killed worker does not stop it (decision V3)::

    python -m worker.ledger --stack lab
"""

import argparse
import queue
import signal
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import docker
import structlog

from activities.engine import Engine
from activities.ledger_journal import Journal, LedgerFiles
from activities.ledger_places import Sought, find_place, stores_of_stack
from activities.ledger_stores import MarkerStore, open_store
from activities.secrets import Secrets
from domain.errors import DrError, Refused
from domain.ledger import MarkerState, Store
from domain.stack import Stack
from domain.stack_file import parse_stack
from worker import logs
from worker.prober import run_prober
from worker.settings import Settings, environment

KEEP = timedelta(hours=24)
PRUNE_AT_LEAST = 60
PRUNE_AT_MOST = 1000
ENDING_SECONDS = 15

Engines = Callable[[], Engine]
_log = structlog.get_logger("ledger")


class Connector:
    """Looks a store up by its compose labels, each time anew, and connects to it."""

    def __init__(self, store: Store, sought: Sought, engines: Engines, variables: dict[str, str]) -> None:
        """``engines`` makes a client of the Docker engine; each store has its own."""
        self.store = store
        self._sought = sought
        self._engines = engines
        self._variables = variables
        self._engine: Engine | None = None

    def __call__(self, *, may_create: bool) -> MarkerStore:
        """Return an open connection. Raises ``DrError``."""
        if self._engine is None:
            self._engine = self._engines()
        place = find_place(self._engine, Secrets(self._engine, self._variables), self._sought)
        return open_store(self.store, place, may_create=may_create)


class MarkerWriter:
    """Writes, prunes and journals the markers of one store."""

    def __init__(self, store: Store, files: LedgerFiles, connect: Callable[..., MarkerStore]) -> None:
        """``connect`` is asked again after every failure."""
        self._store = store
        self._files = files
        self._connect = connect
        self._journal = Journal(files.journal(store))
        self._open: MarkerStore | None = None
        self._said: str | None = None

    @property
    def highest(self) -> int:
        """The highest number that was ever attempted here."""
        return self._journal.highest

    def turn(self, n: int) -> None:
        """Write marker ``n`` and prune what is too old, unless flags forbid it."""
        if self._store is not Store.POSTGRES:
            self._mark_and_prune(n)
            return
        with self._files.marker_in_flight(wait_seconds=0.5) as held:
            if not held:
                return
            if self._files.pause_postgres.exists():
                # An open session would stand in the way of the fence and of a clean stop.
                self.disconnect()
                self._say("paused")
                return
            self._mark_and_prune(n)

    def disconnect(self) -> None:
        """Let go of the connection; the next marker makes a new one."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def close(self) -> None:
        """Let go of everything."""
        self.disconnect()
        self._journal.close()

    def _mark_and_prune(self, n: int) -> None:
        self._journal.append(n, MarkerState.ATTEMPTED)
        try:
            self._opened().write(n)
        except Exception as error:  # noqa: BLE001 - whatever it is, this marker is not acknowledged
            self._journal.append(n, MarkerState.REFUSED)
            self.disconnect()
            self._say(error.what if isinstance(error, DrError) else type(error).__name__)
            return
        self._journal.append(n, MarkerState.ACKNOWLEDGED)
        self._say("")
        self._prune()

    def _opened(self) -> MarkerStore:
        if self._open is None:
            self._open = self._connect(may_create=not self._files.recovery_open.exists())
        return self._open

    def _prune(self) -> None:
        if self._files.recovery_open.exists() or self._open is None:
            return
        old = self._journal.older_than(datetime.now(UTC) - KEEP, PRUNE_AT_MOST)
        if len(old) < PRUNE_AT_LEAST:
            return
        # Journaled before it is done: a marker that may be gone must never read as lost.
        self._journal.append(old[-1] + 1, MarkerState.PRUNED)
        try:
            self._open.prune(old)
        except DrError as error:
            self.disconnect()
            self._say(error.what)
            return
        self._journal.forget(old)

    def _say(self, trouble: str) -> None:
        if trouble == self._said:
            return
        self._said = trouble
        if trouble:
            _log.warning(f"no markers into {self._store.value}: {trouble}", store=self._store.value)
        else:
            _log.info(f"markers are written into {self._store.value}", store=self._store.value)


class _Hand(threading.Thread):
    """One store's thread: a store that hangs misses its own markers and nobody else's."""

    def __init__(self, store: Store, writer: MarkerWriter) -> None:
        super().__init__(name=f"ledger-{store.value}", daemon=True)
        self._writer = writer
        self._next: queue.Queue[int | None] = queue.Queue(maxsize=1)

    def offer(self, n: int) -> None:
        """Hand over a number; a thread that is still busy goes without it."""
        if self._next.empty():
            self._next.put_nowait(n)

    def end(self) -> None:
        """Finish the marker in hand, then stop."""
        self._next.put(None)

    def run(self) -> None:
        while (n := self._next.get()) is not None:
            try:
                self._writer.turn(n)
            except Exception:  # noqa: BLE001 - one odd marker must not end all that follow
                # A full disk or the like: without a journal there is no marker, but there will be.
                _log.exception("a marker was left out")
        self._writer.close()


def run_ledger(
    stack: Stack,
    state: Path,
    stop: threading.Event,
    *,
    engines: Engines,
    variables: dict[str, str],
    every_seconds: float = 1.0,
) -> None:
    """Write markers into every store of the stack until ``stop`` is set.

    Raises ``Refused`` with code ``ledger-running`` when another process does so already.
    """
    files = LedgerFiles(state, stack.stack)
    with files.owned():
        writers = {
            store: MarkerWriter(store, files, Connector(store, sought, engines, variables))
            for store, sought in stores_of_stack(stack).items()
        }
        hands = [_Hand(store, writer) for store, writer in writers.items()]
        n = max((writer.highest for writer in writers.values()), default=0)
        for hand in hands:
            hand.start()
        while not stop.wait(every_seconds):
            # Numbers follow the clock, so that a lost journal does not repeat those of an old one.
            n = max(n + 1, int(time.time()))
            for hand in hands:
                hand.offer(n)
        for hand in hands:
            hand.end()
        for hand in hands:
            hand.join(ENDING_SECONDS)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the ledger, and the prober beside it, until SIGTERM or SIGINT."""
    settings = Settings()
    asked = _asked(settings, arguments)
    logs.set_up(settings.log_format)
    try:
        stack = _stack(settings, asked.stack, asked.stack_file)
        _run(stack, asked)
    except DrError as error:
        raise SystemExit(str(error)) from error


def _run(stack: Stack, asked: argparse.Namespace) -> None:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    prober = threading.Thread(
        target=run_prober,
        args=(stack, asked.state, stop),
        kwargs={
            "engines": _engine,
            "variables": environment(),
            "per_second": asked.probes_per_second,
        },
        name="prober",
        daemon=True,
    )
    if asked.probes_per_second > 0:
        prober.start()
    run_ledger(stack, asked.state, stop, engines=_engine, variables=environment())


def _engine() -> Engine:
    return Engine(docker.from_env(timeout=10))


def _asked(settings: Settings, arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m worker.ledger", description=__doc__.splitlines()[0])
    parser.add_argument("--stack", default=settings.default_stack, help="name of the stack")
    parser.add_argument("--stack-file", type=Path, help="its file, when the settings do not know it")
    parser.add_argument("--state", type=Path, default=settings.state, help="DR_STATE")
    parser.add_argument(
        "--probes-per-second",
        type=float,
        default=settings.probes_per_second,
        help="user actions a second; 0 runs no prober",
    )
    return parser.parse_args(arguments)


def _stack(settings: Settings, name: str, file: Path | None) -> Stack:
    # Only the file that is asked for is read: a broken one of another stack is that stack's trouble.
    files = settings.stacks()
    path = file or (files.get(name) if name else next(iter(files.values()), None))
    stack = parse_stack(path.read_text(), str(path))[0] if path is not None else None
    if stack is None or name not in {"", stack.stack}:
        raise Refused(
            f"no stack is named {name}",
            hint=f"known here: {', '.join(sorted(files)) or 'none'}",
            code="stack-unknown",
        )
    return stack


if __name__ == "__main__":
    main()
