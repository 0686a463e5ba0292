"""A copy of the object store: its listing, what it held, and how two listings differ. Pure."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from itertools import groupby
from typing import Annotated

from pydantic import AwareDatetime, Field, StringConstraints

from domain.dumps import EntryTargetOrder
from domain.holdings import MEANT_EMPTY, SAMPLES, Holding, Sample
from domain.objects_policy import ObjectsPolicy, SecondStore
from domain.order import Value
from domain.recovery import Proof
from domain.s3_store import BucketName
from domain.store_backups import StoreBackupOrder

STORE, KIND = "minio", "copy"
CONTENTS = "objects"
"""Beside the copies on the shelf: the contents, each once."""
LISTING = "listing.jsonl"
PLACE = "place.json"
"""The file of an entry that says where the contents lie."""
_NAMED = 5
_LARGEST = 2**62

Key = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
Short = Annotated[str, StringConstraints(max_length=1024)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{64})?$")]


class ObjectsBackupOrder(StoreBackupOrder):
    """Copy the objects of a service with their versions."""

    keep_versions: int = Field(default=30, ge=1)
    objects: ObjectsPolicy = ObjectsPolicy()
    second_store: SecondStore | None = None
    """``None``: the copy lies on the shelf."""


class ObjectsProofOrder(EntryTargetOrder):
    """Act on one copy; its contents lie on the shelf, or in the second store that is named here."""

    second_store: SecondStore | None = None


class ObjectVersion(Value):
    """One version of an object, or the mark that it was deleted: a line of the listing."""

    bucket: BucketName
    key: Key
    version: Short
    """The store's id; ``null`` for what is older than versioning."""
    modified: AwareDatetime
    current: bool = False
    deleted: bool = False
    """A delete marker: nothing is in it, and nothing is done about it."""
    bytes: int = Field(default=0, ge=0, le=_LARGEST)
    etag: Short = ""
    sha256: Sha256 = ""
    metadata: dict[str, str] = {}
    """``Content-Type`` and the like, and what its owner wrote as ``x-amz-meta-…``."""
    gone_since: AwareDatetime | None = None
    """Since then the store itself does not have it any more; the copy does."""

    @property
    def same_as(self) -> tuple[str, str, str, str, int]:
        """What tells a version from every other: an id alone is not enough for the one called ``null``."""
        return self.bucket, self.key, self.version, self.etag, self.bytes

    @property
    def name(self) -> str:
        """Bucket and key, for people."""
        return f"{self.bucket}/{self.key}"


Known = Mapping[tuple[str, str, str, str, int], ObjectVersion]


def in_order(versions: Iterable[ObjectVersion]) -> list[ObjectVersion]:
    """Return the lines of a listing by bucket and key, the newest version of each first."""
    newest_first = sorted(versions, key=lambda one: (one.current, one.modified), reverse=True)
    return sorted(newest_first, key=lambda one: (one.bucket, one.key))


def with_gone(
    seen: Iterable[ObjectVersion], before: Iterable[ObjectVersion], now: datetime, keep: timedelta
) -> list[ObjectVersion]:
    """Return what the store has, and what an earlier copy had and the store has no more.

    A deletion is never mirrored: such versions leave the listing when they have been gone for long.
    """
    found = list(seen)
    there = {one.same_as for one in found}
    for one in before:
        if one.same_as in there or one.deleted:
            continue
        since = one.gone_since or now
        if now - since < keep:
            found.append(one.model_copy(update={"gone_since": since, "current": False}))
    return in_order(found)


def state_at(versions: Iterable[ObjectVersion], at: datetime | None) -> list[ObjectVersion]:
    """Return the objects that users saw at an instant; ``None`` is when the listing was made."""
    found = []
    for _, alike in groupby(in_order(versions), key=lambda one: (one.bucket, one.key)):
        if at is None:
            newest = next((one for one in alike if one.current), None)
        else:
            newest = next((one for one in alike if one.modified <= at and not _gone(one, at)), None)
        if newest is not None and not newest.deleted:
            found.append(newest)
    return found


def _gone(one: ObjectVersion, at: datetime) -> bool:
    return one.gone_since is not None and one.gone_since <= at


def holdings(buckets: Iterable[str], versions: Iterable[ObjectVersion]) -> tuple[Holding, ...]:
    """Return what each bucket held: its current objects counted, all its versions digested."""
    by_bucket: dict[str, list[ObjectVersion]] = {bucket: [] for bucket in buckets}
    for one in versions:
        if one.gone_since is None:
            by_bucket.setdefault(one.bucket, []).append(one)
    return tuple(_holding(bucket, by_bucket[bucket]) for bucket in sorted(by_bucket))


def _holding(bucket: str, versions: list[ObjectVersion]) -> Holding:
    current = sorted((one.key, one.sha256) for one in versions if one.current and not one.deleted)
    lines = sorted(described(one) for one in versions if not one.deleted)
    whole = hashlib.sha256("\n".join(lines).encode())
    step = max(1, -(-len(current) // SAMPLES))
    samples = tuple(Sample(name=key, digest=digest) for key, digest in current[::step])
    return Holding(name=bucket, count=len(current), digest=whole.hexdigest(), samples=samples)


def described(one: ObjectVersion) -> str:
    """Return what must be the same in every copy of a version: not its id, which each store gives anew.

    A delete marker has no content; it shows in that no version of its object is the current one.
    """
    state = "current" if one.current else "older"
    return json.dumps([one.key, state, one.bytes, one.sha256, sorted(one.metadata.items())])


def compare_versions(wanted: Iterable[ObjectVersion], seen: Iterable[ObjectVersion]) -> Proof:
    """Compare two listings both ways: what is missing, what is surplus, what has other bytes."""
    before, after = _by_name(wanted), _by_name(seen)
    if not before:
        return Proof(name="listing", passed=None, evidence=f"no object was listed; {MEANT_EMPTY}")
    missing = sorted(before.keys() - after.keys())
    surplus = sorted(after.keys() - before.keys())
    other = sorted(name for name in before.keys() & after.keys() if before[name] != after[name])
    found = [
        f"{len(names):,} {what}: {', '.join(names[:_NAMED])}"
        for what, names in (("missing", missing), ("surplus", surplus), ("with other content", other))
        if names
    ]
    said = "; ".join(found) or f"{len(before):,} objects, all their versions, both ways"
    return Proof(name="listing", passed=not found, evidence=said)


def _by_name(versions: Iterable[ObjectVersion]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in versions:
        if not one.deleted and one.gone_since is None:
            found.setdefault(one.name, []).append(described(one))
    return {name: sorted(lines) for name, lines in found.items()}
