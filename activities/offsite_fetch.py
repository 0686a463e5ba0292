"""Brings copies back to a shelf that may have lost everything: proven before they get their names."""

import hashlib
import os
import shutil
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from temporalio import activity

from activities import plain_files
from activities.alone import alone
from activities.offsite_fetch_contents import ContentsFetching
from activities.offsite_fetch_wal import WalFetching
from activities.offsite_inflow import Inflow, digest_here
from activities.offsite_list import read_manifest
from activities.offsite_side import FarSide
from activities.tokens import Tokens
from domain.backups import Backup, spoken_bytes
from domain.entries import ENTRY
from domain.errors import BackupUnusable, Refused
from domain.far_choice import OF_ONE_COPY, Recalled
from domain.objects_copy import STORE as OBJECTS
from domain.offsite_copies import FarEntry, FarFile, FarManifest, Fetched, FetchOrder, context_of, place_of

FETCHING = ".fetching"
"""Not ``.partial``: a backup in the making clears away what has that name and is of no job."""
_POSTGRES = "postgres"


class OffsiteFetching:
    """Copies entries and WAL from the far side to the shelf; changes nothing there."""

    def __init__(self, side: FarSide, tokens: Tokens) -> None:
        """Reach the bucket through ``side``."""
        self._side = side
        self._tokens = tokens

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_fetched(self, order: FetchOrder) -> Fetched:
        """Bring one entry back, with a base backup its WAL too, with a copy of objects what it lists.

        What is here already stays as it is.

        Raises ``BackupUnusable`` when a copy is not as its manifest says, ``Refused`` (``offsite-missing``,
        ``no-room``, ``backup-key-missing``), ``Unavailable``; what came already is kept for the next attempt.
        """
        self._tokens.admit(order, order.target.stack)
        # An attempt that hangs in another process would write into the same unfinished directory.
        with alone(self._side.state, f"fetch-{order.target.stack}"):
            return _Fetching(Inflow(self._side, order), self._side.state).everything()

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_recalled(self, order: FetchOrder) -> Recalled:
        """Bring one entry back in the place of what a recovery could not use.

        A copy that is damaged is an answer, since another one may be whole; the rest is raised as above.
        """
        try:
            fetched = self.ensure_fetched(order)
        except (BackupUnusable, Refused) as error:
            if isinstance(error, Refused) and error.code not in OF_ONE_COPY:
                raise
            said = f"its far copy cannot be used: {error.what}"
            return Recalled(id=order.entry_id, problem=said, sentence=f"{order.entry_id}: {said}")
        beside = f" What lay in its place is kept: {', '.join(fetched.aside)}." if fetched.aside else ""
        return Recalled(
            id=fetched.id,
            segments=fetched.segments,
            aside=fetched.aside,
            sentence=f"{fetched.sentence}{beside}",
        )


class _Fetching:
    """One way back of one entry."""

    def __init__(self, inflow: Inflow, state: Path) -> None:
        self._inflow = inflow
        self._order = inflow.order
        self._shelf = inflow.shelf
        self._state = state

    def everything(self) -> Fetched:
        """Fetch the entry with the contents that it lists, then the WAL that it needs."""
        entry = self._chosen()
        inflow = self._inflow
        manifest = read_manifest(self._order, inflow.bucket, inflow.find, entry)
        _require_entry(manifest)
        final = self._shelf / entry.store / entry.kind / entry.id
        size = sum(file.bytes for file in manifest.files)
        inflow.begin(f"fetching {entry.id}", size)
        wal = WalFetching(inflow, manifest) if self._order.wal and _is_base(manifest) else None
        due = not self._is_here(manifest, final)
        partial = final.with_name(f".{final.name}{FETCHING}")
        missing = self._still_missing(partial, manifest) if due else 0
        inflow.require_room(missing + (wal.missing_bytes() if wal else 0))
        contents = ContentsFetching(inflow, manifest)
        with self._no_copy_meanwhile(manifest):
            if due:
                self._fetch(manifest, partial, final, contents)
            elif manifest.store == OBJECTS:
                contents.fetch(final)
        inflow.note_aside(final)
        segments = wal.fetch() if wal else 0
        said = f" and {segments} WAL files" if segments else ""
        return Fetched(
            sentence=f"{entry.store} {entry.id} is back on the shelf: {len(manifest.files)} files,"
            f" {spoken_bytes(size)}{said}, every checksum as it was{contents.sentence}.",
            id=entry.id,
            store=entry.store,
            kind=entry.kind,
            path=str(final.relative_to(self._shelf)),
            bytes=size,
            segments=segments,
            contents=contents.came,
            aside=tuple(inflow.aside[:50]),
        )

    def _chosen(self) -> FarEntry:
        """Return the entry that is asked for; without an id the newest whole base backup."""
        wanted, root = self._order.entry_id, self._inflow.root
        within = root if wanted else f"{root}{_POSTGRES}/base/"
        found = []
        for far in self._inflow.bucket.listed(within):
            place = place_of(far.key, root)
            if place is None or place[3] != f"manifest{self._inflow.suffix or '.json'}":
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

    def _is_here(self, manifest: FarManifest, final: Path) -> bool:
        """Tell whether the entry need not come: it is here, and not what a recovery could not use."""
        if not (final / ENTRY).is_file():
            return False
        if not self._order.instead or self._inflow.was_put_aside(final):
            return True
        files = manifest.files
        same = all(self._inflow.each(lambda file: _is_as_it_was(final, file), files))
        self._inflow.begin(f"fetching {manifest.id}", sum(file.bytes for file in files))
        return same

    def _no_copy_meanwhile(self, manifest: FarManifest) -> AbstractContextManager[None]:
        """Keep a copy of the objects from being made: it removes contents that no entry lists yet."""
        ours = manifest.store == OBJECTS
        return alone(self._state, f"objects-{self._inflow.stack}") if ours else nullcontext()

    def _fetch(self, manifest: FarManifest, partial: Path, final: Path, contents: ContentsFetching) -> None:
        owner = self._owner(manifest)
        try:
            self._prepare(partial, manifest, owner)
            self._inflow.each(lambda file: self._file(manifest, file, partial), manifest.files)
            if manifest.store == OBJECTS:
                contents.fetch(partial)
            plain_files.replace(partial / ENTRY, manifest.entry.encode())
            if self._order.instead and os.path.lexists(final):
                # Only now: until all of the copy is here, nothing changes on the shelf.
                self._inflow.put_aside(final)
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
            return self._inflow.server()
        return manifest.uid, manifest.gid

    def _prepare(self, partial: Path, manifest: FarManifest, owner: tuple[int, int]) -> None:
        """Make the directories, and clear away what does not belong to the entry."""
        self._shelf.mkdir(parents=True, exist_ok=True)
        for directory in (partial.parent.parent, partial.parent):
            plain_files.own(directory, *owner)
        for left in partial.parent.glob(f".*{FETCHING}"):
            # Of an attempt that was killed and never gone on with: this one is alone.
            if left != partial and not left.is_symlink():
                shutil.rmtree(left)
        plain_files.own(partial, *owner)
        parents = {str(up) for file in manifest.files for up in Path(file.path).parents if str(up) != "."}
        directories = parents | set(manifest.directories)
        for name in sorted(directories):
            plain_files.own(partial / name, *owner)
        _clear(partial, {file.path for file in manifest.files}, directories)

    @staticmethod
    def _still_missing(partial: Path, manifest: FarManifest) -> int:
        return sum(file.bytes for file in manifest.files if not (partial / file.path).is_file())

    def _file(self, manifest: FarManifest, file: FarFile, partial: Path) -> None:
        """Fetch one file; one that an earlier attempt brought is read again, not trusted."""
        inflow, path = self._inflow, partial / file.path
        if path.is_file() and _is_as_it_was(partial, file):
            inflow.progress.add(file.bytes)
            return
        context = context_of(inflow.stack, manifest.store, manifest.kind, manifest.id, file.path)
        digest, size = hashlib.sha256(), 0
        with plain_files.written(path) as target:
            for piece in inflow.plain(file.key, context):
                digest.update(piece)
                size += len(piece)
                if size > file.bytes:
                    break
                target.write(piece)
                inflow.told(len(piece))
            if (size, digest.hexdigest()) != (file.bytes, file.sha256):
                raise BackupUnusable(
                    f"{file.path} of {manifest.id} is not what its manifest says",
                    where=file.key,
                    hint="fetch another entry; the copy there was left as it is",
                    code="offsite-damaged",
                )


def _is_base(manifest: FarManifest) -> bool:
    return (manifest.store, manifest.kind) == (_POSTGRES, "base")


def _is_as_it_was(root: Path, file: FarFile) -> bool:
    """Tell whether a file that is here is what the manifest says."""
    return digest_here(root / file.path) == (file.bytes, file.sha256)


def _require_entry(manifest: FarManifest) -> None:
    """Refuse a base backup whose entry is none, before anything comes."""
    if _is_base(manifest):
        try:
            Backup.model_validate_json(manifest.entry)
        except ValueError:
            raise BackupUnusable("its entry is broken", where=manifest.id, code="offsite-manifest") from None


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
