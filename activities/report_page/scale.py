"""Time to a place on the drawing, where waiting in which nothing else happens may be drawn short."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

Interval = tuple[datetime, datetime]

_WORTH_CUTTING = 0.25
"""Share of the whole from which on an idle interval is drawn short."""
_SHORT = 0.12
"""Share of the width that it then gets."""
_TICKS = 8
_MOST_TICKS = 10_000


@dataclass(frozen=True)
class Scale:
    """A piecewise linear scale: each piece has its instants and its places in percent."""

    pieces: tuple[tuple[datetime, datetime, float, float], ...]
    cut: tuple[Interval, ...] = ()
    """Intervals that are drawn short."""

    def at(self, instant: datetime) -> float:
        """Return the place of an instant, from 0 to 100; what lies outside is put at the edge."""
        for since, until, left, right in self.pieces:
            if instant <= until:
                share = (instant - since) / (until - since) if until > since else 0.0
                return left + max(0.0, share) * (right - left)
        return 100.0


def scale_of(start: datetime, end: datetime, waits: Sequence[Interval], busy: Sequence[Interval]) -> Scale:
    """Return the scale from ``start`` to ``end``; long waits without any work in them are drawn short."""
    whole = (end - start).total_seconds()
    if whole <= 0:
        return Scale(pieces=((start, end, 0.0, 100.0),))
    idle = [gap for wait in waits for gap in _without(_within(wait, start, end), busy)]
    cut = sorted((a, b) for a, b in idle if (b - a).total_seconds() > _WORTH_CUTTING * whole)
    short = _SHORT * 100 * len(cut)
    rest = whole - sum((b - a).total_seconds() for a, b in cut)
    if not cut or rest <= 0:
        return Scale(pieces=((start, end, 0.0, 100.0),))
    pieces, at, place = [], start, 0.0
    for since, until in cut:
        next_place = place + (since - at).total_seconds() / rest * (100 - short)
        pieces += [(at, since, place, next_place), (since, until, next_place, next_place + _SHORT * 100)]
        at, place = until, next_place + _SHORT * 100
    pieces.append((at, end, place, 100.0))
    return Scale(pieces=tuple(pieces), cut=tuple(cut))


def _within(wait: Interval, start: datetime, end: datetime) -> Interval:
    return max(wait[0], start), min(wait[1], end)


def _without(wait: Interval, busy: Sequence[Interval]) -> list[Interval]:
    """Return what is left of an interval when the busy ones are taken out of it."""
    left, since = [], wait[0]
    for a, b in sorted(busy):
        if a > since:
            left.append((since, min(a, wait[1])))
        since = max(since, b)
        if since >= wait[1]:
            break
    if since < wait[1]:
        left.append((since, wait[1]))
    return [(a, b) for a, b in left if b > a]


def ticks(seconds: float, drawn_seconds: float) -> list[float]:
    """Return round offsets over ``seconds``, about eight of them on what is drawn at full length."""
    steps = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)
    day = steps[-1]
    step = next(
        (s for s in steps if drawn_seconds / s <= _TICKS), day * max(1, round(drawn_seconds / day / 6))
    )
    # Beyond that many the axis would be drawn from nothing but what is left out.
    return [float(step * n) for n in range(min(int(seconds // step), _MOST_TICKS) + 1)]
