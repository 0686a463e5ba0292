"""Positions in the write-ahead log, and whether what an archive holds is a whole chain."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

SEGMENT_BYTES = 16 * 1024 * 1024
_LSN = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")
_SEGMENT = re.compile(r"[0-9A-F]{24}")
_HISTORY = re.compile(r"([0-9A-F]{8})\.history")
_NAMED_GAPS = 3
_LONGEST_WALK = 100_000

History = tuple[tuple[int, int], ...]
"""Ancestors of a timeline, eldest first: timeline and the position where it was left."""


def parse_lsn(text: str) -> int:
    """Return the byte position of ``16/B374D848``; ``ValueError`` when it is not an LSN."""
    found = _LSN.fullmatch(text.strip())
    if found is None:
        message = f"not an LSN: {text!r}"
        raise ValueError(message)
    return (int(found[1], 16) << 32) + int(found[2], 16)


def format_lsn(position: int) -> str:
    """Return a byte position as PostgreSQL writes it."""
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


def segment_name(timeline: int, position: int, segment_bytes: int = SEGMENT_BYTES) -> str:
    """Return the name of the segment that holds a position."""
    number = position // segment_bytes
    per_id = 0x100000000 // segment_bytes
    return f"{timeline:08X}{number // per_id:08X}{number % per_id:08X}"


def is_segment(name: str) -> bool:
    """Tell whether a file name is that of a closed segment."""
    return _SEGMENT.fullmatch(name) is not None


def timeline_of(name: str) -> int:
    """Return the timeline of a segment."""
    return int(name[:8], 16)


def position_of(name: str, segment_bytes: int = SEGMENT_BYTES) -> int:
    """Return the position where a segment begins."""
    return (int(name[8:16], 16) << 32) + int(name[16:], 16) * segment_bytes


def history_of(name: str) -> int | None:
    """Return the timeline of a history file, or ``None`` for another file name."""
    found = _HISTORY.fullmatch(name)
    return None if found is None else int(found[1], 16)


def parse_history(text: str) -> History:
    """Return the ancestors that a history file names; ``ValueError`` when it is none."""
    ancestors = []
    for line in text.splitlines():
        words = line.split()
        if words and not words[0].startswith("#"):
            ancestors.append((int(words[0]), parse_lsn(words[1] if len(words) > 1 else "")))
    return tuple(ancestors)


@dataclass(frozen=True)
class Archive:
    """The file names of an archive that can be used; a short or unreadable file is not one of them."""

    closed: Collection[str]
    partial: Collection[str] = ()
    """Segments of which only the receiver's unfinished file is there, without its suffix."""
    histories: Mapping[int, History] | None = None


@dataclass(frozen=True)
class Chain:
    """The WAL from a backup to the newest there is; usable when ``problem`` is empty."""

    problem: str = ""
    missing: tuple[str, ...] = ()
    last: str = ""
    """The newest segment, closed or not."""
    segments: int = 0
    astray: bool = False
    """No WAL is missing: the timeline was left before the backup, or before its end."""

    @property
    def whole(self) -> bool:
        """Tell whether nothing is missing."""
        return not self.problem


def follow_chain(
    archive: Archive, *, start: str, stop_lsn: str, timeline: int, segment_bytes: int = SEGMENT_BYTES
) -> Chain:
    """Follow the WAL from the segment ``start`` to the newest one on ``timeline``.

    ``stop_lsn`` is where the backup ended; it must lie before any switch of the timeline.
    """
    origin = timeline_of(start)
    forks, problem = _forks(archive, origin, timeline)
    if not problem and forks and parse_lsn(stop_lsn) > forks[0][1]:
        problem = (
            f"it ended at {stop_lsn}, after timeline {origin} had been left at {format_lsn(forks[0][1])}"
        )
    if problem:
        return Chain(problem=problem, astray=timeline in (archive.histories or {}))
    first = position_of(start, segment_bytes)
    begin = forks[-1][1] if forks else first
    last = _newest(archive, timeline, begin, segment_bytes)
    # However little is in the archive, the chain goes to the end of the backup and across the switch.
    least = begin if forks else max(first, parse_lsn(stop_lsn) - 1)
    last = max(last, segment_name(timeline, least, segment_bytes))
    # A segment's name alone may claim a place a terabyte ahead. Of more segments than there are files one
    # is missing for certain, so no more of them are looked at.
    most = max(len(archive.closed) + len(archive.partial) + 2, _LONGEST_WALK)
    needed = list(islice(_needed(forks, first, last, segment_bytes), most))
    open_ended = {last} & set(archive.partial)
    missing = tuple(name for name in needed if name not in archive.closed and name not in open_ended)
    gap = (
        f"its WAL is not whole: {spoken_gaps(missing, segment_bytes)} missing or unusable" if missing else ""
    )
    return Chain(problem=gap, missing=missing, last=last, segments=len(needed))


def spoken_gaps(missing: Collection[str], segment_bytes: int = SEGMENT_BYTES) -> str:
    """Return missing segments as ranges, the first few by name."""
    ranges: list[list[str]] = []
    for name in sorted(missing):
        follows = ranges and _next(ranges[-1][-1], segment_bytes) == name
        if follows:
            ranges[-1].append(name)
        else:
            ranges.append([name])
    said = [
        names[0] if len(names) == 1 else f"{names[0]} to {names[-1]} ({len(names)} segments)"
        for names in ranges[:_NAMED_GAPS]
    ]
    rest = len(ranges) - len(said)
    return ", ".join(said) + (f" and {rest} more gaps" if rest else "")


def _next(name: str, segment_bytes: int) -> str:
    return segment_name(timeline_of(name), position_of(name, segment_bytes) + segment_bytes, segment_bytes)


def _forks(archive: Archive, origin: int, timeline: int) -> tuple[History, str]:
    """Return the timelines left on the way from ``origin`` to ``timeline``, or what forbids the way."""
    if origin == timeline:
        return (), ""
    history = (archive.histories or {}).get(timeline)
    if history is None:
        return (), f"it is on timeline {origin}, and {timeline:08X}.history is missing"
    ancestors = [ancestor for ancestor, _ in history]
    if origin not in ancestors:
        return (), f"its timeline {origin} is not an ancestor of timeline {timeline}"
    # The last one names the switch to ``timeline`` itself.
    return history[ancestors.index(origin) :], ""


def _newest(archive: Archive, timeline: int, begin: int, segment_bytes: int) -> str:
    lowest = segment_name(timeline, begin, segment_bytes)
    mine = [n for n in (*archive.closed, *archive.partial) if timeline_of(n) == timeline and n >= lowest]
    return max(mine, default="")


def _needed(forks: History, first: int, last: str, segment_bytes: int) -> Iterator[str]:
    """Yield the segments of each leg; the one that holds a switch is the younger timeline's."""
    at = first // segment_bytes
    for timeline, left_at in forks:
        border = left_at // segment_bytes
        yield from (segment_name(timeline, n * segment_bytes, segment_bytes) for n in range(at, border))
        at = max(at, border)
    end = position_of(last, segment_bytes) // segment_bytes
    tip = timeline_of(last)
    yield from (segment_name(tip, n * segment_bytes, segment_bytes) for n in range(at, end + 1))
