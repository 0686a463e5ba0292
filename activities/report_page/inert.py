"""Text of others made harmless for a page, a terminal and Markdown, and figures as people say them."""

import math
import re
import unicodedata
from datetime import UTC, datetime

from markupsafe import Markup

from domain.durations import spoken

NOT_MEASURED = "not measured"

_LONGEST = 2000
_FIGURE = re.compile(r"(\b\d[\d.]*|\bmin|\bh) (?=(s|min|h|days?|\d+ (s|min))\b)")
_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_MARKDOWN = re.compile(r"([\\`*\[\]|~]|(?<!\w)_|_(?!\w))")
_LINE_START = re.compile(r"^(\d+(?=[.)])|)([#+=-]|(?<=\d)[.)](?=\s|$))")
_KILO = 1000
_DAY = 86400
_MINUTE_AND_A_HALF = 90


def shown(value: object) -> object:
    """Return a value as it is printed: ``None`` as *not measured*, control characters as escapes.

    Direction marks and other invisible characters count as control characters: they can make a line read
    differently from what it says. What is very long is cut, with a word about it.
    """
    if value is None:
        return NOT_MEASURED
    if isinstance(value, Markup):
        return value
    return visible(str(value))


def visible(text: str) -> str:
    """Return a text with every invisible character spelled out, at most 2000 characters of it."""
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]} … ({len(text) - _LONGEST} more characters in report.json)"
    return "".join(c if unicodedata.category(c) not in _INVISIBLE else _spelled(c) for c in text)


def _spelled(character: str) -> str:
    if character in "\n\t":
        return " "
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"  # noqa: PLR2004 - the last of Latin-1


def markdown(value: object) -> str:
    """Return a value as Markdown that renders as the plain text it is, on one line."""
    text = " ".join(str(shown(value)).split())
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = _MARKDOWN.sub(r"\\\1", text)
    return _LINE_START.sub(lambda found: f"{found[1]}\\{found[2]}", text)


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
