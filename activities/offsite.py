"""Copies of backups off this site: made of what is finished here, never changed or removed there.

An entry is copied file by file under names that follow from it, its manifest last. So a copy that was cut
off is continued, a finished one is known by its manifest, and what was deleted or damaged here stays there
as it was: nothing is mirrored (F-C13).
"""

from pathlib import Path, PurePosixPath
from urllib.parse import quote

from temporalio import activity

from activities.alone import alone
from activities.offsite_contents import ContentsCopying
from activities.offsite_outflow import Outflow
from activities.offsite_progress import Progress
from activities.offsite_shelf import Inside, Segment, Shelved, look_inside, segments, shelved, size_of
from activities.offsite_side import FarSide
from activities.pulse import beat
from activities.sealing import Held, digest_of
from activities.tokens import Tokens
from domain import trimming
from domain.backups import spoken_bytes
from domain.errors import BackupUnusable, DrError, VerificationFailed
from domain.offsite_copies import (
    WAL,
    CopiedOffsite,
    CopyOrder,
    FarContents,
    FarFile,
    FarManifest,
    context_of,
    entry_root,
    manifest_key,
)
from domain.sealing import HEADER_BYTES, sealed_bytes
from domain.wal import is_segment

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

        With a copy of objects go the contents that it lists. Raises ``Unavailable`` (what came over stays,
        the next attempt goes on), ``Refused`` (also once a recovery is open), and at the end
        ``VerificationFailed`` (``offsite-incomplete``) for what did not go.
        """
        self._tokens.admit(order, order.target.stack)
        with alone(self._side.state, f"offsite-{order.target.stack}"):
            return _Copying(self._side, order).everything()


class _Copying:
    """One run over the shelf."""

    def __init__(self, side: FarSide, order: CopyOrder) -> None:
        self._out = Outflow(side, order)
        self._shelf = Path(order.target.shelf)

    def everything(self) -> CopiedOffsite:
        """Copy entries, newest first, then the WAL."""
        out = self._out
        out.stand_back()
        found, strangers = shelved(self._shelf, out.stack)
        beat(f"off-site copy: looking at {len(found)} entries")
        due = [one for one in found if out.bucket.head(self._manifest_of(one)) is None]
        out.progress = Progress("off-site copy", sum(size_of(one) for one in due))
        contents = ContentsCopying(out, self._shelf, [one for one in found if one not in due])
        problems: list[DrError] = []
        copied: list[str] = []
        for one in due:
            out.stand_back()
            try:
                self._entry(one, contents)
                copied.append(one.id)
            except (BackupUnusable, VerificationFailed) as error:
                problems.append(error)
                out.sender.stopped.clear()
        out.stand_back()
        wal = self._missing_segments(segments(self._shelf))
        out.progress.more(sum(one.bytes for one in wal))
        problems += [error for error in out.each(self._segment, wal) if error is not None]
        if problems:
            said = "; ".join(error.what for error in problems[:_NAMED])
            raise VerificationFailed(
                f"{len(problems)} of {len(due) + len(wal)} entries and WAL files were not copied: {said}",
                where=problems[0].where,
                hint=problems[0].hint,
                code="offsite-incomplete",
            )
        told = self._told(copied, len(found) - len(due), len(wal), contents)
        return told.model_copy(update={"strangers": tuple(strangers[:50])})

    def _told(self, copied: list[str], there: int, wal: int, contents: ContentsCopying) -> CopiedOffsite:
        out = self._out
        progress, how = out.progress, f"sealed with {out.key.id}" if out.key else "in clear"
        said = (
            f"{len(copied)} entries and {wal} WAL files are off-site, {how}:"
            f" {spoken_bytes(progress.done)} in {progress.seconds:.1f} s; {there} entries were there."
        )
        back = f"{out.read_back} objects were read back for want of a checksum." if out.read_back else ""
        return CopiedOffsite(
            sentence=" ".join(filter(None, (said, contents.sentence, back))),
            entries=tuple(copied),
            there=there,
            segments=wal,
            contents=contents.sent,
            contents_there=contents.known,
            left_here=contents.left_here,
            bytes=progress.done,
            read_back=out.read_back,
            seconds=progress.seconds,
        )

    def _prefix(self, one: Shelved) -> str:
        return entry_root(self._out.root, one.store, one.kind, one.id)

    def _manifest_of(self, one: Shelved) -> str:
        return manifest_key(self._prefix(one), sealed=self._out.key is not None)

    def _entry(self, one: Shelved, contents: ContentsCopying) -> None:
        inside = look_inside(one)
        chosen = [path for path in sorted(inside.files) if self._goes(path, inside)]
        if not chosen:
            raise BackupUnusable(
                f"{one.id}: it holds no file", where=str(one.directory), code="backup-damaged"
            )
        out = self._out
        beside = contents.bring(one)
        out.there = {far.key for far in out.bucket.listed(self._prefix(one))}
        files = out.each(lambda path: self._file(one, inside, path), chosen)
        content = Held(self._manifest(one, inside, files, beside).model_dump_json().encode())
        context = context_of(out.stack, one.store, one.kind, one.id)
        # The last one: whoever finds it finds everything that it names.
        out.send(self._manifest_of(one), content, digest_of(content), context)

    def _manifest(
        self, one: Shelved, inside: Inside, files: list[FarFile], beside: FarContents | None
    ) -> FarManifest:
        return FarManifest(
            stack=self._out.stack,
            store=one.store,
            kind=one.kind,
            id=one.id,
            key_id=self._out.key.id if self._out.key else "",
            directories=inside.directories,
            files=tuple(sorted(files, key=lambda file: file.path)),
            entry=inside.entry,
            uid=inside.uid,
            gid=inside.gid,
            contents=beside,
        )

    def _goes(self, path: str, inside: Inside) -> bool:
        return path in inside.recorded or not self._out.policy.keeps_here(PurePosixPath(path).name)

    def _file(self, one: Shelved, inside: Inside, path: str) -> FarFile:
        context = context_of(self._out.stack, one.store, one.kind, one.id, path)
        key = f"{self._prefix(one)}files/{quote(path)}{self._out.suffix}"
        plain_bytes, digest, sent = self._out.plain_file(
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
        context = context_of(self._out.stack, "postgres", WAL, one.generation, one.name)
        try:
            self._out.plain_file(one.path, self._segment_key(one), context, None, trim=is_segment(one.name))
        except (BackupUnusable, VerificationFailed) as error:
            return error
        return None

    def _segment_key(self, one: Segment) -> str:
        return f"{self._out.root}postgres/{WAL}/{one.generation}/{one.name}{self._out.suffix}"

    def _missing_segments(self, found: list[Segment]) -> list[Segment]:
        """Return what the far archive does not have; what cannot be ours there is sent, and refused."""
        out = self._out
        there: dict[str, int] = {}
        for generation in sorted({one.generation for one in found}):
            oldest = min(one.name for one in found if one.generation == generation)
            prefix = f"{out.root}postgres/{WAL}/{generation}/"
            # A name without its last sign stands before it, and behind everything older.
            there |= {far.key: far.bytes for far in out.bucket.listed(prefix, after=prefix + oldest[:-1])}
        out.there = set(there)
        return [one for one in found if not self._may_be(one, there.get(self._segment_key(one)))]

    def _may_be(self, one: Segment, size: int | None) -> bool:
        """Tell whether an object of this size may be a segment: sealed, it is without the zeros behind."""
        if size is None or self._out.key is None:
            return size == one.bytes
        return HEADER_BYTES < size <= sealed_bytes(one.bytes + trimming.HEADER_BYTES)
