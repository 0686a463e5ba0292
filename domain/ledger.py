"""The ledger: numbered markers in every store, and what their absence means."""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from itertools import pairwise

from pydantic import AwareDatetime

from domain.order import Order, Outcome, TargetOrder, Value


class Store(StrEnum):
    """The stores that carry markers."""

    POSTGRES = "postgres"
    REDIS = "redis"
    OBJECTS = "objects"
    SEARCH = "search"


class MarkerState(StrEnum):
    """What the journal says of a marker; ``PRUNED`` speaks of all numbers below it."""

    ATTEMPTED = "attempted"
    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"
    PRUNED = "pruned"


class JournalLine(Value):
    """One line of the journal that is kept outside the stack."""

    n: int
    state: MarkerState
    at: AwareDatetime


class StoreLoss(Value):
    """Loss of one store; ``None`` means not measured, never zero.

    ``seconds`` runs from the acknowledgement of the last marker that survived before the first lost
    one to the acknowledgement of the last lost one; 0.0 when none is lost.
    """

    seconds: float | None = None
    markers_lost: int | None = None
    markers_acknowledged: int | None = None
    at_least: bool = False
    """True when the loss may be greater: nothing older survived, or the ledger was not watching."""


class Loss(Value):
    """Loss per store."""

    postgres: StoreLoss = StoreLoss()
    redis: StoreLoss = StoreLoss()
    objects: StoreLoss = StoreLoss()
    search: StoreLoss = StoreLoss()


class LossOrder(TargetOrder):
    """Measure what is missing."""

    socket_dir: str = ""
    """When given, PostgreSQL's markers are read from the copy behind this socket."""
    until: datetime | None = None
    """Markers acknowledged later than this are not looked at."""


class MeasuredLoss(Outcome):
    """Loss per store and the difference between stores."""

    loss: Loss
    skew_seconds: float | None = None
    lost_numbers: dict[str, tuple[int, ...]] = {}
    """First and last few missing numbers per store, as evidence."""
    unexpected_numbers: dict[str, tuple[int, ...]] = {}
    """Markers that are there though nobody attempted them, a few per store."""
    last_acknowledged: dict[str, int] = {}
    """Number of the last acknowledged marker that was looked at."""
    unmeasured: dict[str, str] = {}
    """Why a store of the stack was not measured."""


class MarkersPaused(Outcome):
    """No marker is on its way to PostgreSQL, and none will be until they are resumed."""

    paused_at: datetime
    last_acknowledged: int | None = None


class DowntimeOrder(Order):
    """Measure the longest time without an acknowledged user action."""

    stack: str
    declared_at: datetime
    verified_at: datetime


class Downtime(Outcome):
    """``seconds`` is ``None`` when no prober ran."""

    seconds: float | None
    actions: int = 0
    longest_from: datetime | None = None
    longest_until: datetime | None = None
    failed: int = 0
    """Actions that were tried and not acknowledged."""
    unwatched_seconds: float = 0.0
    """Longest time in the window in which the prober tried nothing."""


def longest_gap(moments: Iterable[datetime], start: datetime, end: datetime) -> tuple[datetime, datetime]:
    """Return the longest interval between neighbours of the moments inside, both edges included."""
    inside = sorted(moment for moment in moments if start <= moment <= end)
    borders = [start, *inside, max(start, end)]
    return max(pairwise(borders), key=lambda pair: pair[1] - pair[0])
