"""What a backup of another store than PostgreSQL held, and how a restored one is compared with it. Pure."""

from collections.abc import Iterable
from datetime import datetime

from pydantic import AwareDatetime

from domain.order import Value
from domain.recovery import Proof

SAMPLES = 100
"""So many names of a group are recorded with their digest at most."""
MOVING = " (written to meanwhile)"
"""Ends the name of a group that others wrote to during the backup: only what did not change is recorded."""
_NAMED = 5


class Sample(Value):
    """One thing that was in a store, and what it was."""

    name: str
    digest: str
    expires_at: AwareDatetime | None = None
    """When the store itself gives it up; ``None`` for what stays."""


MEANT_EMPTY = (
    "a store that was lost looks the same; is it meant to be empty, make its job null: docs/backups.md"
)


class Holding(Value):
    """One group of things in a store: the keys of a database, a bucket, an index, a file of settings."""

    name: str
    count: int
    digest: str = ""
    """Over everything in the group, where the store can be read whole; else empty, and the samples speak."""
    samples: tuple[Sample, ...] = ()


def compare_holdings(
    recorded: Iterable[Holding], seen: Iterable[Holding], *, at: datetime | None = None
) -> tuple[Proof, ...]:
    """Compare what was recorded at the backup with what its restored copy holds, a proof for each group.

    Where nothing was recorded nothing is proven: the proof says ``None``, never true. Samples that the store
    has given up by the time ``at`` may be missing: they are counted alone, and that is said.
    """
    before = {one.name: one for one in recorded}
    after = {one.name: one for one in seen}
    if not any(one.count for one in before.values()):
        said = "" if before else "nothing was recorded at the backup, or "
        said += f"nothing was in the store at the backup, so nothing can be compared; {MEANT_EMPTY}"
        return (Proof(name="contents", passed=None, evidence=said),)
    if not any(one.count for one in after.values()):
        return (Proof(name="contents", passed=False, evidence="the copy holds nothing of what was recorded"),)
    names = sorted(before.keys() | after.keys())
    return tuple(_compared(name, before.get(name), after.get(name), at) for name in names)


def _compared(name: str, before: Holding | None, after: Holding | None, at: datetime | None) -> Proof:
    if before is None or after is None:
        said = "it is new in the copy" if before is None else "it is missing in the copy"
        return Proof(name=name, passed=False, evidence=said)
    if name.endswith(MOVING) and not before.count:
        said = "all of it was written anew during the backup, so nothing of it can be compared"
        return Proof(name=name, passed=None, evidence=said)
    left = tuple(one for one in before.samples if at is None or one.expires_at is None or one.expires_at > at)
    over = len(before.samples) - len(left)
    before = before.model_copy(update={"samples": left})
    wrong = _difference(before, after)
    counted = f"{after.count:,} of {before.count:,}"
    return Proof(
        name=name, passed=not wrong, evidence=wrong or f"{counted} there, {_looked_at(before, over)}"
    )


def _looked_at(before: Holding, over: int) -> str:
    if before.digest:
        return "digest of all the same"
    if over:
        return f"{len(before.samples)} samples the same, {over} counted alone: they have expired since"
    if before.samples:
        return f"{len(before.samples)} samples the same"
    return "counted alone: nothing was recorded of what is in it"


def _difference(before: Holding, after: Holding) -> str:
    if before.count != after.count:
        return f"{after.count:,} there, {before.count:,} were recorded"
    now = {sample.name: sample.digest for sample in after.samples}
    changed = [sample.name for sample in before.samples if now.get(sample.name) != sample.digest]
    if changed:
        return f"{len(changed)} of {len(before.samples)} samples are missing or other: " + ", ".join(
            changed[:_NAMED]
        )
    if before.digest != after.digest:
        return "the same number, with other content"
    return ""
