"""The restore of Redis: what is asked for, and what was prepared and put in place."""

from domain.order import Outcome, TargetOrder
from domain.recovery import Proof
from domain.redis_backups import RedisFiles


class RedisRestoreOrder(TargetOrder):
    """Restore one backup of Redis; each attempt of a recovery has a volume of its own."""

    service: str = ""
    """Name of the service; empty when the target has one of the kind."""
    entry_id: str
    attempt: int = 1
    files: RedisFiles | None = None
    """How the server names its files; ``None``: as it says itself, or as its arguments say."""


class RedisPrepared(Outcome):
    """A volume from which the server loads the backup, whether its append-only file is on or off."""

    volume: str
    entry_id: str
    keys: int
    proofs: tuple[Proof, ...] = ()


class RedisRestored(Outcome):
    """The server serves the restored data; the old data is in the other volume."""

    kept_volume: str
    kept_bytes: int
    keeper: str
    """The never started container that holds the kept volume until its release."""
    keys: int
    """So many keys it holds now; what had a time to live may be over meanwhile."""
