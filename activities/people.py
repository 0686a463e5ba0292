"""Telling people."""

import json
from datetime import UTC, datetime
from pathlib import Path

import structlog
from temporalio import activity

from activities.notify import Channels
from domain.errors import Refused
from domain.incident import Told
from domain.notify import Occasion
from domain.notify_delivery import not_taken
from domain.order import Order


class TellOrder(Order):
    """One sentence for people."""

    stack: str = ""
    sentence: str
    to: tuple[str, ...] = ()
    """Roles or names that it is meant for; empty means everybody."""
    occasion: Occasion = Occasion.RECOVERY


class People:
    """Tells people by the log, by ``DR_STATE/notices.jsonl`` and by the channels of the stack file."""

    def __init__(self, state: Path, channels: Channels | None = None) -> None:
        """Keep the notices under ``state``; without ``channels`` nobody else is told."""
        self._file = state / "notices.jsonl"
        self._channels = channels

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_told(self, order: TellOrder) -> Told:
        """Tell one sentence; telling it twice is harmless.

        Raises ``Refused`` (``not-told``) after everybody else was told, naming the channels that did not
        take it: the caller puts that on its record and goes on (F-F10). It is not tried again, for the
        others would be told once more.
        """
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
        sent = self._channels.tell(order.stack, order.occasion, order.sentence) if self._channels else ()
        wrong = not_taken(sent)
        if wrong:
            raise Refused(
                wrong, hint="look at notify: in the stack file, and at the channel", code="not-told"
            )
        return Told(sentence=order.sentence)
