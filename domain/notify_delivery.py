"""Whether people were reached, channel by channel. Pure."""

from collections.abc import Iterable

from domain.inert import Quoted
from domain.order import Value


class Delivery(Value):
    """Whether one channel took a message."""

    channel: str
    taken: bool
    because: Quoted = ""
    """Why not, in words that name no address."""


def not_taken(deliveries: Iterable[Delivery]) -> str:
    """Return which channels did not take a message and which did, or nothing when all did."""
    known = tuple(deliveries)
    failed = [f"{one.channel} ({one.because})" for one in known if not one.taken]
    taken = [one.channel for one in known if one.taken]
    if not failed:
        return ""
    others = f"; told by {', '.join(taken)}" if taken else "; by no channel at all"
    return f"not told by {', '.join(failed)}{others}"
