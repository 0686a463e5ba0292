"""Objects brought back into a bucket of the live store, by version; nothing that is there is lost by it.

What is restored is a new version over what is there, so that undoing it is one more restore.
"""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from temporalio import activity

from activities import plain_files
from activities.alone import alone
from activities.belonging import refuse_foreign
from activities.objects_blobs import Blobs, proven
from activities.objects_entry import copy_named, damaged, require_place, whole_listing
from activities.objects_side import ObjectsSide
from activities.objects_store import GoneError, ObjectStore
from activities.offsite_progress import Progress
from activities.offsite_together import together
from activities.tokens import Tokens
from domain.backups import spoken_bytes
from domain.errors import Refused, Unavailable, VerificationFailed
from domain.inert import quoted
from domain.objects_copy import STORE, ObjectVersion, state_at
from domain.objects_restore import LISTED, ObjectsRestored, ObjectsRestoreOrder
from domain.order import Target

_PARALLEL = 4


class _Source(Protocol):
    """Where a version comes from."""

    def blocks(self, one: ObjectVersion) -> Iterator[bytes]:
        """Yield its content, proven."""


@dataclass(frozen=True)
class _FromCopy:
    """A copy on the shelf or in the second store."""

    contents: Blobs

    def blocks(self, one: ObjectVersion) -> Iterator[bytes]:
        return proven(self.contents, one.sha256, one.bytes)


@dataclass(frozen=True)
class _FromVersions:
    """The older versions that the store itself has."""

    store: ObjectStore

    def blocks(self, one: ObjectVersion) -> Iterator[bytes]:
        try:
            with self.store.reading(one) as found:
                yield from found.blocks
        except GoneError:
            raise VerificationFailed(
                "a version that was listed is no longer there", where=one.name, code="objects-version-gone"
            ) from None


class ObjectsRestoring:
    """Brings objects back."""

    def __init__(self, side: ObjectsSide, tokens: Tokens, state: Path) -> None:
        """``state`` is DR_STATE."""
        self._side = side
        self._tokens = tokens
        self._state = state

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_objects_restored(self, order: ObjectsRestoreOrder) -> ObjectsRestored:
        """Bring back what is missing, damaged or other than it was; a second run finds it done.

        Every object is read. What is there now and was not then is left, and said. Before anything is
        written it raises ``Refused``: ``objects-drive-copied`` and ``objects-not-versioned`` (F-J8),
        ``objects-not-there`` when nothing of what is asked for was there then; ``BackupUnusable`` for a
        damaged copy. Afterwards ``VerificationFailed`` when something is still not as it should be.
        """
        target = order.target
        self._tokens.admit(order, target.stack)
        with alone(self._state, f"objects-restore-{target.stack}"):
            store = self._side.live(target, self._side.service(target, order.service))
            source, listed = self._source(order, store)
            wanted = [one for one in state_at(listed, order.at) if order.covers(one.key)]
            if not wanted:
                raise _nothing(order)
            if order.entry_id:
                # From a copy all of it may come back, and nothing that is there may be lost.
                store.ensure_bucket(order.bucket)
                store.ensure_versioned(order.bucket)
            return _Restoring(order, store, source, _room_for_one(target)).restore(wanted)

    def _source(self, order: ObjectsRestoreOrder, store: ObjectStore) -> tuple[_Source, list[ObjectVersion]]:
        """Return where versions come from and which there are; everything that is wrong with it is said."""
        if not order.entry_id:
            if order.bucket not in store.buckets():
                raise _nothing(order)
            if not store.versioned(order.bucket):
                raise Refused(
                    f"the bucket {order.bucket} keeps no versions, so that it has no earlier state",
                    where=order.bucket,
                    hint="restore from a copy (dr backup list); dr backup now minio turns versions on",
                    code="objects-not-versioned",
                )
            return _FromVersions(store), list(store.versions(order.bucket, order.key or order.prefix))
        shelf = Path(order.target.shelf)
        entry = copy_named(shelf, order.entry_id)
        refuse_foreign(entry, order.target.stack)
        listed = [one for one in whole_listing(shelf, entry) if one.bucket == order.bucket]
        blobs = self._side.blobs(order.target, order.second_store)
        require_place(shelf, entry, blobs)
        there = blobs.sizes()
        missing = [
            one for one in state_at(listed, order.at)
            if order.covers(one.key) and there.get(one.sha256) != one.bytes
        ]  # fmt: skip
        if missing:
            said = f"{len(missing)} of its contents are missing or cut off, the first of {missing[0].name}"
            raise damaged(entry, said, shelf)
        return _FromCopy(blobs), listed


class _Restoring:
    """One restore."""

    def __init__(self, order: ObjectsRestoreOrder, store: ObjectStore, source: _Source, spool: Path) -> None:
        self._order = order
        self._store = store
        self._source = source
        self._spool = spool
        self._progress = Progress("objects compared and restored", 0)
        self._there: dict[str, ObjectVersion] = {}

    def restore(self, wanted: list[ObjectVersion]) -> ObjectsRestored:
        order = self._order
        listed = self._store.versions(order.bucket, order.key or order.prefix)
        self._there = {one.key: one for one in listed if one.current and not one.deleted}
        self._progress.more(sum(one.bytes for one in wanted))
        came = together(
            self._one, wanted, parallel=_PARALLEL, progress=self._progress, stopped=self._store.stopped
        )
        restored = [one for one, done in zip(wanted, came, strict=True) if done]
        names = {one.key for one in wanted}
        surplus = sorted(key for key in self._there if key not in names and order.covers(key))
        size = sum(one.bytes for one in restored)
        said = f"{len(restored):,} of {len(wanted):,} objects of {order.bucket} were brought back"
        left = f"; {len(surplus):,} that were not there then were left" if surplus else ""
        return ObjectsRestored(
            sentence=f"{said}, {spoken_bytes(size)}; the others are what they were{left}",
            looked_at=len(wanted),
            same=len(wanted) - len(restored),
            restored=len(restored),
            restored_names=tuple(one.key for one in restored[:LISTED]),
            surplus=len(surplus),
            surplus_names=tuple(surplus[:LISTED]),
            bytes=size,
        )

    def _one(self, wanted: ObjectVersion) -> bool:
        """Bring one object back unless it is what it should be; return whether that was needed."""
        there = self._there.get(wanted.key)
        now = self._digest(there) if there is not None and there.bytes == wanted.bytes else ""
        if now and now == wanted.sha256:
            self._progress.add(wanted.bytes)
            return False
        with tempfile.TemporaryFile(dir=self._spool) as file:
            content = self._fetched(wanted, file)
            if now == content:
                return False
            self._store.put(wanted.bucket, wanted.key, file, wanted.bytes, self._metadata(wanted))
        self._require(wanted, content)
        return True

    def _fetched(self, wanted: ObjectVersion, file: BinaryIO) -> str:
        whole, done = hashlib.sha256(), 0
        for block in self._source.blocks(wanted):
            whole.update(block)
            file.write(block)
            done += len(block)
            self._progress.add(len(block))
        if done != wanted.bytes:
            raise VerificationFailed("it is not as long as it was", where=wanted.name, code="objects-cut-off")
        file.seek(0)
        return whole.hexdigest()

    def _metadata(self, wanted: ObjectVersion) -> dict[str, str]:
        if isinstance(self._source, _FromCopy):
            return wanted.metadata
        with self._store.reading(wanted) as found:
            return found.metadata

    def _digest(self, one: ObjectVersion) -> str:
        """Return the SHA-256 of what is there now, or nothing when the store cannot read it any more."""
        whole = hashlib.sha256()
        try:
            with self._store.reading(one) as found:
                for block in found.blocks:
                    whole.update(block)
        except GoneError:
            return ""
        except Unavailable as error:
            if error.code != "objects-unavailable":
                raise
            self._store.buckets()  # it answers: then it is the object that is damaged
            return ""
        return whole.hexdigest()

    def _require(self, wanted: ObjectVersion, content: str) -> None:
        """Read what users get now; it has to be what was wanted."""
        listed = self._store.versions(wanted.bucket, wanted.key)
        now = next((one for one in listed if one.key == wanted.key and one.current), None)
        if now is None or now.deleted or self._digest(now) != content:
            raise VerificationFailed(
                f"it was restored and is not what it was: {quoted(wanted.key)}",
                where=wanted.bucket,
                hint="somebody else writes to it: stop the writers and run it again",
                code="objects-restore-wrong",
            )


def _room_for_one(target: Target) -> Path:
    """Return the directory in which a content is kept while it is on its way."""
    spool = Path(target.shelf) / STORE
    spool.parent.mkdir(parents=True, exist_ok=True)
    plain_files.own(spool, os.geteuid(), os.getegid())
    return spool


def _nothing(order: ObjectsRestoreOrder) -> Refused:
    what = order.key or f"{order.prefix}*"
    when = f" at {order.at:%Y-%m-%d %H:%M:%SZ}" if order.at else ""
    return Refused(
        f"nothing was there{when} of what is asked for: {order.bucket}/{what}",
        where=order.entry_id or order.bucket,
        hint="dr backup show tells what a copy held; names are case-sensitive",
        code="objects-not-there",
    )
