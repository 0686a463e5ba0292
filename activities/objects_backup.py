"""Copies of the object store: all objects with their versions, each content once, and a listing of them."""

import errno
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from temporalio import activity

from activities import entries, plain_files, stored
from activities.alone import alone
from activities.ledger_stores import BUCKET as LEDGER
from activities.objects_blobs import Blobs, ShelfBlobs, Spool
from activities.objects_copying import KNOWN, Copied, Copying
from activities.objects_entry import read_listing, write_listing, write_place
from activities.objects_side import ObjectsSide
from activities.objects_store import ObjectStore
from activities.open_recovery import refuse_while_recovering
from activities.pulse import beat
from activities.shelf_place import begin, id_in, prepare, unfinished
from activities.tokens import Tokens
from domain.backups import Level, spoken_bytes
from domain.entries import Entry, Source, bare, files_sha256, place_of
from domain.errors import BackupUnusable, Refused
from domain.objects_copy import (
    KIND,
    LISTING,
    STORE,
    ObjectsBackupOrder,
    ObjectVersion,
    holdings,
    in_order,
    with_gone,
)
from domain.objects_policy import says_the_same, versions_rule
from domain.order import ServiceTarget, Target
from domain.s3_store import merged
from domain.store_backups import StoreBackups

READ_BY = "size and SHA-256 of every content when it was copied, its size at each copy since"
_NAMED = 3


@dataclass(frozen=True)
class _Shelf:
    """The object store's part of the shelf."""

    root: Path
    target: Target

    @property
    def store(self) -> Path:
        return self.root / STORE

    @property
    def copies(self) -> Path:
        return self.store / KIND


class ObjectBackups:
    """Copies what an object store holds; nothing there is changed but that it keeps versions."""

    def __init__(self, side: ObjectsSide, tokens: Tokens, state: Path) -> None:
        """``state`` is DR_STATE."""
        self._side = side
        self._tokens = tokens
        self._state = state

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_objects_backup(self, order: ObjectsBackupOrder) -> StoreBackups:
        """Have every bucket keep versions, and copy what is new; or return the copy that has this label.

        What was copied by an attempt that was cut off is not copied again. Raises ``Refused`` while a
        recovery is open, without keys or room, ``Unavailable`` when a store does not answer.
        """
        target = order.target
        self._tokens.admit(order, target.stack)
        refuse_while_recovering(self._state, target.stack, order)
        try:
            with alone(self._state, f"objects-{target.stack}"):
                prepare(Path(target.shelf), STORE, KIND)
                entry = self._ensured(order, _Shelf(Path(target.shelf), target))
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                raise
            raise Refused(
                "the disk is full: the copy could not be finished",
                where=target.shelf,
                hint="make room; what was copied so far is not copied again",
                code="no-room",
            ) from None
        return StoreBackups(entries=(bare(entry),), sentence=entry.sentence)

    def _ensured(self, order: ObjectsBackupOrder, shelf: _Shelf) -> Entry:
        mine = [e for e in entries.read_entries(shelf.root)[0] if (e.store, e.kind) == (STORE, KIND)]
        for known in mine:
            if known.label == order.label:
                return known
        service = self._side.service(order.target, order.service)
        live = self._side.live(order.target, service)
        blobs = self._side.blobs(order.target, order.second_store)
        self._side.refuse_itself(live, order.second_store)
        before = _newest_listing(shelf, mine)
        spool = Spool(shelf.store)
        spool.clear()
        left = unfinished(shelf.copies)
        partial = entries.partial_of(shelf.root, STORE, KIND, entries.new_id(shelf.copies, KIND))
        begin(partial)
        copying = Copying(live, blobs, spool, partial / KNOWN, _parallel(order))
        copying.remember([*before, *_brought_by(left)])
        for path in left:
            # What it knew stands in the new one now, so that a second death costs nothing either.
            shutil.rmtree(path)
        entry = _Making(order, shelf, service, live, blobs).make(partial, copying, before)
        if isinstance(blobs, ShelfBlobs):
            _remove_unlisted(shelf, blobs)
        return entry


class _Making:
    """One copy."""

    def __init__(
        self,
        order: ObjectsBackupOrder,
        shelf: _Shelf,
        service: ServiceTarget,
        live: ObjectStore,
        blobs: Blobs,
    ) -> None:
        self._order = order
        self._shelf = shelf
        self._service = service
        self._live = live
        self._blobs = blobs

    def make(self, partial: Path, copying: Copying, before: list[ObjectVersion]) -> Entry:
        began = datetime.now(UTC)
        left_out = {LEDGER, *self._order.objects.exclude}
        buckets = [name for name in self._live.buckets() if name not in left_out]
        notes = self._keep_versions(buckets)
        beat("listing objects")
        seen = [one for bucket in buckets for one in self._live.versions(bucket)]
        copied = copying.copy(in_order(seen))
        gone = [one for one in before if one.bucket not in left_out]
        listed = with_gone(copied.versions, gone, began, self._order.objects.keep_gone)
        listed, lost = copying.only_kept(listed)
        notes += _said(copied, listed, lost)
        write_listing(partial / LISTING, listed)
        write_place(partial, self._blobs, unreadable=len(copied.unreadable))
        (partial / KNOWN).unlink(missing_ok=True)
        entry = self._entry(partial, buckets, listed, copied, began, notes)
        self._blobs.publish(f"{entry.id}/{LISTING}", (partial / LISTING).read_bytes())
        return entries.publish(partial, entry)

    def _keep_versions(self, buckets: list[str]) -> list[str]:
        """Have every bucket keep versions, and so many of them; return what that changed."""
        wanted = versions_rule(self._order.keep_versions)
        versioned, ruled, uncounted, notes = list[str](), list[str](), list[str](), list[str]()
        for bucket in buckets:
            try:
                versioned += [bucket] if self._live.ensure_versioned(bucket) else []
                found = self._live.rules(bucket)
                if not any(says_the_same(one, wanted) for one in found):
                    self._live.set_rules(bucket, merged(found, wanted))
                    kept = any(says_the_same(one, wanted) for one in self._live.rules(bucket))
                    (ruled if kept else uncounted).append(bucket)
            except Refused as refused:
                notes.append(f"{bucket}: {refused.what}")
        changed = [f"versioning is on for {', '.join(versioned)} now"] if versioned else []
        count = wanted["NoncurrentVersionExpiration"]["NewerNoncurrentVersions"]
        changed += [f"{count} older versions are kept in {', '.join(ruled)} now"] if ruled else []
        changed += [f"the store counts no versions of {', '.join(uncounted)}"] if uncounted else []
        return [*changed, *notes]

    def _entry(
        self,
        partial: Path,
        buckets: list[str],
        listed: list[ObjectVersion],
        copied: Copied,
        began: datetime,
        notes: list[str],
    ) -> Entry:
        order, files = self._order, stored.stored_files(partial)
        entry_id = id_in(partial)
        held = holdings(buckets, listed)
        ended = datetime.now(UTC)
        said = (
            f"Copy {entry_id}: {sum(one.count for one in held):,} objects in {len(buckets)} buckets,"
            f" {len(listed):,} versions, {spoken_bytes(sum(one.bytes for one in listed))};"
            f" new {copied.new:,},"
            f" {spoken_bytes(copied.new_bytes)} in {(ended - began).total_seconds():.1f} s,"
            f" to {self._blobs.place}"
        )
        return Entry(
            sentence="; ".join([said, *notes]),
            id=entry_id,
            store=STORE,
            kind=KIND,
            path=place_of(STORE, KIND, entry_id),
            started_at=began,
            ended_at=ended,
            bytes=sum(file.bytes for file in files),
            sha256=files_sha256(files),
            files=files,
            source=Source(stack=order.target.stack, image_id=self._service.image_id),
            held=held,
            verified=Level.NONE if copied.unreadable else Level.MANIFEST,
            verified_at=ended,
            verified_by=READ_BY,
            label=order.label,
            reason=order.reason,
            scheduled_for=order.scheduled_for,
        )


def _parallel(order: ObjectsBackupOrder) -> int:
    return order.second_store.parallel if order.second_store else 4


def _brought_by(attempts: list[Path]) -> list[ObjectVersion]:
    """Return what attempts had copied that ended in the middle."""
    known = []
    for path in attempts:
        if (path / KNOWN).is_file():
            known += read_listing(path / KNOWN, cut_off=True)
    return known


def _newest_listing(shelf: _Shelf, mine: list[Entry]) -> list[ObjectVersion]:
    """Return the listing of the newest copy that can be read; an unreadable one costs a longer copy."""
    for entry in mine:
        try:
            return read_listing(entries.directory_of(shelf.root, entry) / LISTING)
        except BackupUnusable:
            continue
    return []


def _said(copied: Copied, listed: list[ObjectVersion], lost: int) -> list[str]:
    gone = sum(one.gone_since is not None for one in listed)
    notes = [f"{gone:,} versions are kept that the store removed"] if gone else []
    notes += [f"{lost:,} versions that the store removed are in no copy any more"] if lost else []
    unreadable = copied.unreadable
    if unreadable:
        shown = "; ".join(f"{name}: {why}" for name, why in unreadable[:_NAMED])
        notes.append(f"{len(unreadable):,} could not be read and are not in it: {shown}")
    return notes


def _remove_unlisted(shelf: _Shelf, blobs: ShelfBlobs) -> None:
    """Remove contents that no copy lists, whatever its name is now; none when a listing cannot be read."""
    wanted: set[str] = set()
    for name in plain_files.names_at(shelf.copies):
        # One whose removal was begun may come back; what was never ours lists nothing.
        if not entries.is_id(name.removeprefix(entries.GONE), KIND):
            continue
        try:
            wanted |= {one.sha256 for one in read_listing(shelf.copies / name / LISTING)}
        except BackupUnusable:
            return
    unlisted = sorted(blobs.sizes().keys() - wanted)
    freed = sum(blobs.remove(sha256) for sha256 in unlisted)
    beat(f"{len(unlisted)} contents removed that no copy lists, {spoken_bytes(freed)}")
