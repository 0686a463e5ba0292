"""Rebuilding indexes from sound tables: what the hand is told, what it answers, what people may be asked."""

from domain.approval import Brief
from domain.diagnosis import Assessment, DamagedIndex
from domain.order import Outcome, TargetOrder
from domain.stack import Check

GATE = "reindex"
KEPT_NOTHING = "only indexes were rebuilt, from tables that were found sound; no data was replaced"


class ReindexOrder(TargetOrder):
    """Rebuild these indexes; each attempt after a failed verification rebuilds anew."""

    indexes: tuple[DamagedIndex, ...]
    attempt: int = 1


class Reindexed(Outcome):
    """What was rebuilt; with ``table_damage`` the table behind an index is what is damaged."""

    rebuilt: tuple[str, ...] = ()
    """Names of the indexes that are new now, those of an earlier attempt included."""
    gone: tuple[str, ...] = ()
    """Indexes that somebody dropped since they were found damaged."""
    leftovers_dropped: tuple[str, ...] = ()
    """Invalid indexes that an interrupted rebuild had left."""
    locked: tuple[str, ...] = ()
    """Those that could not be rebuilt concurrently: nobody could write to their tables meanwhile."""
    table_damage: str = ""
    """What was seen of a damaged table; nothing else was rebuilt then."""


class VerifyReindexedOrder(TargetOrder):
    """Hold the rebuilt indexes against their tables, and look at the whole database again."""

    indexes: tuple[DamagedIndex, ...]
    checks: tuple[Check, ...] = ()


def reindex_brief(found: Assessment) -> Brief:
    """Return the brief of the gate ``reindex``, which only a stack file asks for."""
    names = ", ".join(found.damaged_indexes)
    return Brief(
        gate=GATE,
        question="Rebuild the damaged indexes from their tables?",
        facts=(
            f"Damage: {found.because}",
            f"To be rebuilt: {names}",
            "Every table was read to its end and is sound; no row changes, users go on",
            *(f"Suspect: {w.evidence}" for w in found.witnesses if w.name.startswith("collations ")),
        ),
        decided_on={"indexes": names, "verdict": found.verdict.value},
        maximum_loss_seconds=0,
        maximum_downtime_seconds=0,
        cannot_be_undone="the content of the damaged indexes is dropped",
    )
