"""The ledger: numbered markers in every store, and what their absence means."""

from datetime import datetime
from enum import StrEnum

from domain.order import Order, Outcome, TargetOrder, Value


class Store(StrEnum):
    """The stores that carry markers."""

    POSTGRES = "postgres"
    REDIS = "redis"
    OBJECTS = "objects"
    SEARCH = "search"


class Marker(Value):
    """One marker as the journal outside the stack knows it."""

    number: int
    acknowledged_at: datetime


class StoreLoss(Value):
    """Loss of one store; ``None`` means not measured, never zero."""

    seconds: float | None = None
    markers_lost: int | None = None
    markers_acknowledged: int | None = None


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
