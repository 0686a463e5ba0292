"""When a dump was made, as its own first bytes say. Pure.

A file in ``pg_dump``'s custom format begins with its magic, the version of the format, the sizes of its
numbers, and the local time of the program that wrote it; a file that is copied or touched keeps that.
"""

from datetime import datetime

HEADER_BYTES = 64
_MAGIC = b"PGDMP"
_CUSTOM = 1
_WITH_ALGORITHM = (1, 15)
"""Since then one byte names the compression; before it was a number."""
_FIRST_YEAR = 1900
_TIMES = 6


def made_at(first: bytes) -> datetime | None:
    """Return the local time that a dump states, or ``None`` where it cannot be read."""
    if not first.startswith(_MAGIC) or len(first) < HEADER_BYTES:
        return None
    major, minor, _, width, _, form = first[5:11]
    place = 11
    if form != _CUSTOM or not 0 < width <= 8:  # noqa: PLR2004 - bytes of a number
        return None
    numbers = []
    if (major, minor) >= _WITH_ALGORITHM:
        place += 1
    else:
        place += 1 + width
    for _ in range(_TIMES):
        numbers.append(_number(first[place : place + 1 + width]))
        place += 1 + width
    second, minute, hour, day, month, year = numbers
    try:
        return datetime(year + _FIRST_YEAR, month + 1, day, hour, minute, min(second, 59))  # noqa: DTZ001 - local
    except ValueError:
        return None


def _number(field: bytes) -> int:
    value = int.from_bytes(field[1:], "little")
    return -value if field[:1] == b"\x01" else value
