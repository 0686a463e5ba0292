"""Fencing tokens on the host: an attempt that was overtaken stops itself (F-A4)."""

import fcntl
import json
from pathlib import Path

from temporalio import activity

from domain.errors import Refused
from domain.order import Order


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
        with (self._directory / f"{stack}.json").open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            known = json.loads(file.read() or "{}")
            run = known.get("run", 0)
            steps = known.get("steps", {}) if run == order.token.run_started_ns else {}
            if order.token.run_started_ns < run or mine < steps.get(order.step_id, [0, 0]):
                raise Refused("a later attempt has taken over", where=order.step_id, code="overtaken")
            steps[order.step_id] = mine
            file.seek(0)
            file.truncate()
            json.dump({"run": order.token.run_started_ns, "steps": steps}, file)
            file.flush()
