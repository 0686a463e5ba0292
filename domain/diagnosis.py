"""What the witnesses saw, and what it means. Pure: the looking is done by the hands."""

from datetime import datetime
from enum import StrEnum

from domain.order import Outcome, Value


class Finding(StrEnum):
    """What one witness says."""

    SOUND = "sound"
    DAMAGED = "damaged"
    INDEX_DAMAGED = "index_damaged"
    NOT_MEASURED = "not_measured"


class Witness(Value):
    """One look at the server, with its evidence in one sentence."""

    name: str
    finding: Finding
    evidence: str


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


class Assessment(Outcome):
    """The diagnosis of a PostgreSQL server."""

    verdict: Verdict
    because: str
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
