"""Shows that a copy of the objects can be restored: into a store of its own, compared with its record."""

import hashlib
import tempfile
import time
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

from temporalio import activity

from activities import entries
from activities.alone import alone
from activities.objects_blobs import Blobs, proven
from activities.objects_entry import copy_named, damaged, require_place, unreadable_in, whole_listing
from activities.objects_side import ObjectsSide
from activities.objects_store import GoneError, ObjectStore
from activities.objects_throwaway import Throwaway
from activities.offsite_progress import Progress
from activities.offsite_together import together
from activities.pulse import beat
from activities.room import refuse_without_room
from activities.tokens import Tokens
from domain.backups import Level, spoken_bytes
from domain.dumps import RestoreProven
from domain.entries import Entry, bare
from domain.errors import BackupUnusable
from domain.holdings import compare_holdings
from domain.objects_copy import STORE, ObjectsProofOrder, ObjectVersion, compare_versions, holdings, in_order
from domain.recovery import Proof

READ_BY = "size and SHA-256 of every content"
RESTORED_BY = "restored into a store of its own and compared both ways, by listing and checksum"
_PARALLEL = 4
_SPARE = 1.1


class ObjectsProof:
    """Proves copies of objects; of the live service only its image is used."""

    def __init__(self, side: ObjectsSide, tokens: Tokens, state: Path) -> None:
        """``state`` is DR_STATE."""
        self._side = side
        self._tokens = tokens
        self._state = state

    @activity.defn(no_thread_cancel_exception=True)
    def verify_objects_copy(self, order: ObjectsProofOrder) -> Entry:
        """Read every content that a copy lists, and record level and date; a restored one keeps its level.

        Raises ``BackupUnusable`` for a damaged one, after its level was taken away.
        """
        self._tokens.admit(order, order.target.stack)
        entry, listed, blobs = self._opened(order)
        contents = {one.sha256: one for one in listed if not one.deleted}
        progress = Progress("contents", sum(one.bytes for one in contents.values()))
        try:
            for sha256, one in contents.items():
                for block in proven(blobs, sha256, one.bytes):
                    progress.add(len(block))
                beat(progress.sentence())
        except BackupUnusable as wrong:
            raise self._condemned(order, entry, wrong) from None
        lacks = unreadable_in(Path(order.target.shelf), entry)
        if entry.verified is not Level.RESTORED and not lacks:
            entry = self._record(order, entry, Level.MANIFEST, READ_BY)
        said = (
            f"Copy {entry.id}: {len(contents):,} contents, {spoken_bytes(progress.done)}, are what they were"
            + (f"; {_lacking(lacks)}" if lacks else "")
        )
        return bare(entry.model_copy(update={"sentence": said}))

    @activity.defn(no_thread_cancel_exception=True)
    def verify_objects_restored(self, order: ObjectsProofOrder) -> RestoreProven:
        """Restore a copy with all its versions into a throwaway store, and compare both ways.

        Its network leads nowhere. Raises ``BackupUnusable`` for a copy that is not what it was, ``Refused``
        without room, for another kind of backup, and for a drive copied as files. What was made is removed.
        """
        self._tokens.admit(order, order.target.stack)
        entry, listed, blobs = self._opened(order)
        self._refuse_without_room(listed)
        like = self._side.service(order.target, "")
        began = time.monotonic()
        made = Throwaway(self._side, self._state, order.target.stack, entry.id)
        spool = Path(order.target.shelf) / STORE
        with alone(self._state, made.name), made.running(like) as store:
            try:
                _Restoring(store, blobs, spool).restore(entry, listed)
            except BackupUnusable as wrong:
                raise self._condemned(order, entry, wrong) from None
            proofs = _compared(store, entry, listed)
        lacks = unreadable_in(Path(order.target.shelf), entry)
        if lacks:
            # Its listing does not have them, so that no comparison with it can find them missing.
            proofs = (*proofs, Proof(name="complete", passed=False, evidence=_lacking(lacks)))
        well = all(proof.passed for proof in proofs)
        # What was not shown takes nothing away; what was shown to be wrong does.
        if well or any(proof.passed is False for proof in proofs):
            level = Level.RESTORED if well else Level.NONE
            entry = self._record(order, entry, level, RESTORED_BY)
        return _proven(entry, proofs, well=well, seconds=time.monotonic() - began)

    def _opened(self, order: ObjectsProofOrder) -> tuple[Entry, list[ObjectVersion], Blobs]:
        """Return a copy whose own files are whole, its listing, and where its contents are."""
        shelf = Path(order.target.shelf)
        entry = copy_named(shelf, order.entry_id)
        try:
            listed = [one for one in whole_listing(shelf, entry) if one.gone_since is None]
        except BackupUnusable as wrong:
            raise self._condemned(order, entry, wrong) from None
        blobs = self._side.blobs(order.target, order.second_store)
        require_place(shelf, entry, blobs)
        return entry, listed, blobs

    def _condemned(self, order: ObjectsProofOrder, entry: Entry, wrong: BackupUnusable) -> BackupUnusable:
        self._record(order, entry, Level.NONE, READ_BY)
        return damaged(entry, wrong.what, Path(order.target.shelf), hint=wrong.hint)

    def _record(self, order: ObjectsProofOrder, entry: Entry, level: Level, by: str) -> Entry:
        return entries.record_verified(Path(order.target.shelf), entry, level, datetime.now(UTC), by)

    def _refuse_without_room(self, listed: list[ObjectVersion]) -> None:
        needed = int(sum(one.bytes for one in listed) * _SPARE)
        root = self._side.engine.root()
        refuse_without_room("to restore the copy", needed, root)


class _Restoring:
    """Puts all versions of a copy into an empty store, each object's from the oldest to the newest."""

    def __init__(self, store: ObjectStore, blobs: Blobs, spool: Path) -> None:
        self._store = store
        self._blobs = blobs
        self._spool = spool
        self._progress = Progress("restoring objects", 0)

    def restore(self, entry: Entry, listed: list[ObjectVersion]) -> None:
        for held in entry.held:
            self._store.ensure_bucket(held.name)
            self._store.ensure_versioned(held.name)
        self._progress.more(sum(one.bytes for one in listed))
        objects = [list(alike) for _, alike in groupby(in_order(listed), key=lambda one: one.name)]
        together(
            self._object, objects, parallel=_PARALLEL, progress=self._progress, stopped=self._store.stopped
        )

    def _object(self, newest_first: list[ObjectVersion]) -> None:
        for one in reversed(newest_first):
            if one.deleted:
                self._store.mark_deleted(one.bucket, one.key)
            else:
                self._version(one)
        if not any(one.current for one in newest_first):
            # The newest one is in no copy: none of those that are was what users saw.
            self._store.mark_deleted(newest_first[0].bucket, newest_first[0].key)

    def _version(self, one: ObjectVersion) -> None:
        with tempfile.TemporaryFile(dir=self._spool) as file:
            for block in proven(self._blobs, one.sha256, one.bytes):
                file.write(block)
                self._progress.add(len(block))
            file.seek(0)
            self._store.put(one.bucket, one.key, file, one.bytes, one.metadata)


def _compared(store: ObjectStore, entry: Entry, listed: list[ObjectVersion]) -> tuple[Proof, ...]:
    """Read all that is in the store, and compare it with the listing and with what the entry recorded."""
    buckets = store.buckets()
    there = [one for bucket in buckets for one in store.versions(bucket) if not one.deleted]
    progress = Progress("reading restored objects", sum(one.bytes for one in there))

    def read(one: ObjectVersion) -> ObjectVersion:
        whole = hashlib.sha256()
        try:
            with store.reading(one) as found:
                for block in found.blocks:
                    whole.update(block)
                    progress.add(len(block))
        except GoneError:
            return one  # without a digest it is like none that was copied
        return one.model_copy(update={"sha256": whole.hexdigest(), "metadata": found.metadata})

    seen = together(read, there, parallel=_PARALLEL, progress=progress, stopped=store.stopped)
    return (compare_versions(listed, seen), *compare_holdings(entry.held, holdings(buckets, seen)))


def _lacking(count: int) -> str:
    return f"{count:,} versions could not be read when it was made, and are not in it"


def _proven(entry: Entry, proofs: tuple[Proof, ...], *, well: bool, seconds: float) -> RestoreProven:
    if well:
        said = f"Copy {entry.id} was restored in {seconds:.1f} s and holds what was recorded"
    else:
        wrong = sorted(
            (proof for proof in proofs if not proof.passed), key=lambda proof: proof.passed is None
        )
        said = f"Copy {entry.id} is not proven: {wrong[0].name}: {wrong[0].evidence}"
    return RestoreProven(entry=bare(entry), passed=well, proofs=proofs, sentence=said)
