"""Which WAL of an archive can go: what is old and what no kept base backup needs. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from domain.inert import Quoted
from domain.order import Value
from domain.wal import is_segment, timeline_of

_PLACE = 8
"""Behind the timeline a segment's name says its place, in digits that sort as numbers do."""


@dataclass(frozen=True)
class Segment:
    """A closed segment in the archive."""

    directory: str
    """Relative to the shelf: each receiver has one of its own."""
    name: str
    bytes: int
    at: datetime
    """When it was written last."""


class WalRange(Value):
    """Segments of one directory that follow each other in its listing and share their fate."""

    directory: str
    first: str
    last: str
    segments: int
    bytes: int
    goes: bool
    reason: Quoted


def rule_wal(
    segments: Iterable[Segment],
    bases: Mapping[str, str],
    *,
    before: datetime,
    kept_for: str,
    paused_because: str = "",
) -> list[WalRange]:
    """Return what becomes of the archive, as ranges in the order of directories and names.

    ``bases`` are the base backups that stay, each with its oldest needed segment. Written ``before`` is old.
    """
    ranges: list[WalRange] = []
    for segment, reason in judged(segments, bases, before=before, kept_for=kept_for):
        goes = not reason and not paused_because
        said = reason or paused_because or f"older than {kept_for}, and no kept base backup needs it"
        _add(ranges, segment, goes=goes, reason=said)
    return ranges


def judged(
    segments: Iterable[Segment], bases: Mapping[str, str], *, before: datetime, kept_for: str
) -> list[tuple[Segment, str]]:
    """Return each segment with the reason why it stays, or with nothing when it can go."""
    known = sorted(segments, key=lambda one: (one.directory, one.name))
    newest = {one.directory: one.name for one in known}
    eldest = sorted(bases.items(), key=lambda base: base[1])
    return [
        (one, _why_it_stays(one, eldest, newest[one.directory], before=before, kept_for=kept_for))
        for one in known
    ]


def needs(start: str, name: str) -> bool:
    """Tell whether a base backup whose WAL begins at ``start`` may need a segment in a recovery.

    A timeline is left for one with a greater number, never for a smaller one, and never for an earlier place;
    which of the greater ones descend from it is not asked, so that a history that is lost costs nothing.
    """
    if not is_segment(start) or not is_segment(name):
        return True
    if timeline_of(name) < timeline_of(start):
        return False
    return name[_PLACE:] >= start[_PLACE:]


def total_bytes(ranges: Iterable[WalRange]) -> int:
    """Return how much lies in ranges."""
    return sum(one.bytes for one in ranges)


def _why_it_stays(
    segment: Segment, bases: Sequence[tuple[str, str]], newest: str, *, before: datetime, kept_for: str
) -> str:
    if not bases:
        return "no base backup is kept, and without one it is all there is"
    needy = next((base for base, start in bases if needs(start, segment.name)), "")
    if needy:
        return f"base backup {needy} needs it"
    if segment.at >= before:
        return f"not older than {kept_for}"
    if segment.name == newest:
        return "the newest of its receiver, which goes on behind it"
    return ""


def _add(ranges: list[WalRange], segment: Segment, *, goes: bool, reason: str) -> None:
    """Add a segment to the last range when it shares its fate, else begin another one."""
    last = ranges[-1] if ranges else None
    if last is None or (last.directory, last.goes, last.reason) != (segment.directory, goes, reason):
        ranges.append(
            WalRange(
                directory=segment.directory,
                first=segment.name,
                last=segment.name,
                segments=1,
                bytes=segment.bytes,
                goes=goes,
                reason=reason,
            )
        )
        return
    longer = {
        "last": segment.name,
        "segments": last.segments + 1,
        "bytes": last.bytes + segment.bytes,
    }
    ranges[-1] = last.model_copy(update=longer)
