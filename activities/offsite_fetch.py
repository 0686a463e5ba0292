"""Brings copies back to a shelf that may have lost everything: proven before they get their names."""

import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from temporalio import activity

from activities import plain_files
from activities.bucket import Bucket, FarObject
from activities.offsite_list import read_manifest
from activities.offsite_progress import Progress
from activities.offsite_side import FarSide
from activities.offsite_together import together
from activities.sealing import opened_chunks
from activities.tokens import Tokens
from domain.backups import Backup, spoken_bytes
from domain.entries import ENTRY
from domain.errors import BackupUnusable, DrError, Refused, Unavailable
from domain.offsite_copies import (
    DIGEST,
    SEALED,
    WAL,
    FarEntry,
    FarFile,
    FarManifest,
    Fetched,
    FetchOrder,
    context_of,
    place_of,
)
from domain.trimming import untrimmed
from domain.wal import history_of, is_segment

T = TypeVar("T")
R = TypeVar("R")

_POSTGRES = "postgres"
_SPARE = 1.05


class OffsiteFetching:
    """Copies entries and WAL from the far side to the shelf; changes nothing there."""

    def __init__(self, side: FarSide, tokens: Tokens) -> None:
        """Reach the bucket through ``side``."""
        self._side = side
        self._tokens = tokens

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_fetched(self, order: FetchOrder) -> Fetched:
        """Bring one entry back, with a base backup its WAL too; what is here already stays as it is.

        Raises ``BackupUnusable`` when a copy is not as its manifest says, ``Refused`` (``offsite-missing``,
        ``no-room``, ``backup-key-missing``), ``Unavailable``; what came already is kept for the next attempt.
        """
        self._tokens.admit(order, order.target.stack)
        return _Fetching(self._side, order).everything()


class _Fetching:
    """One way back."""

    def __init__(self, side: FarSide, order: FetchOrder) -> None:
        self._order = order
        self._bucket: Bucket = side.bucket(order)
        self._find = side.keys.find
        self._stack = order.target.stack
        self._shelf = Path(order.target.shelf)
        self._root = order.policy.root(self._stack)
        self._suffix = SEALED if order.policy.encrypt else ""
        self._progress = Progress("fetching", 0)
        self._stopped = threading.Event()

    def everything(self) -> Fetched:
        """Fetch the entry, then the WAL that it needs."""
        entry = self._chosen()
        manifest = read_manifest(self._order, self._bucket, self._find, entry)
        final = self._shelf / entry.store / entry.kind / entry.id
        self._progress = Progress(f"fetching {entry.id}", sum(file.bytes for file in manifest.files))
        if not (final / ENTRY).is_file():
            self._fetch(manifest, final)
        segments = self._wal(manifest) if self._order.wal and _is_base(manifest) else 0
        size = sum(file.bytes for file in manifest.files)
        wal = f" and {segments} WAL files" if segments else ""
        return Fetched(
            sentence=f"{entry.store} {entry.id} is back on the shelf: {len(manifest.files)} files,"
            f" {spoken_bytes(size)}{wal}, every checksum as it was.",
            id=entry.id,
            store=entry.store,
            kind=entry.kind,
            path=str(final.relative_to(self._shelf)),
            bytes=size,
            segments=segments,
        )

    def _chosen(self) -> FarEntry:
        """Return the entry that is asked for; without an id the newest whole base backup."""
        wanted = self._order.entry_id
        within = self._root if wanted else f"{self._root}{_POSTGRES}/base/"
        found = []
        for far in self._bucket.listed(within):
            place = place_of(far.key, self._root)
            if place is None or place[3] != f"manifest{self._suffix or '.json'}":
                continue
            if not wanted or place[2] == wanted:
                store, kind, entry_id, _ = place
                found.append(FarEntry(id=entry_id, store=store, kind=kind, bytes=0, objects=0, finished=True))
        if not found:
            raise Refused(
                f"there is no whole copy of {wanted} off-site" if wanted else "no base backup is off-site",
                where=f"{self._order.policy.bucket}/{within}",
                hint="'dr offsite list' shows what is there",
                code="offsite-missing",
            )
        return max(found, key=lambda one: one.id)

    def _fetch(self, manifest: FarManifest, final: Path) -> None:
        partial = final.with_name(f".{final.name}.partial")
        owner = self._owner(manifest)
        try:
            self._prepare(partial, manifest, owner)
            self._each(lambda file: self._file(manifest, file, partial), manifest.files)
            plain_files.replace(partial / ENTRY, manifest.entry.encode())
            _require_entry(manifest)
            with plain_files.directory(partial.parent) as above:
                os.rename(partial.name, final.name, src_dir_fd=above, dst_dir_fd=above)
                os.fsync(above)
        except OSError as error:
            raise Refused(
                f"the shelf cannot take it: {error.strerror}", where=str(partial), code="shelf-unusable"
            ) from None

    def _owner(self, manifest: FarManifest) -> tuple[int, int]:
        """Return whose the entry is: PostgreSQL's files are the server's, the others as they were."""
        if os.geteuid() != 0 or manifest.store == _POSTGRES:
            return self._server()
        return manifest.uid, manifest.gid

    def _server(self) -> tuple[int, int]:
        server = self._order.target.postgres
        return (server.uid, server.gid) if os.geteuid() == 0 else (os.geteuid(), os.getegid())

    def _prepare(self, partial: Path, manifest: FarManifest, owner: tuple[int, int]) -> None:
        """Make the directories, check the room, and clear away what does not belong to the entry."""
        self._shelf.mkdir(parents=True, exist_ok=True)
        for directory in (partial.parent.parent, partial.parent, partial):
            plain_files.own(directory, *owner)
        there = os.statvfs(partial)
        room, needed = there.f_bavail * there.f_frsize, int(self._still_missing(partial, manifest) * _SPARE)
        if room < needed:
            raise Refused(
                f"no room for it: {spoken_bytes(needed)} needed, {spoken_bytes(room)} free",
                where=str(self._shelf),
                hint="make room on the shelf's filesystem or move the shelf",
                code="no-room",
            )
        parents = {str(up) for file in manifest.files for up in Path(file.path).parents if str(up) != "."}
        directories = parents | set(manifest.directories)
        for name in sorted(directories):
            plain_files.own(partial / name, *owner)
        _clear(partial, {file.path for file in manifest.files}, directories)

    def _still_missing(self, partial: Path, manifest: FarManifest) -> int:
        return sum(file.bytes for file in manifest.files if not (partial / file.path).is_file())

    def _file(self, manifest: FarManifest, file: FarFile, partial: Path) -> None:
        """Fetch one file; one that an earlier attempt brought is read again, not trusted."""
        path = partial / file.path
        if path.is_file() and _digest_here(path) == (file.bytes, file.sha256):
            self._progress.add(file.bytes)
            return
        context = context_of(self._stack, manifest.store, manifest.kind, manifest.id, file.path)
        digest, size = hashlib.sha256(), 0
        with plain_files.written(path) as target:
            for piece in self._plain(file.key, context):
                digest.update(piece)
                size += len(piece)
                if size > file.bytes:
                    break
                target.write(piece)
                self._told(len(piece))
            if (size, digest.hexdigest()) != (file.bytes, file.sha256):
                raise BackupUnusable(
                    f"{file.path} of {manifest.id} is not what its manifest says",
                    where=file.key,
                    hint="fetch another entry; the copy there was left as it is",
                    code="offsite-damaged",
                )

    def _plain(self, key: str, context: str) -> Iterator[bytes]:
        blocks: Iterable[bytes] = self._bucket.get(key)
        yield from opened_chunks(blocks, self._find, context) if self._suffix else blocks

    def _told(self, count: int) -> None:
        self._progress.add(count)
        if self._stopped.is_set():
            raise Unavailable("another transfer beside it failed", code="offsite-stopped")

    def _each(self, act: Callable[[T], R], items: Iterable[T]) -> list[R]:
        parallel = self._order.policy.parallel
        return together(act, items, parallel=parallel, progress=self._progress, stopped=self._stopped)

    def _wal(self, manifest: FarManifest) -> int:
        """Fetch the segments from the backup's start on, and every history file; return how many came."""
        start = Backup.model_validate_json(manifest.entry).start_segment
        due = [far for far in self._bucket.listed(f"{self._root}{_POSTGRES}/{WAL}/") if _needed(far, start)]
        self._progress = Progress("fetching the WAL", sum(far.bytes for far in due))
        return sum(self._each(self._segment, due))

    def _segment(self, far: FarObject) -> bool:
        """Fetch one file of the archive; tell whether it had to be."""
        place = place_of(far.key, self._root)
        name = place[3].removesuffix(self._suffix) if place else ""
        if place is None or not (is_segment(name) or history_of(name) is not None):
            return False
        archive, generation = self._shelf / _POSTGRES / WAL, place[2]
        directory = archive / generation
        if (directory / name).is_file():
            self._told(far.bytes)
            return False
        try:
            for one in (archive, directory):
                plain_files.own(one, *self._server())
            for half in directory.glob(f".{name}.*.new"):
                half.unlink()  # of an attempt that was killed
            self._proven_segment(far, directory / name, generation)
        except OSError as error:
            raise Refused(
                f"the archive cannot take it: {error.strerror}", where=str(directory), code="shelf-unusable"
            ) from None
        return True

    def _proven_segment(self, far: FarObject, path: Path, generation: str) -> None:
        context = context_of(self._stack, _POSTGRES, WAL, generation, path.name)
        digest = hashlib.sha256()
        with plain_files.written(path) as target:
            pieces = self._plain(far.key, context)
            for piece in untrimmed(pieces) if self._suffix else pieces:
                digest.update(piece)
                target.write(piece)
                self._told(len(piece))
            # A seal proves itself; what came in clear is compared with what was noted when it left.
            head = None if self._suffix else self._bucket.head(far.key)
            if head is not None and head.metadata.get(DIGEST) != digest.hexdigest():
                raise BackupUnusable(
                    f"{path.name} is not what was sent", where=far.key, code="offsite-damaged"
                )


def _is_base(manifest: FarManifest) -> bool:
    return (manifest.store, manifest.kind) == (_POSTGRES, "base")


def _needed(far: FarObject, start: str) -> bool:
    """Tell whether a recovery from this segment on may need an object: by its place, on any timeline."""
    name = far.key.rsplit("/", 1)[-1].removesuffix(SEALED)
    return history_of(name) is not None or (is_segment(name) and name[8:] >= start[8:])


def _require_entry(manifest: FarManifest) -> None:
    """Refuse a base backup whose entry is none, before it gets its name."""
    if _is_base(manifest):
        try:
            Backup.model_validate_json(manifest.entry)
        except ValueError:
            raise BackupUnusable("its entry is broken", where=manifest.id, code="offsite-manifest") from None


def _digest_here(path: Path) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    try:
        with plain_files.opened(path) as handle:
            while block := os.read(handle, 1024 * 1024):
                digest.update(block)
                size += len(block)
    except (OSError, DrError):
        return -1, ""
    return size, digest.hexdigest()


def _clear(partial: Path, files: set[str], directories: set[str]) -> None:
    """Remove what an attempt that was killed left half-written."""
    for folder, folders, names in os.walk(partial, topdown=False):
        inside = Path(folder).relative_to(partial)
        for name in names:
            if str(inside / name) not in files:
                (Path(folder) / name).unlink()
        for name in folders:
            if str(inside / name) not in directories:
                path = Path(folder) / name
                path.unlink() if path.is_symlink() else shutil.rmtree(path)
