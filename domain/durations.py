"""Durations as people write them in ``stack.yaml``: ``90s``, ``30m``, ``1h``, ``7d``."""

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SHAPE = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])")


def parse_duration(value: object) -> object:
    """Turn ``30m`` into a ``timedelta``; anything that is not such a text is left to pydantic."""
    if not isinstance(value, str):
        return value
    found = _SHAPE.fullmatch(value.strip())
    if found is None:
        return value
    try:
        return timedelta(seconds=float(found[1]) * _UNITS[found[2]])
    except OverflowError:
        return value


def spoken(seconds: float | None) -> str:
    """Return a duration as a person would say it; an unmeasured one is said to be so."""
    if seconds is None:
        return "not measured"
    if seconds < 90:  # noqa: PLR2004 - the border between the two ways to say it
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
