"""Dumps of PostgreSQL: what is asked for, and what a restored one showed."""

from enum import StrEnum

from pydantic import AwareDatetime, Field

from domain.contents import Contents
from domain.entries import Entry, Source
from domain.order import Outcome, TargetOrder, Value
from domain.recovery import Proof

GLOBALS = "globals.sql"
"""The file with roles, their passwords and memberships, of a dump."""


class DumpKind(StrEnum):
    """The two rotations; they differ in when they are taken and how long they are kept."""

    DAILY = "daily"
    WEEKLY = "weekly"


class DumpOrder(TargetOrder):
    """Dump every database and the globals; ``label`` makes a second call find the first one's result."""

    kind: DumpKind = DumpKind.DAILY
    label: str
    reason: str = ""
    scheduled_for: AwareDatetime | None = None
    digest_seconds: float = Field(default=300.0, ge=0)
    """So long rows are digested in all; tables for which it was not enough are named."""
    compressed: bool = True


class EntryTargetOrder(TargetOrder):
    """Act on one entry of the target's shelf."""

    entry_id: str


class RestoreProven(Outcome):
    """What a dump showed when it was restored into a server of its own."""

    entry: Entry
    passed: bool
    proofs: tuple[Proof, ...] = ()


class Recorded(Value):
    """What a backup of PostgreSQL held: a file of it, from which an entry that was lost knows it again."""

    id: str
    store: str
    kind: str
    sha256: str
    """Of the backup's own manifest; of a dump over the list of its other files."""
    source: Source
    contents: Contents


class Rebuilt(Outcome):
    """Entries made anew from the files that they belong to."""

    rebuilt: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    """Directories that stayed without an entry, and why."""
    disbelieved: tuple[str, ...] = ()
    """Backups whose record of what they held is not believed, and why; their entries say less."""
