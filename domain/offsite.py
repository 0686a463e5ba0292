"""Where backups go that must outlive this site, as ``offsite:`` of ``stack.yaml`` states it."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from domain.durations import Duration
from domain.fact import Fact
from domain.s3_store import S3Store

RULE_ID = "dr-offsite"
SHORTEST_LIFE = timedelta(days=365)
"""No copy expires earlier, whoever asks for it."""
_LEAST_BEFORE_ARCHIVE = timedelta(days=30)
_LEAST_BEFORE_ABORT = timedelta(days=7)

Pattern = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9*?._-]+$", max_length=100)]
KmsKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9:/_-]*$", max_length=500)]


class Lifecycle(Fact):
    """What the far store itself does with copies as they grow old."""

    glacier_after: Duration | None = timedelta(days=90)
    """``null`` leaves them where they are."""
    archive_class: Literal["GLACIER", "GLACIER_IR", "DEEP_ARCHIVE"] = "GLACIER"
    expire_after: Duration = SHORTEST_LIFE
    abort_incomplete_after: Duration = timedelta(days=7)

    @model_validator(mode="after")
    def _prove_long_enough(self) -> Self:
        for name in ("glacier_after", "expire_after", "abort_incomplete_after"):
            length: timedelta | None = getattr(self, name)
            if length is not None and length % timedelta(days=1):
                raise ValueError(f"{name}: the store counts whole days")
        if self.expire_after < SHORTEST_LIFE:
            raise ValueError(f"expire_after: copies are kept for {SHORTEST_LIFE.days} days at least")
        if self.abort_incomplete_after < _LEAST_BEFORE_ABORT:
            raise ValueError(
                f"abort_incomplete_after: a broken upload is resumed within {_LEAST_BEFORE_ABORT.days} days"
            )
        if self.glacier_after is not None and not (
            _LEAST_BEFORE_ARCHIVE <= self.glacier_after < self.expire_after
        ):
            raise ValueError(
                f"glacier_after: from {_LEAST_BEFORE_ARCHIVE.days} days on, and before copies expire"
            )
        return self


class ObjectLock(Fact):
    """For how long nobody may remove or replace a copy; ``compliance`` binds the account's owner too."""

    mode: Literal["governance", "compliance"] = "governance"
    days: Annotated[int, Field(ge=1, le=36_500)]


class OffsitePolicy(S3Store):
    """An S3 store somewhere else, and how backups are kept there."""

    storage_class: Literal["STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR"] = (
        "STANDARD_IA"
    )
    sse: Literal["none", "aes256", "aws:kms"] = "aws:kms"
    """What the far store does on its disks, besides ``encrypt``."""
    kms_key: KmsKey = ""
    """Empty is the account's own key."""
    encrypt: bool = True
    """Sealed here, with a key of ours, before it leaves."""
    exclude: tuple[Pattern, ...] = ("*.tmp",)
    """Names of files that stay here, unless the entry lists them as its own."""
    objects: bool = True
    """With a copy of objects go their contents, each once; else its listing alone, and they stay here."""
    object_lock: ObjectLock | None = None
    """Given, it is demanded: a bucket without it is refused."""
    lifecycle: Lifecycle = Lifecycle()
    demand: tuple[Literal["versioning", "lifecycle"], ...] = ("versioning",)
    """What the bucket must have; the rest is asked for, and said when the store does not offer it."""

    @model_validator(mode="after")
    def _prove_possible(self) -> Self:
        if self.kms_key and self.sse != "aws:kms":
            raise ValueError("kms_key: it is used by sse: aws:kms alone")
        if not self.encrypt and not self.confidential:
            raise ValueError("encrypt: false needs an https endpoint; else backups would travel in clear")
        return self

    @property
    def takes_sealed_alone(self) -> bool:
        """Tell whether nothing in clear may be written there."""
        return self.encrypt

    def written_with(self, at: datetime) -> dict[str, Any]:
        """Return how an object is written at an instant, as S3 spells it."""
        kept = super().written_with(at)
        if self.sse != "none":
            kept["ServerSideEncryption"] = "AES256" if self.sse == "aes256" else self.sse
        if self.kms_key:
            kept["SSEKMSKeyId"] = self.kms_key
        if self.object_lock is not None:
            kept["ObjectLockMode"] = self.object_lock.mode.upper()
            kept["ObjectLockRetainUntilDate"] = at + timedelta(days=self.object_lock.days)
        return kept

    def keeps_here(self, name: str) -> bool:
        """Tell whether a file of this name stays on this host."""
        return any(fnmatchcase(name, pattern) for pattern in self.exclude)


def wanted_rule(policy: OffsitePolicy, root: str, *, archive: bool = True) -> dict[str, Any]:
    """Return the lifecycle rule of a stack's copies as S3 spells it; without ``archive`` they never move."""
    life = policy.lifecycle
    rule: dict[str, Any] = {
        "ID": f"{RULE_ID}-{root.strip('/').replace('/', '-')}"[:255],
        "Status": "Enabled",
        "Filter": {"Prefix": root},
        "Expiration": {"Days": life.expire_after.days},
        # A copy that somebody replaced is the older version: it stays as long as one that nobody touched.
        "NoncurrentVersionExpiration": {"NoncurrentDays": life.expire_after.days},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": life.abort_incomplete_after.days},
    }
    if archive and life.glacier_after is not None:
        rule["Transitions"] = [{"Days": life.glacier_after.days, "StorageClass": life.archive_class}]
    return rule


def early_expiry(rules: Iterable[Mapping[str, Any]], root: str) -> str | None:
    """Return which rule of somebody else would remove copies before their time, or ``None``."""
    for rule in rules:
        if rule.get("Status") != "Enabled" or not _reaches(rule, root):
            continue
        expiration = rule.get("Expiration") or {}
        days = expiration.get("Days")
        if "Date" in expiration or (days is not None and int(days) < SHORTEST_LIFE.days):
            when = f"after {days} days" if days is not None else f"on {expiration['Date']}"
            return f"the bucket's rule {rule.get('ID', 'without a name')!r} removes copies {when}"
    return None


def _reaches(rule: Mapping[str, Any], root: str) -> bool:
    chosen = rule.get("Filter") or {}
    both = chosen.get("And") or {}
    if "Tag" in chosen or both.get("Tags"):
        return False  # copies carry no tags
    prefix = str(rule.get("Prefix") or chosen.get("Prefix") or both.get("Prefix") or "")
    return root.startswith(prefix) or prefix.startswith(root)
