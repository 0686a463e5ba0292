"""The markers of one store: acknowledged ones held against those that are there."""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from pydantic import ValidationError

from domain.ledger import JournalLine, MarkerState, StoreLoss

BLIND_AFTER = timedelta(seconds=30)
"""A ledger that tried nothing for longer than this was not watching."""


@dataclass(frozen=True)
class Known:
    """What a journal says; times are those of the line."""

    attempted: Mapping[int, datetime]
    acknowledged: Mapping[int, datetime]
    pruned_below: int = 0
    """Markers with smaller numbers were removed on purpose."""
    unreadable: int = 0
    """Whole lines that could not be read: what they acknowledged is not known."""

    @property
    def highest(self) -> int:
        """The highest number ever attempted, 0 when there is none."""
        return max(self.attempted, default=self.pruned_below)


@dataclass(frozen=True)
class StoreCheck:
    """The acknowledged markers of one store held against the markers that are there."""

    loss: StoreLoss
    lost: tuple[int, ...] = ()
    unexpected: tuple[int, ...] = ()
    good_until: datetime | None = None
    """Acknowledgement of the last marker that survived before the first lost one."""
    last_lost_at: datetime | None = None
    last_acknowledged: int | None = None


def read_journal(text: bytes) -> Known:
    """Read a journal; a last line without its end was torn by a crash and counts for nothing."""
    attempted: dict[int, datetime] = {}
    acknowledged: dict[int, datetime] = {}
    pruned = unreadable = 0
    for raw in text.split(b"\n")[:-1]:
        try:
            line = JournalLine.model_validate_json(raw)
        except ValidationError:
            unreadable += 1
            continue
        if line.state is MarkerState.PRUNED:
            pruned = max(pruned, line.n)
            continue
        attempted.setdefault(line.n, line.at)
        if line.state is MarkerState.ACKNOWLEDGED:
            acknowledged[line.n] = line.at
    return Known(attempted, acknowledged, pruned, unreadable)


def check_markers(
    known: Known,
    present: AbstractSet[int],
    *,
    until: datetime | None = None,
    asked_at: datetime | None = None,
) -> StoreCheck:
    """Hold the acknowledged markers against the set of numbers that are there.

    ``asked_at`` is the moment the answer speaks about: where the ledger did not go on trying from the
    last acknowledged marker until then, a loss is a lower bound, and none found is not measured
    instead of zero. Before that marker a gap is no matter: a store that has it has what came before.
    """
    looked_at = sorted(
        n
        for n, at in known.acknowledged.items()
        if n >= known.pruned_below and (until is None or at <= until)
    )
    unexpected = tuple(sorted(n for n in present if n >= known.pruned_below and n not in known.attempted))
    if not looked_at:
        return StoreCheck(StoreLoss(markers_acknowledged=0), unexpected=unexpected)
    since = known.acknowledged[looked_at[-1]]
    blind = known.unreadable > 0 or (asked_at is not None and _blind(known, since, asked_at))
    lost = tuple(n for n in looked_at if n not in present)
    survivor = next((n for n in reversed(looked_at) if not lost or n < lost[0]), None)
    last_lost_at = max((known.acknowledged[n] for n in lost), default=None)
    seconds: float | None = None if blind else 0.0
    if last_lost_at is not None:
        since = known.acknowledged[lost[0] if survivor is None else survivor]
        seconds = max(0.0, (last_lost_at - since).total_seconds())
    return StoreCheck(
        StoreLoss(
            seconds=seconds,
            markers_lost=len(lost),
            markers_acknowledged=len(looked_at),
            at_least=bool(lost) and (blind or survivor is None),
        ),
        lost=lost,
        unexpected=unexpected,
        good_until=known.acknowledged[lost[0] if survivor is None else survivor],
        last_lost_at=last_lost_at,
        last_acknowledged=looked_at[-1],
    )


def _blind(known: Known, since: datetime, until: datetime) -> bool:
    tried = sorted(at for at in known.attempted.values() if since < at < until)
    return any(later - one > BLIND_AFTER for one, later in pairwise((since, *tried, until)))


def skew_seconds(checks: Iterable[StoreCheck]) -> float | None:
    """Return how far the stores are apart because of what they lost; ``None`` below two stores.

    Each store is good up to its last survivor before its first loss, and one that lost nothing up to
    the last loss anywhere. So stores that lost nothing, or the same, have no skew, however far their
    markers went on afterwards.
    """
    measured = [check for check in checks if check.loss.seconds is not None]
    if len(measured) < 2:  # noqa: PLR2004 - a difference needs two
        return None
    ends = [check.last_lost_at for check in measured if check.last_lost_at is not None]
    if not ends:
        return 0.0
    points = [
        check.good_until if check.lost and check.good_until is not None else max(ends) for check in measured
    ]
    return (max(points) - min(points)).total_seconds()


def few(numbers: tuple[int, ...], each: int = 3) -> tuple[int, ...]:
    """Return the first and the last few numbers: evidence that fits into a history."""
    return numbers if len(numbers) <= 2 * each else (*numbers[:each], *numbers[-each:])
