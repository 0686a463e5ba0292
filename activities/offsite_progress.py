"""How far a long transfer is: bytes, rate, and an estimate of the rest."""

import threading
import time
from collections.abc import Callable

from activities.pulse import beat
from domain.backups import spoken_bytes
from domain.progress import progress_sentence


class Progress:
    """Counts bytes from several threads; the sentence is for heartbeats."""

    def __init__(
        self,
        what: str,
        total_bytes: int | None,
        *,
        about: bool = False,
        unit: Callable[[float], str] = spoken_bytes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``what`` begins the sentence; ``None`` is a total that nobody knows.

        With ``about`` the total is only expected. ``unit`` spells what is counted when it is no bytes.
        """
        self.what = what
        self._total = total_bytes
        self._about = about
        self._unit = unit
        self._clock = clock
        self._done = 0
        self._before = 0
        """What was behind us already when we began to look."""
        self._lock = threading.Lock()
        self._begun = clock()

    def add(self, count: int) -> None:
        """Count bytes that are behind us."""
        with self._lock:
            self._done += count

    def at(self, done: int, total_bytes: int | None = None) -> None:
        """Take over how far somebody else says to be; the rate is that since the first time."""
        with self._lock:
            if self._done == 0:
                self._before, self._begun = done, self._clock()
            self._done = done
            self._total = self._total if total_bytes is None else total_bytes

    def more(self, count: int) -> None:
        """Add bytes that turned out to be due as well."""
        with self._lock:
            self._total = (self._total or 0) + count

    def tell(self, done: int, total_bytes: int | None = None) -> None:
        """Take over how far somebody else says to be, and beat with it."""
        self.at(done, total_bytes)
        beat(self.sentence())

    @property
    def done(self) -> int:
        """Return how many bytes are behind us."""
        return self._done

    @property
    def seconds(self) -> float:
        """Return how long it has been going on."""
        return self._clock() - self._begun

    def sentence(self) -> str:
        """Return how far it is."""
        return progress_sentence(
            self.what,
            self._done,
            self._total,
            seconds=self.seconds,
            before=self._before,
            about=self._about,
            unit=self._unit,
        )
