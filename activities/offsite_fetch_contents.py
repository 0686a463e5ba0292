"""Brings the contents back that a fetched copy of objects lists, each proven by its SHA-256."""

import hashlib
from pathlib import Path

from activities.objects_blobs import ON_SHELF, ShelfBlobs, Spool
from activities.objects_entry import place_in, read_listing
from activities.offsite_inflow import Inflow, digest_here
from domain.backups import spoken_bytes
from domain.errors import BackupUnusable, Refused, Unavailable
from domain.objects_copy import LISTING, STORE
from domain.offsite_contents import content_context, contents_in, contents_root, names_under
from domain.offsite_copies import FarManifest

_ARCHIVED = "offsite-archived"


class ContentsFetching:
    """The contents of one copy of objects; whoever calls sees to it that no copy is made here meanwhile."""

    def __init__(self, inflow: Inflow, manifest: FarManifest) -> None:
        """Nothing is looked at yet."""
        self._inflow = inflow
        self._manifest = manifest
        self._blobs = ShelfBlobs(inflow.shelf / STORE)
        self._spool = Spool(inflow.shelf / STORE)
        self._far: dict[str, str] = {}
        """SHA-256 to the name of the object that holds it."""
        self._asleep: list[str] = []
        self.came = 0
        self.sentence = ""

    def fetch(self, directory: Path) -> None:
        """Fetch what the listing in a directory names; what is here as it was stays.

        Raises ``BackupUnusable`` (``offsite-damaged``) when some of what went along is gone or other,
        ``Unavailable`` (``offsite-archived``) when some sleeps, and as a fetch does.
        """
        if not (directory / LISTING).is_file():
            return
        wanted = contents_in(read_listing(directory / LISTING))
        place = place_in(directory)
        if place != ON_SHELF:
            self.sentence = f"; the objects lie in the second store, {place}"
            return
        absent = self._look(wanted)
        if absent and self._manifest.contents is not None:
            raise BackupUnusable(
                f"{len(absent):,} of {len(wanted):,} contents that went along are not off-site any more",
                where=contents_root(self._inflow.order.policy, self._inflow.stack),
                hint="fetch another copy; 'dr offsite list' shows what is there",
                code="offsite-damaged",
            )
        chosen = self._chosen({one: size for one, size in wanted.items() if one in self._far})
        self._bring(chosen)
        self._say(wanted, chosen, absent)

    def _look(self, wanted: dict[str, int]) -> list[str]:
        """Find each content by every key that it may be named with; return those that are not there."""
        inflow = self._inflow
        root = contents_root(inflow.order.policy, inflow.stack)
        there = {far.key: far.bytes for far in inflow.bucket.listed(root)}
        known = self._manifest.contents
        keys = known.key_ids if known else tuple(one.id for one in inflow.keys.known() if inflow.suffix)
        named = names_under(root, [inflow.find(key_id) for key_id in keys])
        for sha256, size in wanted.items():
            fitting = (one.of(sha256) for one in named if there.get(one.of(sha256)) == one.far_bytes(size))
            found = next(fitting, None)
            if found is not None:
                self._far[sha256] = found
        return [one for one in wanted if one not in self._far]

    def _chosen(self, there: dict[str, int]) -> list[tuple[str, int]]:
        """Return what is to come: all, or as many as are asked for, others for each copy."""
        ordered = sorted(there.items())
        sample = self._inflow.order.sample
        if sample is None:
            return ordered

        def drawn(one: tuple[str, int]) -> bytes:
            return hashlib.sha256(f"{self._manifest.id} {one[0]}".encode()).digest()

        return sorted(ordered, key=drawn)[:sample]

    def _bring(self, chosen: list[tuple[str, int]]) -> None:
        inflow = self._inflow
        inflow.begin(f"fetching the contents of {self._manifest.id}", sum(size for _, size in chosen))
        missing = [size for sha256, size in chosen if not self._blobs.path_of(sha256).is_file()]
        inflow.require_room(sum(missing))
        try:
            self._spool.clear()
            self.came = sum(inflow.each(self._one, chosen))
        except OSError as error:
            where = str(inflow.shelf / STORE)
            raise Refused(
                f"the shelf cannot take it: {error.strerror}", where=where, code="shelf-unusable"
            ) from None
        if self._asleep:
            raise Unavailable(
                f"{len(self._asleep):,} contents sleep in the archive of the far store and were asked back;"
                " that takes hours",
                where=self._asleep[0],
                hint="run the same again later; what came already is kept",
                code=_ARCHIVED,
            )

    def _one(self, wanted: tuple[str, int]) -> bool:
        """Fetch one content unless it is here as it was; tell whether it came."""
        sha256, size = wanted
        if digest_here(self._blobs.path_of(sha256)) == (size, sha256):
            self._inflow.told(size)
            return False
        try:
            self._proven(sha256, size)
        except Unavailable as error:
            if error.code != _ARCHIVED:
                raise
            self._asleep.append(self._far[sha256])
            return False
        return True

    def _proven(self, sha256: str, size: int) -> None:
        context = content_context(self._inflow.stack, sha256)
        digest, done = hashlib.sha256(), 0
        with self._spool.file() as (path, file):
            for piece in self._inflow.plain(self._far[sha256], context):
                digest.update(piece)
                done += len(piece)
                if done > size:
                    break
                file.write(piece)
                self._inflow.told(len(piece))
            if (done, digest.hexdigest()) != (size, sha256):
                raise BackupUnusable(
                    f"the content {sha256[:16]}… of {self._manifest.id} is not what its listing says",
                    where=self._far[sha256],
                    hint="fetch another copy; what is there was left as it is",
                    code="offsite-damaged",
                )
            file.flush()
            self._blobs.keep(path, sha256)

    def _say(self, wanted: dict[str, int], chosen: list[tuple[str, int]], absent: list[str]) -> None:
        size = spoken_bytes(sum(size for _, size in chosen))
        drawn = "" if self._inflow.order.sample is None else f" of {len(wanted):,}, all of which are there"
        said = f"; {len(chosen):,} contents{drawn}, {size}, each as it was" if chosen else ""
        gone = f"; {len(absent):,} of its {len(wanted):,} contents never went off-site" if absent else ""
        self.sentence = f"{said}{gone}"
