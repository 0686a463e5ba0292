"""What the far side holds of a stack, as its listing and the manifests there say."""

from collections.abc import Iterable
from datetime import datetime

from pydantic import ValidationError
from temporalio import activity

from activities.bucket import Bucket
from activities.objects_entry import lines_of
from activities.offsite_keys import unopened
from activities.offsite_side import FarSide
from activities.offsite_unlisted import unlisted
from activities.offsite_wal import FarWal
from activities.pulse import beat
from activities.sealing import FindKey, opened_chunks
from domain.backups import PassedOver, spoken_bytes
from domain.errors import BackupUnusable, DrError
from domain.objects_copy import KIND as COPY
from domain.objects_copy import LISTING
from domain.objects_copy import STORE as OBJECTS
from domain.offsite_contents import contents_in, contents_root, names_under
from domain.offsite_copies import (
    MANIFEST,
    SEALED,
    WAL,
    FarEntry,
    FarManifest,
    OffsiteOrder,
    context_of,
    entry_root,
    manifest_key,
    place_of,
)
from domain.offsite_look import ListFarOrder, OffsiteList, Unlisted
from domain.verification import ARCHIVED_FOR
from domain.wal import is_segment

_MANIFEST_LIMIT_BYTES = 256 * 1024 * 1024
_STRANGERS_NAMED = 50
_ENTRIES_NAMED = 2000
_COMPARABLE = 3
"""Of so many of each kind the single objects are remembered: the newest may be unfinished."""
_BEAT_EVERY = 10_000


class OffsiteListing:
    """Lists the far side; changes nothing."""

    def __init__(self, side: FarSide) -> None:
        """Reach the bucket through ``side``."""
        self._side = side

    @activity.defn(no_thread_cancel_exception=True)
    def observe_offsite(self, order: ListFarOrder) -> OffsiteList:
        """Return the far catalogue, newest first; of each kind the newest by its manifest: names and sizes.

        The newest copy of objects is compared with its listing too: every content that it names is there;
        of the newest base backup the WAL is followed. Of the older ones only the keys are looked for.
        """
        bucket, root = self._side.bucket(order), order.policy.root(order.target.stack)
        found = _Found(root)
        for number, far in enumerate(bucket.listed(root)):
            found.note(far.key, far.bytes, far.modified)
            if number % _BEAT_EVERY == 0:
                beat(f"off-site listing: {number} objects")
        found.contents = self._contents(bucket, order)
        entries = sorted(found.entries(), key=lambda one: (one.id, one.store), reverse=True)
        looked: set[tuple[str, str]] = set()
        for place, entry in enumerate(entries):
            if entry.finished and (entry.store, entry.kind) not in looked:
                looked.add((entry.store, entry.kind))
                sizes = found.sizes(entry)
                if sizes is not None:
                    entries[place] = self._checked(order, bucket, entry, sizes, found.contents)
        lost = self._unlisted(order, bucket, entries, found.contents) if order.unlisted else None
        return _told(found, entries, lost, unopened(order, bucket, self._side.keys.find, entries))

    def _unlisted(
        self, order: OffsiteOrder, bucket: Bucket, entries: list[FarEntry], there: dict[str, int]
    ) -> Unlisted:
        copies = [one for one in entries if one.finished and (one.store, one.kind) == (OBJECTS, COPY)]

        def listed_by(entry: FarEntry) -> dict[str, int]:
            manifest = read_manifest(order, bucket, self._side.keys.find, entry)
            return self._wanted(bucket, manifest) if manifest.contents is not None else {}

        return unlisted(self._side, order, copies, there, listed_by)

    def _checked(
        self,
        order: OffsiteOrder,
        bucket: Bucket,
        entry: FarEntry,
        sizes: dict[str, int],
        contents: dict[str, int],
    ) -> FarEntry:
        try:
            manifest = read_manifest(order, bucket, self._side.keys.find, entry)
            same = all(sizes.get(file.key) == file.far_bytes for file in manifest.files)
            if same and manifest.contents is not None:
                same = self._all_there(order, bucket, manifest, contents)
        except DrError as error:
            return entry.model_copy(update={"checked": False, "problem": error.what})
        went = manifest.contents.count if manifest.contents is not None else None
        seen = {"checked": same, "key_id": manifest.key_id, "contents": went}
        if (entry.store, entry.kind) == ARCHIVED_FOR:
            seen |= self._wal_of(order, bucket, manifest)
        return entry.model_copy(update=seen)

    def _wal_of(self, order: OffsiteOrder, bucket: Bucket, manifest: FarManifest) -> dict[str, object]:
        """Return whether the WAL there goes on from a base backup; without the keys that is not seen."""
        try:
            wrong, seen = FarWal(self._side, order, bucket, manifest).problem()
        except DrError as error:
            return {"follows": None, "wal": error.what}
        return {"follows": not wrong, "wal": wrong or seen}

    def _wanted(self, bucket: Bucket, manifest: FarManifest) -> dict[str, int]:
        """Return what the listing of a far copy names; nothing without one."""
        listing = next((file for file in manifest.files if file.path == LISTING), None)
        if listing is None:
            return {}
        context = context_of(manifest.stack, manifest.store, manifest.kind, manifest.id, LISTING)
        find, blocks = self._side.keys.find, bucket.get(listing.key)
        return contents_in(lines_of(opened_chunks(blocks, find, context) if manifest.key_id else blocks))

    def _contents(self, bucket: Bucket, order: OffsiteOrder) -> dict[str, int]:
        """Return the objects that hold contents with their sizes."""
        there = {}
        for number, far in enumerate(bucket.listed(contents_root(order.policy, order.target.stack))):
            there[far.key] = far.bytes
            if number % _BEAT_EVERY == 0:
                beat(f"off-site listing: {number} contents of objects")
        return there

    def _all_there(
        self, order: OffsiteOrder, bucket: Bucket, manifest: FarManifest, sizes: dict[str, int]
    ) -> bool:
        """Tell whether every content that a far listing names is there, by name and size."""
        if manifest.contents is None or not any(file.path == LISTING for file in manifest.files):
            return False
        wanted, find = self._wanted(bucket, manifest), self._side.keys.find
        keys = [find(key_id) for key_id in manifest.contents.key_ids]
        named = names_under(contents_root(order.policy, order.target.stack), keys)
        return len(wanted) == manifest.contents.count and all(
            any(sizes.get(one.of(sha256)) == one.far_bytes(size) for one in named)
            for sha256, size in wanted.items()
        )


class _Found:
    """Sorts the objects of a listing as they come; a year of copies is a million of them."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._totals: dict[tuple[str, str, str], tuple[int, int]] = {}
        self._finished: dict[tuple[str, str, str], datetime | None] = {}
        self._sizes: dict[tuple[str, str], dict[str, dict[str, int]]] = {}
        self.strangers: list[PassedOver] = []
        self.wal = (0, 0, "")
        self.contents: dict[str, int] = {}

    def note(self, key: str, size: int, modified: datetime | None) -> None:
        place = place_of(key, self._root)
        if place is None:
            if len(self.strangers) < _STRANGERS_NAMED:
                self.strangers.append(PassedOver(id=key, reason="no copy of ours has such a name"))
            return
        store, kind, entry_id, rest = place
        if kind == WAL:
            self._note_segment(rest.removesuffix(SEALED), size)
            return
        total, count = self._totals.get((store, kind, entry_id), (0, 0))
        self._totals[store, kind, entry_id] = (total + size, count + 1)
        newest = self._sizes.setdefault((store, kind), {})
        newest.setdefault(entry_id, {})[key] = size
        if len(newest) > _COMPARABLE:
            del newest[min(newest)]
        if rest in {f"{MANIFEST}{SEALED}", f"{MANIFEST}.json"}:
            self._finished[store, kind, entry_id] = modified

    def _note_segment(self, name: str, size: int) -> None:
        if is_segment(name):
            count, total, newest = self.wal
            self.wal = (count + 1, total + size, max(newest, name))

    def entries(self) -> Iterable[FarEntry]:
        for place, (total, count) in self._totals.items():
            store, kind, entry_id = place
            yield FarEntry(
                id=entry_id,
                store=store,
                kind=kind,
                bytes=total,
                objects=count,
                finished=place in self._finished,
                copied_at=self._finished.get(place),
            )

    def sizes(self, entry: FarEntry) -> dict[str, int] | None:
        """Return the sizes of an entry's objects by their names, of the newest few entries of each kind."""
        return self._sizes[entry.store, entry.kind].get(entry.id)


def _told(
    found: _Found, entries: list[FarEntry], lost: Unlisted | None, missing_keys: list[str]
) -> OffsiteList:
    whole = sum(entry.finished for entry in entries)
    segments, segment_bytes, newest = found.wal
    content_bytes = sum(found.contents.values())
    objects = f", {len(found.contents):,} contents of objects of {spoken_bytes(content_bytes)}"
    return OffsiteList(
        sentence=f"{whole} whole copies off-site ({len(entries) - whole} unfinished),"
        f" {segments} WAL segments of {spoken_bytes(segment_bytes)}"
        + (objects if found.contents else "")
        + (f"; {lost.sentence}" if lost is not None and lost.count else "")
        + (f"; the newest {_ENTRIES_NAMED} are named" if len(entries) > _ENTRIES_NAMED else ""),
        # A year of hourly copies is more than a history takes.
        entries=tuple(entries[:_ENTRIES_NAMED]),
        segments=segments,
        segment_bytes=segment_bytes,
        newest_segment=newest,
        contents=len(found.contents),
        content_bytes=content_bytes,
        unlisted=lost,
        strangers=tuple(found.strangers[:_STRANGERS_NAMED]),
        unopened=tuple(missing_keys),
    )


def read_manifest(order: OffsiteOrder, bucket: Bucket, find: FindKey, entry: FarEntry) -> FarManifest:
    """Return what a copy consists of.

    Raises ``BackupUnusable`` (``offsite-manifest``) for one that is of another entry or leads elsewhere,
    ``seal-broken``, and ``Refused`` (``not-sealed``, ``backup-key-missing``) as the policy asks for it.
    """
    stack, sealed = order.target.stack, order.policy.encrypt
    prefix = entry_root(order.policy.root(stack), entry.store, entry.kind, entry.id)
    key = manifest_key(prefix, sealed=sealed)
    blocks: Iterable[bytes] = bucket.get(key)
    if sealed:
        blocks = opened_chunks(blocks, find, context_of(stack, entry.store, entry.kind, entry.id))
    try:
        manifest = FarManifest.model_validate_json(_held(blocks, key))
    except (ValidationError, ValueError):
        raise _unusable(key, "it cannot be read") from None
    if (manifest.stack, manifest.store, manifest.kind, manifest.id) != (
        stack,
        entry.store,
        entry.kind,
        entry.id,
    ):
        raise _unusable(key, f"it is that of {manifest.store} {manifest.id}")
    problem = manifest.limitation()
    if problem or not all(file.key.startswith(prefix) for file in manifest.files):
        raise _unusable(key, problem or "it names objects of something else")
    return manifest


def _held(blocks: Iterable[bytes], key: str) -> bytes:
    held = bytearray()
    for block in blocks:
        held += block
        if len(held) > _MANIFEST_LIMIT_BYTES:
            raise _unusable(key, "it has no end")
    return bytes(held)


def _unusable(key: str, what: str) -> BackupUnusable:
    return BackupUnusable(f"the manifest of a far copy: {what}", where=key, code="offsite-manifest")
