"""What the witnesses saw of a server; what it means together is weighed in ``domain/weighing.py``."""

from datetime import datetime
from enum import StrEnum

from domain.inert import Quoted
from domain.order import Outcome, Value


class Finding(StrEnum):
    """What one witness says."""

    SOUND = "sound"
    DAMAGED = "damaged"
    INDEX_DAMAGED = "index_damaged"
    NOT_MEASURED = "not_measured"


class Look(StrEnum):
    """What a witness looked at; looks of different kinds are independent of each other."""

    CONTAINER = "container"
    LOG = "log"
    CONTROL = "control"
    """The control file, ``pg_control``."""
    CHECKSUMS = "checksums"
    """The counter of checksum failures."""
    AMCHECK = "amcheck"
    FULL_READ = "full_read"
    COUNTS = "counts"
    """Rows counted through the heap against rows counted through an index."""
    FILES = "files"
    """The files of the relations, as the directory has them, against the catalog."""
    STATUS = "status"
    """What became of the transactions, ``pg_xact``."""
    IDENTITY = "identity"
    """Whether the server still is the one whose backups are on the shelf."""
    OTHER = "other"
    """Decides nothing by itself, for example a dump of the schema alone."""


class Trouble(StrEnum):
    """Something wrong that is not corruption."""

    NONE = ""
    STOPPED = "stopped"
    STARTING = "starting"
    DISK_FULL = "disk_full"
    SETTINGS = "settings"  # also a permission or a library
    MEMORY = "memory"


class Witness(Value):
    """One look at the server, with its evidence in one sentence."""

    name: str
    finding: Finding
    evidence: Quoted
    look: Look = Look.OTHER
    trouble: Trouble = Trouble.NONE


class Verdict(StrEnum):
    """What all witnesses together mean."""

    CORRUPT = "corrupt"
    INDEX_ONLY = "index_only"
    SOUND = "sound"
    OTHER_TROUBLE = "other_trouble"
    """Not corruption: stopped container, full disk, wrong setting; another scenario fits."""
    UNKNOWN = "unknown"
    """Too little was measured to say either."""


class DamagedBlock(Value):
    """A block that a check named, as ``pg_waldump`` addresses it."""

    relation: str
    path: str
    """``tablespace/database/relfilenode``."""
    block: int


class DamagedIndex(Value):
    """An index that a check named."""

    database: str
    name: str
    """``schema.index``, as the checks write it: without quotes."""


class Assessment(Outcome):
    """The diagnosis of a PostgreSQL server."""

    verdict: Verdict
    because: Quoted
    """The sentence that decided."""
    fitting_scenario: str = ""
    """For ``other_trouble``: the scenario that fits."""
    witnesses: tuple[Witness, ...] = ()
    running: bool
    """The container runs."""
    answers: bool
    """The server answers queries, so that its users are still served in part."""
    damaged_blocks: tuple[DamagedBlock, ...] = ()
    damaged_indexes: tuple[str, ...] = ()
    first_evidence_at: datetime | None = None
    first_evidence_lsn: str | None = None
    timeline: int | None = None
    system_identifier: str | None = None
    current_lsn: str | None = None
    """Where the WAL of a server that answers stood when it was assessed."""
    data_checksums: bool | None = None
    damaged_tables: tuple[str, ...] = ()
    indexes: tuple[DamagedIndex, ...] = ()
    """The damaged indexes with their databases, as far as a check named them."""
