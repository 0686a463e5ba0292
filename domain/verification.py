"""What a verification of backups looked at, and what follows from it. Pure.

What was not shown is ``None`` and never passes: a verification that could not look has failed.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, Self

from pydantic import AwareDatetime, model_validator

from domain.dumps import RestoreProven
from domain.entries import Entry
from domain.inert import Quoted
from domain.order import Order, Outcome, Value
from domain.recovery import Proof
from domain.verification_due import Due

Looked = Literal[
    "stack", "catalogue", "there", "fresh", "size", "archived", "restored", "far listed", "far fetched"
]
OF_EVERY_KIND: tuple[Looked, ...] = ("there", "fresh", "size", "restored")
ARCHIVED_FOR = ("postgres", "base")
"""The backups that WAL has to go on from."""


class Checked(Value):
    """One thing that was looked at; ``None`` says that it could not be shown."""

    what: Looked
    store: str = ""
    kind: str = ""
    entry_id: str = ""
    passed: bool | None
    evidence: Quoted
    why: str = ""
    """Why just this entry: ``the latest``, ``by chance``, ``the oldest``."""
    not_due_until: AwareDatetime | None = None
    """It is missing because its first time has not come; only what was not shown can be so."""
    proofs: tuple[Proof, ...] = ()

    @model_validator(mode="after")
    def _prove_unshown(self) -> Self:
        if self.not_due_until is not None and (self.passed is not None or self.entry_id):
            raise ValueError("what is not due yet is not there, and shows nothing")
        return self

    @property
    def title(self) -> str:
        """Say in a few words what was looked at."""
        named = " ".join(part for part in (self.store, self.kind, self.entry_id) if part)
        return f"{named}: {self.what}" if named else self.what


class VerificationReport(Outcome):
    """How a verification ended, with everything that it rests on."""

    stack: str
    outcome: Literal["passed", "failed", "stood_down"]
    rule: Quoted
    """The sentence that decided."""
    checks: tuple[Checked, ...] = ()
    restored: tuple[str, ...] = ()
    """Ids of the entries that were restored and hold what was recorded."""
    seed: int = 0
    """What the entry by chance was drawn with."""
    run_id: str = ""
    reason: str = ""
    scheduled_for: datetime | None = None
    started_at: datetime
    ended_at: datetime
    not_told: Quoted = ""
    """Whom it could not be told, and why."""
    path: str = ""
    """Where it lies on the worker's host."""

    @property
    def passed(self) -> bool:
        """Tell whether every due backup was shown to be good."""
        return self.outcome == "passed"

    @property
    def as_of(self) -> datetime:
        """Return the moment that it speaks of: one made for an earlier time says nothing of today."""
        return min(self.ended_at, self.scheduled_for or self.ended_at)


class RecordVerificationOrder(Order):
    """Write a report to disk."""

    report: VerificationReport


class Pick(Value):
    """An entry that is to be restored, and why this one."""

    entry: Entry
    why: str


def of_restore(pick: Pick, proven: RestoreProven) -> Checked:
    """Return what a restore showed; one without any proof showed nothing, whatever it says of itself."""
    shown = any(proof.passed for proof in proven.proofs)
    passed = proven.passed if shown or not proven.passed else None
    entry = pick.entry
    return Checked(
        what="restored",
        store=entry.store,
        kind=entry.kind,
        entry_id=entry.id,
        passed=passed,
        evidence=proven.sentence or "it says nothing",
        why=pick.why,
        proofs=proven.proofs,
    )


def judged(due: Sequence[Due], checks: Sequence[Checked]) -> tuple[bool, str]:
    """Return whether the backups are shown to be good, and the sentence that decides."""
    if not due:
        return False, "the policy wants no backup at all, so nothing is protected"
    wrong = [check for check in checks if check.passed is False]
    if wrong:
        more = f"; and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        return False, f"{wrong[0].title}: {wrong[0].evidence}{more}"
    unshown = [check for check in checks if check.passed is None and not _excused(check, due)]
    if unshown:
        more = f"; and {len(unshown) - 1} more" if len(unshown) > 1 else ""
        return False, f"not verified: {unshown[0].title}: {unshown[0].evidence}{more}"
    missing = [f"{one.store} {one.kind}: {what}" for one in due for what in _unseen(one, checks)]
    if _wal_unseen(due, checks):
        missing.append("postgres wal: archived")
    if missing:
        return False, f"not looked at: {', '.join(missing[:5])}"
    restored = [check for check in checks if check.what == "restored" and check.passed]
    waiting = [check for check in checks if check.not_due_until is not None]
    later = "".join(f"; {check.title}, {check.evidence}" for check in waiting)
    if not restored:
        return False, f"no backup was restored{later}"
    of_kinds = {(check.store, check.kind) for check in waiting if check.kind}
    there = f"{len(due) - len(of_kinds)} of {len(due)}" if of_kinds else f"all {len(due)}"
    return True, f"{there} kinds of backups are there and fresh; {len(restored)} were restored{later}"


def _unseen(one: Due, checks: Sequence[Checked]) -> list[Looked]:
    mine = [check for check in checks if (check.store, check.kind) == one.place]
    if one.optional and not mine:
        return []
    if mine and all(check.not_due_until is not None for check in mine):
        return []
    seen = {check.what for check in mine if check.passed}
    excused = {check.what for check in mine if check.passed is None and _excused(check, (one,))}
    return [what for what in OF_EVERY_KIND if what not in seen | excused]


def _wal_unseen(due: Sequence[Due], checks: Sequence[Checked]) -> bool:
    """Tell whether there is a base backup that is due, and nobody followed the WAL from it."""
    wanted = any(one.place == ARCHIVED_FOR for one in due)
    mine = [check for check in checks if (check.store, check.kind) == ARCHIVED_FOR]
    there = any(check.what == "there" and check.passed for check in mine)
    return wanted and there and not any(check.what == "archived" and check.passed for check in checks)


def _excused(check: Checked, due: Sequence[Due]) -> bool:
    """Tell whether it may be unshown: the age of what the stack file itself pauses, what is not due yet."""
    if check.not_due_until is not None:
        return True
    paused = {one.place for one in due if one.paused_because}
    return check.what == "fresh" and (check.store, check.kind) in paused
