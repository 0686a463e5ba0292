"""Calendars as people write them, five fields such as ``0 3 * * sun``, and the times they mean."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_MONTHS = {
    name: at
    for at, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1
    )
}
_DAYS = {name: at for at, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
_LENGTHS = dict(zip(range(1, 13), (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31), strict=True))
_SUNDAY_TOO = 7
_STEP = re.compile(r"[1-9][0-9]?")
_NUMBER = re.compile(r"[0-9]{1,2}")


@dataclass(frozen=True)
class Calendar:
    """The minutes, hours and days at which something is due; each field holds what matches, ascending."""

    minute: tuple[int, ...]
    hour: tuple[int, ...]
    day_of_month: tuple[int, ...]
    month: tuple[int, ...]
    day_of_week: tuple[int, ...]
    """0 is Sunday."""

    def __str__(self) -> str:
        """Return the five fields, each as short as it can be said."""
        given = (self.minute, self.hour, self.day_of_month, self.month, self.day_of_week)
        return " ".join(_said(values, whole) for values, (_, whole, _) in zip(given, _FIELDS, strict=True))


_FIELDS: tuple[tuple[str, range, dict[str, int]], ...] = (
    ("minute", range(60), {}),
    ("hour", range(24), {}),
    ("day of month", range(1, 32), {}),
    ("month", range(1, 13), _MONTHS),
    ("day of week", range(7), _DAYS),
)


def parse_calendar(text: str) -> Calendar:
    """Return the calendar of five fields; ``ValueError`` says in words which one is none."""
    words = text.lower().split()
    if len(words) != len(_FIELDS):
        raise ValueError(f"five fields are needed (minute hour day month weekday), not {len(words)}")
    minute, hour, day, month, week = (
        _field(word, *field) for word, field in zip(words, _FIELDS, strict=True)
    )
    if len(day) < len(_FIELDS[2][1]) and len(week) < len(_FIELDS[4][1]):
        # Crontabs mean either of the two then, Temporal means both.
        raise ValueError("day of month and day of week cannot both be given")
    if not any(min(day) <= _LENGTHS[one] for one in month):
        raise ValueError("there is no such day")
    return Calendar(minute, hour, day, month, week)


def spans(values: Iterable[int]) -> list[tuple[int, int]]:
    """Return ascending numbers as first and last of each unbroken run."""
    runs: list[tuple[int, int]] = []
    for value in values:
        if runs and value == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], value)
        else:
            runs.append((value, value))
    return runs


def _said(values: tuple[int, ...], whole: range) -> str:
    if values == tuple(whole):
        return "*"
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in spans(values))


def _field(word: str, name: str, whole: range, names: dict[str, int]) -> tuple[int, ...]:
    found: set[int] = set()
    for part in word.split(","):
        span, slash, step = part.partition("/")
        first, last = _ends(span, name, whole, names)
        if slash and _STEP.fullmatch(step) is None:
            raise ValueError(f"{name}: behind the slash there is no step")
        if slash and "-" not in span and span != "*":
            last = whole[-1]
        found |= set(range(first, last + 1, int(step) if slash else 1))
    if name == "day of week" and _SUNDAY_TOO in found:
        found = (found - {_SUNDAY_TOO}) | {0}
    return tuple(sorted(found))


def _ends(span: str, name: str, whole: range, names: dict[str, int]) -> tuple[int, int]:
    if span == "*":
        return whole[0], whole[-1]
    first, dash, last = span.partition("-")
    a = _number(first, name, whole, names)
    b = _number(last, name, whole, names) if dash else a
    if b < a:
        raise ValueError(f"{name}: a span runs backwards")
    return a, b


def _number(word: str, name: str, whole: range, names: dict[str, int]) -> int:
    if word in names:
        return names[word]
    highest = _SUNDAY_TOO if name == "day of week" else whole[-1]
    if _NUMBER.fullmatch(word) is not None and whole[0] <= int(word) <= highest:
        return int(word)
    raise ValueError(f"{name}: a number from {whole[0]} to {highest} is needed")
