"""Whether a copy stands at the moment that was asked for. Pure."""

from datetime import datetime, timedelta

from domain.recovery import Proof

NAME = "recovery target"
SPACING = timedelta(seconds=5)
"""The ledger commits a marker every second; so far a copy may stand before its target."""


def check_target(target: datetime, last: datetime | None, spacing: timedelta = SPACING) -> Proof:
    """Judge by the time of the ledger's last marker in the copy.

    Rows of the application do not tell: they may be dated in the future, and none may have been written.
    """
    if last is None:
        return Proof(name=NAME, passed=None, evidence="the copy holds no marker, so its moment is not known")
    said = f"the last marker is of {last:%Y-%m-%d %H:%M:%S}, the target is {target:%Y-%m-%d %H:%M:%S}"
    if last > target:
        return Proof(name=NAME, passed=False, evidence=f"{said}: it holds what came after the target")
    if target - last > spacing:
        return Proof(name=NAME, passed=False, evidence=f"{said}: it was not reached")
    return Proof(name=NAME, passed=True, evidence=said)
