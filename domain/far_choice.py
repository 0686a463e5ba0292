"""A backup off-site for a recovery whose shelf holds none that can be used: which one, what came of it."""

from pydantic import AwareDatetime

from domain.backups import PassedOver
from domain.offsite_copies import OffsiteOrder
from domain.order import Outcome

OF_ONE_COPY = frozenset({"not-sealed", "backup-key-missing", "backup-key-wrong", "offsite-missing"})
"""Refusals that say nothing about other copies: they may be sealed, and with another key."""


class FarChooseOrder(OffsiteOrder):
    """Choose among the base backups off-site; what is judged is what the shelf's choice judges too."""

    before: AwareDatetime | None = None
    system_identifier: str | None = None
    excluded: tuple[PassedOver, ...] = ()
    """Backups that this run has tried already, with what was wrong."""


class FarChoice(Outcome):
    """The base backup to bring back from off-site, or none with the reason."""

    entry_id: str = ""
    ended_at: AwareDatetime | None = None
    bytes: int = 0
    passed_over: tuple[PassedOver, ...] = ()
    missing: str = ""
    """When there is none: what is missing and how to get it."""
    newest_segment: str = ""
    """Where the far archive ends: what was committed behind it may be lost."""
    wal_until: AwareDatetime | None = None
    """When that segment was copied."""


class Recalled(Outcome):
    """A far copy that was brought back for a recovery, or what is wrong with it."""

    id: str
    problem: str = ""
    """Not empty: it cannot be used, another one may."""
    segments: int = 0
    aside: tuple[str, ...] = ()
    """What lay in its place and is kept beside it, relative to the shelf."""
