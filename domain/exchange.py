"""The exchange of the damaged data with the restored one."""

from domain.order import Outcome, TargetOrder


class SwapOrder(TargetOrder):
    """Exchange the data directories of the live and the restored volume."""

    restored_volume: str


class Swapped(Outcome):
    """The restored data is in the live volume; the old data is in the other one."""

    kept_volume: str
    kept_bytes: int
    keeper: str
    """The never started container that holds the kept volume until its release."""


class SwapSettled(Outcome):
    """Where an exchange stands whose hand never answered; ``None`` was not found out."""

    swapped: Swapped | None = None
    known: bool = True
