"""Sends a sentence by the channels of a stack file; a channel that is down holds up nobody."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from activities.secrets import Secrets
from domain.errors import DrError
from domain.notify import Channel, Occasion, channels_for
from domain.notify_delivery import Delivery
from domain.stack import Stack
from domain.stack_file import parse_stack

Send = Callable[[str, str, str], bool]
"""Takes the address, a title and a body; tells whether the other side took it."""

PATIENCE_SECONDS = 12.0
"""For all channels together: less than a run waits for its notice."""


def send_by_apprise(url: str, title: str, body: str) -> bool:
    """Send one message. Raises ``ValueError`` for an address that Apprise does not understand."""
    import apprise  # noqa: PLC0415 - a hundred modules, which neither the command line nor a replay needs

    # It names hosts and paths of addresses in its warnings, and those are secrets.
    logging.getLogger("apprise").setLevel(logging.CRITICAL)
    channel = apprise.Apprise(
        asset=apprise.AppriseAsset(async_mode=False, service_timeout=PATIENCE_SECONDS, allow_templates=False)
    )
    if not channel.add(url):
        message = "no address that Apprise understands"
        raise ValueError(message)
    return bool(channel.notify(title=title, body=body, body_format=apprise.NotifyFormat.TEXT))


@dataclass
class _Sending:
    """One channel's message on its way."""

    channel: Channel
    answer: Delivery | None = None
    thread: threading.Thread | None = field(default=None, repr=False)


class Channels:
    """Knows the channels of every stack and sends by all that are for an occasion, at once."""

    def __init__(
        self,
        stacks: Mapping[str, Path],
        default: str,
        secrets: Secrets,
        send: Send = send_by_apprise,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        """``stacks`` maps the name of a stack to its file; ``send`` is replaced by tests."""
        self._stacks = stacks
        self._default = default
        self._secrets = secrets
        self._send = send
        self._patience = patience_seconds

    def tell(self, stack: str, occasion: Occasion, sentence: str) -> tuple[Delivery, ...]:
        """Send a sentence by every channel for the occasion, and say what became of each."""
        known = self._read(stack or self._default or next(iter(self._stacks), ""))
        if known is None:
            # Silence here would be read as: everybody was told.
            return (Delivery(channel="any channel", taken=False, because="no stack file says by which"),)
        title = f"dr, stack {known.stack}: {occasion.value}"
        going = [_Sending(channel) for channel in channels_for(known.notify, occasion)]
        for one in going:
            one.thread = threading.Thread(
                target=self._deliver, args=(one, known.project, title, sentence), daemon=True
            )
            one.thread.start()
        deadline = time.monotonic() + self._patience
        for one in going:
            if one.thread is not None:
                one.thread.join(max(deadline - time.monotonic(), 0.0))
        late = f"no answer within {self._patience:g} s"
        return tuple(
            one.answer or Delivery(channel=one.channel.name, taken=False, because=late) for one in going
        )

    def _deliver(self, one: _Sending, project: str, title: str, sentence: str) -> None:
        because = ""
        try:
            url = self._secrets.reveal(one.channel.url, project)
            if not self._send(url, title, sentence):
                because = "it did not take the message"
        except DrError as error:
            because = error.what
        except ValueError:
            because = "its address is none that Apprise understands"
        except Exception as error:  # noqa: BLE001 - whatever a channel does, the others are told
            # The words of a library may hold the address.
            because = f"it failed: {type(error).__name__}"
        one.answer = Delivery(channel=one.channel.name, taken=not because, because=because)

    def _read(self, name: str) -> Stack | None:
        path = self._stacks.get(name)
        if path is None:
            return None
        try:
            return parse_stack(path.read_text(encoding="utf-8"), str(path))[0]
        except (DrError, OSError, ValueError) as error:
            structlog.get_logger().warning("nobody is told: the stack file cannot be read", reason=str(error))
            return None
