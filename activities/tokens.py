"""Fencing tokens on the host: an attempt that was overtaken stops itself (F-A4)."""

import fcntl
import json
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TextIO

import structlog
from temporalio import activity

from domain.errors import Refused
from domain.order import Order
from domain.paths import one_part

_admitted: ContextVar[Callable[[], None] | None] = ContextVar("admitted", default=None)


def require_admitted() -> None:
    """Raise ``Refused`` (``overtaken``) when the hand that runs here was overtaken since it was admitted.

    Clients ask before each change: a process that was frozen must not go on where a later attempt,
    or a whole later recovery, has been meanwhile. Outside an admitted hand nothing is asked.
    """
    ask = _admitted.get()
    if ask is not None:
        ask()


class Tokens:
    """The greatest token seen for each stack and step, kept under ``DR_STATE/fence``."""

    def __init__(self, state: Path) -> None:
        """Keep the file under ``state``."""
        self._directory = state / "fence"

    def admit(self, order: Order, stack: str) -> None:
        """Let an order pass unless a later run or a later dispatch was admitted before it.

        Raises ``Refused`` with code ``overtaken``. An order without token (a hand called outside
        a run) passes.
        """
        if order.token.run_started_ns == 0:
            return
        attempt = activity.info().attempt if activity.in_activity() else 1
        mine = [order.token.dispatched_ns, attempt]
        self._directory.mkdir(parents=True, exist_ok=True)
        path = self._directory / f"{one_part(stack, 'the name of a stack')}.json"
        with path.open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            steps = _require_newest(file, order, mine)
            steps[order.step_id] = mine
            file.seek(0)
            file.truncate()
            json.dump({"run": order.token.run_started_ns, "steps": steps}, file)
            file.flush()
        _admitted.set(lambda: _require_still_newest(path, order, mine))


def _require_still_newest(path: Path, order: Order, mine: list[int]) -> None:
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        _require_newest(file, order, mine)


def _require_newest(file: TextIO, order: Order, mine: list[int]) -> dict[str, Any]:
    """Return the tokens of the run's steps, unless a later run or attempt is among them."""
    file.seek(0)
    known = json.loads(file.read() or "{}")
    run = known.get("run", 0)
    steps: dict[str, Any] = known.get("steps", {}) if run == order.token.run_started_ns else {}
    if order.token.run_started_ns < run or mine < steps.get(order.step_id, [0, 0]):
        refused = Refused("a later attempt has taken over", where=order.step_id, code="overtaken")
        # Said here as well: nobody waits any more for the answer of an attempt that was given up.
        structlog.get_logger().warning(str(refused), recovery_id=order.recovery_id, step=order.step_id)
        raise refused
    return steps
