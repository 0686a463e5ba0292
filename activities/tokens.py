"""Fencing tokens on the host: an attempt that was overtaken stops itself (F-A4)."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import structlog
from temporalio import activity

from domain.errors import Refused
from domain.order import Order
from domain.paths import one_part

_FROZEN_SECONDS = 0.5
admitted: ContextVar[Callable[[], None] | None] = ContextVar("admitted", default=None)
"""What the hand that runs in this context asks before each change; nothing outside an admitted hand."""


def require_admitted() -> None:
    """Raise ``Refused`` (``overtaken``) when the hand that runs here was overtaken since it was admitted.

    Clients ask before each change: a process that was frozen must not go on where a later attempt,
    or a whole later recovery, has been meanwhile. Outside an admitted hand nothing is asked.
    """
    ask = admitted.get()
    if ask is not None:
        ask()


@dataclass(frozen=True)
class _Attempt:
    """One attempt at a step, named so that a directory of them can be read without opening any."""

    run: int
    dispatched: int
    number: int
    step: str

    @property
    def name(self) -> str:
        return f"{self.run}~{self.dispatched}~{self.number}~{self.step}"

    @classmethod
    def parse(cls, name: str) -> "_Attempt | None":
        run, _, rest = name.partition("~")
        dispatched, _, rest = rest.partition("~")
        number, _, step = rest.partition("~")
        if not (run.isdigit() and dispatched.isdigit() and number.isdigit() and step):
            return None
        return cls(int(run), int(dispatched), int(number), step)

    def overtaken_by(self, other: "_Attempt") -> bool:
        later = (other.dispatched, other.number) > (self.dispatched, self.number)
        return other.run > self.run or (other.run == self.run and other.step == self.step and later)


class Tokens:
    """The attempts that were admitted, an empty file each, in ``DR_STATE/fence/<stack>``.

    There is no lock: a process that was frozen while it held one would hold up whoever overtakes it. Each
    attempt first makes its own file and then looks for a later one, so of two at once the later one wins.
    """

    def __init__(self, state: Path) -> None:
        """Keep the files under ``state``."""
        self._directory = state / "fence"

    def admit(self, order: Order, stack: str) -> None:
        """Let an order pass unless a later run or a later dispatch was admitted before it.

        Raises ``Refused`` with code ``overtaken``. An order without token (a hand called outside
        a run) passes.
        """
        if order.token.run_started_ns == 0:
            return
        mine = _Attempt(
            run=order.token.run_started_ns,
            dispatched=order.token.dispatched_ns,
            number=activity.info().attempt if activity.in_activity() else 1,
            step=quote(order.step_id, safe="") or "-",
        )
        directory = self._directory / one_part(stack, "the name of a stack")
        directory.mkdir(parents=True, exist_ok=True)
        (directory / mine.name).touch()
        _require_newest(directory, order, mine)
        for older in _attempts(directory):
            if older.overtaken_by(mine):
                with suppress(FileNotFoundError):
                    (directory / older.name).unlink()
        admitted.set(lambda: _require_newest(directory, order, mine))


def _attempts(directory: Path) -> Iterator[_Attempt]:
    for path in directory.iterdir():
        attempt = _Attempt.parse(path.name)
        if attempt is not None:
            yield attempt


def _require_newest(directory: Path, order: Order, mine: _Attempt) -> None:
    """Raise ``Refused`` when a later run or attempt was admitted.

    A look that took long was one of a process that was frozen meanwhile: it is repeated.
    """
    while True:
        began = time.monotonic()
        if any(mine.overtaken_by(other) for other in _attempts(directory)):
            break
        if time.monotonic() - began < _FROZEN_SECONDS:
            return
    refused = Refused("a later attempt has taken over", where=order.step_id, code="overtaken")
    # Said here as well: nobody waits any more for the answer of an attempt that was given up.
    structlog.get_logger().warning(str(refused), recovery_id=order.recovery_id, step=order.step_id)
    raise refused
