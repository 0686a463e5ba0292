"""Brings the contents that are new to where copies lie; what an earlier attempt brought stays brought."""

import hashlib
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from activities.objects_blobs import Blobs, FarBlobs, Spool
from activities.objects_entry import line_of
from activities.objects_store import GoneError, ObjectStore
from activities.offsite_progress import Progress
from activities.offsite_together import together
from activities.tokens import require_admitted
from domain.errors import Unavailable, VerificationFailed
from domain.objects_copy import ObjectVersion

KNOWN = "known.jsonl"
"""In an unfinished copy: what was brought so far, a line each."""
_MOST_UNREADABLE = 1000


@dataclass(frozen=True)
class Copied:
    """What came of one pass over a store."""

    versions: list[ObjectVersion] = field(default_factory=list)
    """Each with its SHA-256, each content where copies lie."""
    new: int = 0
    new_bytes: int = 0
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    """Names with what the store said."""


class Copying:
    """One pass over a store."""

    def __init__(self, live: ObjectStore, blobs: Blobs, spool: Spool, journal: Path, parallel: int) -> None:
        """``journal`` is a file that is written as contents arrive."""
        self._live = live
        self._blobs = blobs
        self._spool = spool
        self._journal = journal
        self._parallel = parallel
        self._known: dict[tuple[str, str, str, str, int], ObjectVersion] = {}
        self._there: dict[str, int] = {}
        self._progress = Progress("objects", 0)
        self._unreadable: list[tuple[str, str]] = []
        self._gone: list[ObjectVersion] = []
        self._lock = threading.Lock()
        self._file: BinaryIO

    def remember(self, versions: Iterable[ObjectVersion]) -> None:
        """Take over what earlier copies and attempts found out."""
        self._known = {one.same_as: one for one in versions if one.sha256}
        self._there = self._blobs.sizes()
        with self._journal.open("xb") as file:
            file.writelines(line_of(one) for one in self._known.values())

    def copy(self, seen: list[ObjectVersion]) -> Copied:
        """Return the versions as they are listed, each proven to lie where copies lie.

        Raises ``Unavailable`` when a store does not answer; what came over stays.
        """
        ready = {one.same_as: known for one in seen if (known := self._already(one)) is not None}
        due = [one for one in seen if not one.deleted and one.same_as not in ready]
        self._progress = Progress("objects", sum(one.bytes for one in due))
        stopped = self._live.stopped
        if isinstance(self._blobs, FarBlobs):
            self._blobs.sender.stopped = stopped
        with self._journal.open("ab", buffering=0) as self._file:
            fetched = together(
                self._guarded, due, parallel=self._parallel, progress=self._progress, stopped=stopped
            )
        ready |= {one.same_as: one for one in fetched if one is not None}
        self._note_listed_and_gone()
        versions = [
            one if one.deleted else _filled(one, ready[one.same_as])
            for one in seen
            if one.deleted or one.same_as in ready
        ]
        new = [one for one in fetched if one is not None]
        return Copied(versions, len(new), sum(one.bytes for one in new), self._unreadable)

    def only_kept(self, listed: list[ObjectVersion]) -> tuple[list[ObjectVersion], int]:
        """Return the versions whose contents are there, and how many removed ones are without.

        Raises ``VerificationFailed`` (``objects-incomplete``) when one of the store's own is without.
        """
        there = self._blobs.sizes()
        without = [one for one in listed if not one.deleted and there.get(one.sha256) != one.bytes]
        live = [one.name for one in without if one.gone_since is None]
        if live:
            raise VerificationFailed(
                f"{len(live)} contents are not where they were copied to, or of another size: {live[0]}",
                where=self._blobs.place,
                hint="somebody else removes or changes what lies there",
                code="objects-incomplete",
            )
        lost = {one.same_as for one in without}
        return [one for one in listed if one.same_as not in lost], len(lost)

    def _already(self, one: ObjectVersion) -> ObjectVersion | None:
        known = self._known.get(one.same_as)
        return known if known is not None and self._there.get(known.sha256) == one.bytes else None

    def _guarded(self, one: ObjectVersion) -> ObjectVersion | None:
        """Bring one content; one that a store which answers cannot give is noted, and the others go on."""
        try:
            return self._brought(one)
        except GoneError:
            self._gone.append(one)
            return None
        except Unavailable as error:
            if error.code != "objects-unavailable" or len(self._unreadable) >= _MOST_UNREADABLE:
                raise
            self._live.buckets()
            self._unreadable.append((one.name, error.what))
            return None

    def _note_listed_and_gone(self) -> None:
        """Tell what was deleted meanwhile from what the store lists and does not have."""
        buckets = {one.bucket for one in self._gone}
        there = [name for name in self._live.buckets() if name in buckets] if buckets else []
        listed = {one.same_as for bucket in there for one in self._live.versions(bucket)}
        said = "it is listed, and the store says that it is not there"
        self._unreadable += [(one.name, said) for one in self._gone if one.same_as in listed]

    def _brought(self, one: ObjectVersion) -> ObjectVersion:
        require_admitted()
        whole, done = hashlib.sha256(), 0
        with self._spool.file() as (path, file):
            with self._live.reading(one) as found:
                for block in found.blocks:
                    whole.update(block)
                    file.write(block)
                    done += len(block)
                    self._progress.add(len(block))
            file.flush()
            if done != one.bytes:
                raise Unavailable(
                    f"it has {done:,} bytes, it is listed with {one.bytes:,}",
                    where=one.name,
                    code="objects-unavailable",
                )
            self._blobs.keep(path, whole.hexdigest())
        made = one.model_copy(update={"sha256": whole.hexdigest(), "metadata": found.metadata})
        with self._lock:
            self._file.write(line_of(made))
        return made


def _filled(one: ObjectVersion, known: ObjectVersion) -> ObjectVersion:
    """Return a version as it is listed now, with what reading it had shown."""
    return one.model_copy(update={"sha256": known.sha256, "metadata": known.metadata})
