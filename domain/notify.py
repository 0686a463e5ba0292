"""Who is told what, and by which channel, as ``notify:`` of ``stack.yaml`` states it. Pure."""

from collections.abc import Container, Iterable, Iterator
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, StringConstraints, model_validator

from domain.fact import Fact
from domain.secret_ref import SecretRef


class Occasion(StrEnum):
    """Why people are told."""

    FAILED = "failed"
    """A verification of backups failed, or could not be made."""
    PASSED = "passed"
    RECOVERY = "recovery"
    """A recovery needs a decision, is parked, or reminds of either."""


class Channel(Fact):
    """One way to people: an address as Apprise spells it, which is a secret."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
    url: SecretRef
    on: Annotated[tuple[Occasion, ...], Field(min_length=1)] = tuple(Occasion)

    @model_validator(mode="before")
    @classmethod
    def _read_on(cls, given: Any) -> Any:  # noqa: ANN401 - whatever the file holds
        """Take the key ``on`` back: YAML 1.1 reads the bare word as ``true``."""
        if isinstance(given, dict) and True in given and "on" not in given:
            return {"on" if key is True else key: value for key, value in given.items()}
        return given


def channels_for(channels: Iterable[Channel], occasion: Occasion) -> tuple[Channel, ...]:
    """Return the channels that are for an occasion."""
    return tuple(channel for channel in channels if occasion in channel.on)


def unfit_channels(channels: Iterable[Channel], services: Container[str]) -> Iterator[tuple[str, str]]:
    """Yield where in the file and why channels cannot be meant so."""
    names: set[str] = set()
    for channel in channels:
        if channel.name in names:
            yield "notify", f"notify: {channel.name} is there twice"
        names.add(channel.name)
        kind, _, rest = channel.url.partition(":")
        if kind == "container" and rest.partition(":")[0] not in services:
            yield "notify", f"notify: the url of {channel.name} names no service of this stack"
