"""Copies of backups off this site: made of what is finished here, never changed or removed there.

An entry is copied file by file under names that follow from it, its manifest last. So a copy that was cut
off is continued, a finished one is known by its manifest, and what was deleted or damaged here stays there
as it was: nothing is mirrored (F-C13).
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import TypeVar
from urllib.parse import quote

from temporalio import activity

from activities import plain_files
from activities.alone import alone
from activities.backup_keys import BackupKeys
from activities.bucket import Bucket
from activities.offsite_progress import Progress
from activities.offsite_send import Sender, Sent
from activities.offsite_shelf import Inside, Segment, Shelved, look_inside, segments, shelved, size_of
from activities.offsite_side import FarSide
from activities.offsite_together import together
from activities.open_recovery import refuse_while_recovering
from activities.pulse import beat
from activities.sealing import Clear, Held, Readable, digest_of, repeatable
from activities.tokens import Tokens
from domain import trimming
from domain.backups import PassedOver, spoken_bytes
from domain.errors import BackupUnusable, DrError, VerificationFailed
from domain.offsite_copies import (
    DIGEST,
    SEALED,
    WAL,
    CopiedOffsite,
    CopyOrder,
    FarFile,
    FarManifest,
    context_of,
    entry_root,
    manifest_key,
)
from domain.sealing import HEADER_BYTES, BackupKey, read_header, sealed_bytes
from domain.wal import is_segment

T = TypeVar("T")
R = TypeVar("R")
_NAMED = 5


class OffsiteCopies:
    """Brings what is finished on a shelf to the far side."""

    def __init__(self, side: FarSide, tokens: Tokens) -> None:
        """Reach the bucket through ``side``."""
        self._side = side
        self._tokens = tokens

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_copied_offsite(self, order: CopyOrder) -> CopiedOffsite:
        """Copy every finished entry and every closed segment that is not there yet, and prove each.

        Raises ``Unavailable`` (what came over stays, the next attempt goes on), ``Refused`` (also once a
        recovery is open), and at the end ``VerificationFailed`` (``offsite-incomplete``) for what did not go.
        """
        self._tokens.admit(order, order.target.stack)
        with alone(self._side.state, f"offsite-{order.target.stack}"):
            return _Copying(self._side, order).everything()


class _Copying:
    """One run over the shelf."""

    def __init__(self, side: FarSide, order: CopyOrder) -> None:
        self._bucket: Bucket = side.bucket(order)
        self._keys: BackupKeys = side.keys
        self._state = side.state
        self._order = order
        self._policy = order.policy
        self._stack = order.target.stack
        self._root = order.policy.root(self._stack)
        self._key = self._keys.current() if order.policy.encrypt else None
        self._suffix = SEALED if self._key else ""
        self._progress = Progress("off-site copy", 0)
        self._sender = Sender(self._bucket, order.policy, self._arrived)
        self._read_back = 0
        self._there: set[str] = set()
        """Names that a listing has just shown; others need no look before they are written."""

    def everything(self) -> CopiedOffsite:
        """Copy entries, newest first, then the WAL."""
        self._stand_back()
        shelf = Path(self._order.target.shelf)
        found, strangers = shelved(shelf)
        beat(f"off-site copy: looking at {len(found)} entries")
        due = [one for one in found if self._bucket.head(self._manifest_of(one)) is None]
        self._progress = Progress("off-site copy", sum(size_of(one) for one in due))
        problems: list[DrError] = []
        copied: list[str] = []
        for one in due:
            self._stand_back()
            try:
                self._entry(one)
                copied.append(one.id)
            except (BackupUnusable, VerificationFailed) as error:
                problems.append(error)
                self._sender.stopped.clear()
        self._stand_back()
        wal = self._missing_segments(segments(shelf))
        self._progress.more(sum(one.bytes for one in wal))
        problems += [error for error in self._each(self._segment, wal) if error is not None]
        if problems:
            said = "; ".join(error.what for error in problems[:_NAMED])
            raise VerificationFailed(
                f"{len(problems)} of {len(due) + len(wal)} entries and WAL files were not copied: {said}",
                where=problems[0].where,
                hint=problems[0].hint,
                code="offsite-incomplete",
            )
        return self._told(copied, len(found) - len(due), len(wal), strangers)

    def _stand_back(self) -> None:
        """Leave room, disk and network to a recovery that is open (I3); what came over stays."""
        refuse_while_recovering(self._state, self._stack, self._order)

    def _told(self, copied: list[str], there: int, wal: int, strangers: list[PassedOver]) -> CopiedOffsite:
        progress, how = self._progress, f"sealed with {self._key.id}" if self._key else "in clear"
        return CopiedOffsite(
            sentence=f"{len(copied)} entries and {wal} WAL files are off-site, {how}:"
            f" {spoken_bytes(progress.done)} in {progress.seconds:.1f} s; {there} entries were there."
            + (
                f" {self._read_back} objects were read back for want of a checksum."
                if self._read_back
                else ""
            ),
            entries=tuple(copied),
            there=there,
            segments=wal,
            bytes=progress.done,
            read_back=self._read_back,
            seconds=progress.seconds,
            strangers=tuple(strangers[:50]),
        )

    def _prefix(self, one: Shelved) -> str:
        return entry_root(self._root, one.store, one.kind, one.id)

    def _manifest_of(self, one: Shelved) -> str:
        return manifest_key(self._prefix(one), sealed=self._key is not None)

    def _entry(self, one: Shelved) -> None:
        inside = look_inside(one)
        chosen = [path for path in sorted(inside.files) if self._goes(path, inside)]
        if not chosen:
            raise BackupUnusable(
                f"{one.id}: it holds no file", where=str(one.directory), code="backup-damaged"
            )
        self._there = {far.key for far in self._bucket.listed(self._prefix(one))}
        files = self._each(lambda path: self._file(one, inside, path), chosen)
        manifest = FarManifest(
            stack=self._stack,
            store=one.store,
            kind=one.kind,
            id=one.id,
            key_id=self._key.id if self._key else "",
            directories=inside.directories,
            files=tuple(sorted(files, key=lambda file: file.path)),
            entry=inside.entry,
            uid=inside.uid,
            gid=inside.gid,
        )
        content = Held(manifest.model_dump_json().encode())
        context = context_of(self._stack, one.store, one.kind, one.id)
        # The last one: whoever finds it finds everything that it names.
        self._send(self._manifest_of(one), content, digest_of(content), context)

    def _goes(self, path: str, inside: Inside) -> bool:
        return path in inside.recorded or not self._policy.keeps_here(PurePosixPath(path).name)

    def _file(self, one: Shelved, inside: Inside, path: str) -> FarFile:
        context = context_of(self._stack, one.store, one.kind, one.id, path)
        key = f"{self._prefix(one)}files/{quote(path)}{self._suffix}"
        plain_bytes, digest, sent = self._plain_file(
            one.directory / path, key, context, inside.recorded.get(path)
        )
        return FarFile(
            path=path,
            bytes=plain_bytes,
            sha256=digest,
            key=key,
            far_bytes=sent.bytes,
            far_sha256=sent.sha256,
        )

    def _segment(self, one: Segment) -> DrError | None:
        """Send one file of the archive; what is wrong with it does not keep the others here."""
        context = context_of(self._stack, "postgres", WAL, one.generation, one.name)
        try:
            self._plain_file(one.path, self._segment_key(one), context, None, trim=is_segment(one.name))
        except (BackupUnusable, VerificationFailed) as error:
            return error
        return None

    def _segment_key(self, one: Segment) -> str:
        return f"{self._root}postgres/{WAL}/{one.generation}/{one.name}{self._suffix}"

    def _plain_file(
        self, path: Path, key: str, context: str, recorded: tuple[int, str] | None, *, trim: bool = False
    ) -> tuple[int, str, Sent]:
        """Send a file that is what was written down when it was made, and stays so meanwhile."""
        try:
            with plain_files.opened(path) as handle:
                before = os.fstat(handle)
                plain: Readable = Clear(handle)
                if plain.size <= self._policy.part_size:
                    content = plain.read(0, plain.size)
                    plain = Held(trimming.trimmed(content) if trim and self._key else content)
                digest = digest_of(plain)
                if recorded and recorded not in {(plain.size, digest.hex()), (plain.size, "")}:
                    raise _damaged(path, "it is not as its backup recorded it")
                sent = self._send(key, plain, digest, context)
                after = os.fstat(handle)
        except OSError as error:
            raise _damaged(path, f"it cannot be read: {error.strerror}") from None
        if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
            raise _damaged(path, "it changed while it was copied")
        return plain.size, digest.hex(), sent

    def _send(self, key: str, plain: Readable, digest: bytes, context: str) -> Sent:
        if self._key is None:
            # Not every store states a checksum; who fetches it compares with this one as well.
            metadata = {DIGEST: digest.hex()}
            absent = key not in self._there
            return self._noted(self._sender.ensure_there(key, plain, metadata, _anything, absent=absent))
        try:
            return self._sealed(key, plain, digest, context, self._key)
        except VerificationFailed:
            older = self._older_key(key)
            if older is None:
                raise
            self._there.add(key)
            # An earlier attempt was cut off, and the key was changed since: its bytes are continued.
            return self._sealed(key, plain, digest, context, older)

    def _sealed(self, key: str, plain: Readable, digest: bytes, context: str, with_key: BackupKey) -> Sent:
        source = repeatable(plain, digest, with_key, context)
        metadata = {"dr-key-id": with_key.id}
        absent = key not in self._there
        sent = self._sender.ensure_there(key, source, metadata, source.require, absent=absent)
        return self._noted(sent)

    def _older_key(self, key: str) -> BackupKey | None:
        """Return the key that the object there was sealed with, if it is another one of ours."""
        try:
            header = read_header(b"".join(self._bucket.get(key, first_bytes=HEADER_BYTES)))
            return self._keys.find(header.key_id) if self._key and header.key_id != self._key.id else None
        except DrError:
            return None

    def _arrived(self, count: int) -> None:
        self._progress.add(count)

    def _noted(self, sent: Sent) -> Sent:
        self._read_back += sent.read_back
        return sent

    def _missing_segments(self, found: list[Segment]) -> list[Segment]:
        """Return what the far archive does not have; what cannot be ours there is sent, and refused."""
        there: dict[str, int] = {}
        for generation in sorted({one.generation for one in found}):
            oldest = min(one.name for one in found if one.generation == generation)
            prefix = f"{self._root}postgres/{WAL}/{generation}/"
            # A name without its last sign stands before it, and behind everything older.
            there |= {far.key: far.bytes for far in self._bucket.listed(prefix, after=prefix + oldest[:-1])}
        self._there = set(there)
        return [one for one in found if not self._may_be(one, there.get(self._segment_key(one)))]

    def _may_be(self, one: Segment, size: int | None) -> bool:
        """Tell whether an object of this size may be a segment: sealed, it is without the zeros behind."""
        if size is None or self._key is None:
            return size == one.bytes
        return HEADER_BYTES < size <= sealed_bytes(one.bytes + trimming.HEADER_BYTES)

    def _each(self, act: Callable[[T], R], items: Iterable[T]) -> list[R]:
        return together(
            act,
            items,
            parallel=self._policy.parallel,
            progress=self._progress,
            stopped=self._sender.stopped,
        )


def _anything(_body: bytes, _offset: int) -> None:
    """Let everything pass: the policy says that copies leave in clear."""


def _damaged(path: Path, what: str) -> BackupUnusable:
    return BackupUnusable(f"{path.name}: {what}", where=str(path), code="backup-damaged")
