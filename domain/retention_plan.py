"""What retention looks at, what it is asked for, and what it answers."""

from datetime import datetime

from pydantic import AwareDatetime

from domain.backup_policy import BackupPolicy
from domain.backups import Level, PassedOver
from domain.inert import Quoted
from domain.order import Outcome, TargetOrder, Value
from domain.wal_retention import WalRange

LISTED = 200
"""So many of each are listed; a shelf that was never cleared has more than a history takes."""

Place = tuple[str, str]
"""Store and kind."""


class Held(Value):
    """An entry of the catalogue, as far as retention looks at it."""

    id: str
    store: str
    kind: str
    ended_at: AwareDatetime
    scheduled_for: AwareDatetime | None = None
    bytes: int = 0
    verified: Level = Level.NONE
    start_segment: str = ""
    """Of a base backup: the oldest WAL that it needs."""
    system: str = ""
    """Which database server it is of; empty where that is not known."""

    @property
    def place(self) -> Place:
        """Store and kind."""
        return self.store, self.kind

    @property
    def age_key(self) -> tuple[datetime, datetime, str]:
        """What sorts by age, the oldest first; the age is counted from the first of it."""
        return self.scheduled_for or self.ended_at, self.ended_at, self.id


class Ruling(Value):
    """What becomes of one backup, and why."""

    id: str
    store: str
    kind: str
    bytes: int
    goes: bool
    reason: Quoted


class RetentionOrder(TargetOrder):
    """Judge the target's shelf by a policy as of a moment; a later one than now counts as now."""

    policy: BackupPolicy
    as_of: AwareDatetime


class RetentionPlan(Outcome):
    """What goes and what stays, each with its reason; nothing goes when ``paused_because`` says why."""

    as_of: datetime
    going: tuple[Ruling, ...] = ()
    staying: tuple[Ruling, ...] = ()
    wal_going: tuple[WalRange, ...] = ()
    wal_staying: tuple[WalRange, ...] = ()
    bytes_going: int = 0
    paused_because: Quoted = ""
    strangers: tuple[PassedOver, ...] = ()
    """What lies there and is no backup of ours: it is never part of the plan."""
    unlisted: int = 0
    """How many more rulings there are than are listed."""

    def shortened(self) -> "RetentionPlan":
        """Return the plan with lists that a history can hold; figures and sentence are those of all."""
        lists = {name: getattr(self, name) for name in ("going", "staying", "wal_going", "wal_staying")}
        more = sum(max(len(rulings) - LISTED, 0) for rulings in lists.values())
        kept = {name: rulings[:LISTED] for name, rulings in lists.items()}
        return self.model_copy(update={**kept, "unlisted": more})


class Retained(Outcome):
    """What was removed, and the plan it was removed by."""

    plan: RetentionPlan
    removed: tuple[str, ...] = ()
    segments_removed: int = 0
    freed_bytes: int = 0
