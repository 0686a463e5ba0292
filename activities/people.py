"""Telling people."""

import json
from datetime import UTC, datetime
from pathlib import Path

import structlog
from temporalio import activity

from domain.incident import Told
from domain.order import Order


class TellOrder(Order):
    """One sentence for people."""

    stack: str = ""
    sentence: str
    to: tuple[str, ...] = ()
    """Roles or names that it is meant for; empty means everybody."""


class People:
    """Writes notices to the log and to ``DR_STATE/notices.jsonl``, where the console shows them."""

    def __init__(self, state: Path) -> None:
        """Keep the notices under ``state``."""
        self._file = state / "notices.jsonl"

    @activity.defn
    def ensure_told(self, order: TellOrder) -> Told:
        """Tell one sentence; telling it twice is harmless."""
        structlog.get_logger().warning(
            order.sentence, recovery_id=order.recovery_id, stack=order.stack, to=order.to
        )
        self._file.parent.mkdir(parents=True, exist_ok=True)
        line = {
            "at": datetime.now(UTC).isoformat(),
            "recovery_id": order.recovery_id,
            "sentence": order.sentence,
            "to": list(order.to),
        }
        with self._file.open("a") as file:
            file.write(json.dumps(line) + "\n")
        return Told(sentence=order.sentence)
