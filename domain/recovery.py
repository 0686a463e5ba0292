"""What the hands of a database recovery are told and what they answer."""

from datetime import datetime

from domain.backups import Backup
from domain.contents import Contents
from domain.diagnosis import DamagedBlock
from domain.inert import Quoted
from domain.order import Outcome, TargetOrder, Value
from domain.stack import Check
from domain.wal import SEGMENT_BYTES

FOREIGN_KEYS = "foreign keys"
"""The proof that every row has what it refers to."""


class Proof(Value):
    """One check with its evidence; a check that was not made is ``passed=None``, never true."""

    name: Quoted
    passed: bool | None
    evidence: Quoted


class RestoreOrder(TargetOrder):
    """Restore ``backup`` into a new volume; each attempt has a volume of its own."""

    backup: Backup
    attempt: int = 1


class Restored(Outcome):
    """A backup copied into a new volume; no server has run on it yet."""

    volume: str
    bytes: int
    seconds: float
    reattached: bool = False
    """True when the job of an earlier attempt was found and followed."""


class CopyOrder(TargetOrder):
    """Act on the restored copy of this recovery."""

    backup: Backup
    volume: str
    timeline: int


class Copy(Outcome):
    """A standby on the restored volume, without network, following the archive."""

    container: str
    volume: str
    socket_dir: str
    """Host directory of its Unix socket."""
    user: str
    database: str
    timeline: int
    replayed_lsn: str
    damage_in_wal: tuple[str, ...] = ()
    """WAL records that write the damaged blocks, as sentences for the brief."""
    system_identifier: str = ""
    wal_segment_bytes: int = SEGMENT_BYTES


class FollowOrder(CopyOrder):
    """Start the standby and wait until it has replayed what the archive holds."""

    answers: bool = False
    """The damaged server answers: its WAL is switched first, so that the copy gets near to now."""
    damaged_blocks: tuple[DamagedBlock, ...] = ()
    first_evidence_lsn: str | None = None


class VerifyOrder(TargetOrder):
    """Verify the copy at one recorded LSN."""

    copy_: Copy
    checks: tuple[Check, ...] = ()
    baseline: Contents | None = None
    full: bool = True
    """False: only what was touched since ``since_lsn`` is verified again."""
    since_lsn: str | None = None


class Verified(Outcome):
    """What the checks said of the copy."""

    passed: bool
    lsn: str
    proofs: tuple[Proof, ...]
    last_marker: int | None = None
    """Highest ledger marker on the copy."""


class Fenced(Outcome):
    """The server is closed to everybody but us, or it cannot serve at all."""

    terminated_sessions: int
    foreign_sessions: int
    fenced_at: datetime
    restart_policy: str = ""
    """The policy that its container had before; it is ``no`` now."""


class LastWalOrder(TargetOrder):
    """Bring the last WAL of the stopped server to the copy."""

    copy_: Copy
    answers: bool
    """The damaged server still answers, so that it can be asked to switch its WAL."""
    gap_ends: bool = False
    """The archive came from off-site: where the server's own WAL does not follow it, the chain ends there."""


class LastWal(Outcome):
    """The copy has replayed everything that there is."""

    target_lsn: str | None
    """LSN that the live server returned; ``None`` for a dead one."""
    replayed_lsn: str
    source: str
    """Where the last segment came from: ``archive``, ``salvaged pg_wal`` or ``partial``."""
    server_stopped_cleanly: bool


class PromoteOrder(TargetOrder):
    """Promote the copy, prove it, and stop it cleanly."""

    copy_: Copy
    expected_lsn: str
    slot: str
    """Replication slot made before promotion, for the receiver of the new timeline."""


class Promoted(Outcome):
    """The copy was promoted, shut down cleanly, and its container is gone."""

    timeline: int
    system_identifier: str
    slot: str
    last_marker: int | None = None
    configuration_carried: tuple[str, ...] = ()
    """Configuration files that were newer on the damaged server and were taken from it."""
    configuration_refused: tuple[str, ...] = ()
    """Those that were damaged there, so that the ones of the backup stayed."""


class ServeOrder(TargetOrder):
    """Start the server again on what is now in its volume."""

    expected_timeline: int
    slot: str
    restart_policy: str = ""
    """Set on the container once it serves; empty leaves it ``no`` for the caller."""


class Serving(Outcome):
    """The server is writable over TCP and protected by WAL streaming again."""

    timeline: int
    writable_at: datetime


class ServicesOrder(TargetOrder):
    """Stop or start services; the hand orders them by their dependencies."""

    services: tuple[str, ...] = ()
    restart_policies: dict[str, str] = {}


class ServicesStopped(Outcome):
    """Stopped services with the restart policies they had."""

    services: tuple[str, ...] = ()
    restart_policies: dict[str, str] = {}


class ServicesStarted(Outcome):
    """Services that run again, each healthy by its own protocol."""

    services: tuple[str, ...] = ()
    proofs: tuple[Proof, ...] = ()


class Judged(Outcome):
    """The answer of a verifying hand."""

    passed: bool
    proofs: tuple[Proof, ...] = ()
