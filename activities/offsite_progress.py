"""How far a long transfer is: bytes, rate, and an estimate of the rest."""

import threading
import time

from domain.backups import spoken_bytes
from domain.durations import spoken


class Progress:
    """Counts bytes from several threads; the sentence is for heartbeats."""

    def __init__(self, what: str, total_bytes: int) -> None:
        """``what`` begins the sentence."""
        self._what = what
        self._total = total_bytes
        self._done = 0
        self._before = 0
        """What was behind us already when we began to look."""
        self._lock = threading.Lock()
        self._begun = time.monotonic()

    def add(self, count: int) -> None:
        """Count bytes that are behind us."""
        with self._lock:
            self._done += count

    def at(self, done: int, total_bytes: int | None = None) -> None:
        """Take over how far somebody else says to be; the rate is that since the first time."""
        with self._lock:
            if self._done == 0:
                self._before, self._begun = done, time.monotonic()
            self._done = done
            self._total = self._total if total_bytes is None else total_bytes

    def more(self, count: int) -> None:
        """Add bytes that turned out to be due as well."""
        self._total += count

    @property
    def done(self) -> int:
        """Return how many bytes are behind us."""
        return self._done

    @property
    def seconds(self) -> float:
        """Return how long it has been going on."""
        return time.monotonic() - self._begun

    def sentence(self) -> str:
        """Return how far it is."""
        seconds, done = self.seconds, min(self._done, self._total)
        rate = max(done - self._before, 0) / seconds if seconds > 0 else 0.0
        percent = 100 * done // self._total if self._total else 100
        left = (
            f", about {spoken((self._total - done) / rate)} left" if rate > 0 and done < self._total else ""
        )
        return (
            f"{self._what} {percent} %: {spoken_bytes(done)} of {spoken_bytes(self._total)},"
            f" {spoken_bytes(rate)} a second{left}"
        )
