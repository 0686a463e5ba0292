"""Text of others made harmless for a page, a terminal and Markdown, and figures as people say them."""

import math
import re
from datetime import UTC, datetime

from markupsafe import Markup

from domain import inert
from domain.durations import spoken
from domain.inert import visible

NOT_MEASURED = "not measured"

_FIGURE = re.compile(r"(\b\d[\d.]*|\bmin|\bh) (?=(s|min|h|days?|\d+ (s|min))\b)")
_KILO = 1000
_DAY = 86400
_MINUTE_AND_A_HALF = 90


def shown(value: object) -> object:
    """Return a value as it is printed: ``None`` as *not measured*, control characters as escapes.

    What is very long is cut, with a word about it.
    """
    if value is None:
        return NOT_MEASURED
    if isinstance(value, Markup):
        return value
    return visible(str(value), "more characters in report.json")


def markdown(value: object) -> str:
    """Return a value as Markdown that renders as the plain text it is, on one line."""
    return inert.markdown(str(shown(value)))


def code(value: object) -> str:
    """Return a value as a Markdown code span that nothing in it can close."""
    text = " ".join(str(shown(value)).split()).replace("|", "\\|")
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def duration(seconds: float | None) -> str:
    """Return a duration in words; what is no number was not measured."""
    if seconds is None or not math.isfinite(seconds):
        return NOT_MEASURED
    if seconds >= _DAY:
        days = f"{seconds / _DAY:.1f}".removesuffix(".0")
        return f"{days} day" if days == "1" else f"{days} days"
    if seconds == int(seconds) and seconds < _MINUTE_AND_A_HALF:
        return f"{seconds:.0f} s"
    return re.sub(r" 0 (min|s)$", "", spoken(seconds))


def tied(value: object) -> str:
    """Return a text whose figures stay on one line with their units."""
    return _FIGURE.sub("\\1\u00a0", str(shown(value)))


def size(count: int | None) -> str:
    """Return a number of bytes in decimal units."""
    if count is None:
        return NOT_MEASURED
    value, units = float(count), ["bytes", "kB", "MB", "GB", "TB", "PB"]
    while abs(value) >= _KILO and len(units) > 1:
        value /= _KILO
        units.pop(0)
    return f"{value:.0f} bytes" if units[0] == "bytes" else f"{value:.1f} {units[0]}"


def moment(at: datetime | None) -> str:
    """Return an instant in UTC to the second, with its zone."""
    return NOT_MEASURED if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def clock(at: datetime) -> str:
    """Return the time of day in UTC."""
    return f"{at.astimezone(UTC):%H:%M:%S}"


def web_address(link: str) -> str:
    """Return a link when it is one that may be followed, else an empty text."""
    return link if re.fullmatch(r"https?://[^\s\"'<>]+", link) else ""
