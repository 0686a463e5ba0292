"""What a database held at a backup: tables with their rows, sequences, objects, roles. Pure values."""

from domain.order import Value


class TableState(Value):
    """What one table held at the backup, for the comparison with a restored copy."""

    name: str
    rows: int
    digest: str = ""
    """Of all its rows, whatever their order; empty when it was not taken, which is said elsewhere."""


class SequenceState(Value):
    """Where one sequence stood at the backup."""

    name: str
    last_value: int | None = None
    """``None`` when it was never asked for a value."""
    rising: bool = True
    """It counts up and never starts again, so that a later look finds no smaller value."""
    covers: bool | None = None
    """It stood at or past the greatest value of the column that owns it; ``None``: no column does."""


class DatabaseState(Value):
    """What one database held at the snapshot of its dump."""

    name: str
    file: str = ""
    bytes: int = 0
    tables: tuple[TableState, ...] = ()
    sequences: tuple[SequenceState, ...] = ()
    extensions: tuple[str, ...] = ()
    objects: dict[str, int] = {}
    """Kind of object (``indexes``, ``policies``, ``grants`` …) to how many there were."""
    left_out: tuple[str, ...] = ()
    """What is not compared and why, a sentence each."""
    last_marker: int | None = None
    """The highest of the ledger; ``None`` where it writes none."""


class Contents(Value):
    """What the database held about when the backup was taken."""

    tables: tuple[TableState, ...] = ()
    constraints: int = 0
    indexes: int = 0
    policies: int = 0
    triggers: int = 0
    functions: int = 0
    last_marker: int | None = None
    at_lsn: str = ""
    """Of a base backup: where the server stood when this was read; behind its end, no copy of it compares."""
    databases: tuple[DatabaseState, ...] = ()
    """Of a dump: what each database held, at the very snapshot that was dumped."""
    sequences: tuple[SequenceState, ...] = ()
    invalid: tuple[str, ...] = ()
    """Indexes of the database that were not valid: that a copy has them so as well is not its fault."""
    roles: tuple[str, ...] = ()
    memberships: tuple[str, ...] = ()
    bootstrap: str = ""
    """The role that ``initdb`` made."""
    preloaded: str = ""
    """``shared_preload_libraries``: some extensions cannot be restored without."""
