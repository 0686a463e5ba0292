"""Heartbeats of hands that take long, usable with and without Temporal around them."""

from contextvars import ContextVar
from dataclasses import dataclass

from temporalio import activity
from temporalio.exceptions import CancelledError


@dataclass
class Said:
    """The last sentence of a hand, repeated by the worker's liveness beat."""

    sentence: str = "at work"


_said: ContextVar[Said | None] = ContextVar("said", default=None)


def listen() -> Said:
    """Return the holder into which ``beat`` of this context speaks from now on."""
    said = Said()
    _said.set(said)
    return said


def beat(sentence: str) -> None:
    """Report progress, readable by people; end the hand when its attempt was called off.

    Only the watching ends: detached jobs go on, and the next attempt re-attaches to them.
    """
    if not activity.in_activity():
        return
    said = _said.get()
    if said is not None:
        said.sentence = sentence
    activity.heartbeat(sentence)
    if activity.is_cancelled():
        message = "the attempt was called off; its job goes on"
        raise CancelledError(message)
