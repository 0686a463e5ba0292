"""Heartbeats of hands that take long, usable with and without Temporal around them."""

from temporalio import activity
from temporalio.exceptions import CancelledError


def beat(sentence: str) -> None:
    """Report progress, readable by people; end the hand when its attempt was called off.

    Only the watching ends: detached jobs go on, and the next attempt re-attaches to them.
    """
    if not activity.in_activity():
        return
    activity.heartbeat(sentence)
    if activity.is_cancelled():
        message = "the attempt was called off; its job goes on"
        raise CancelledError(message)
