"""What is removed once people no longer need it, and what never is."""

from domain.order import Order, Outcome, TargetOrder


class ReleaseOrder(Order):
    """Remove what a recovery kept aside."""

    release_of: str
    """The recovery id whose kept volume is released."""


class DiscardOrder(TargetOrder):
    """Remove the restored copy of a failed or aborted attempt; never what was kept aside."""

    volume: str = ""
    """The attempt's volume; empty means all restored volumes of the recovery."""


class Released(Outcome):
    """What was removed."""

    volumes: tuple[str, ...] = ()
    bytes: int = 0
