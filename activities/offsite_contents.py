"""The contents that copies of objects list, brought to the far side: each once, never again, never removed.

What one whole far copy lists was proven there by size and checksum before its manifest was written; so of
what it vouches for the listing of the far side is enough, and the rest is sent or compared byte by byte.
"""

from collections.abc import Sequence
from pathlib import Path

from activities.objects_blobs import ON_SHELF, ShelfBlobs
from activities.objects_entry import place_in, read_listing
from activities.offsite_inflow import digest_here
from activities.offsite_list import read_manifest
from activities.offsite_outflow import Outflow
from activities.offsite_send import Sent
from activities.offsite_shelf import Shelved
from activities.pulse import beat
from domain.backups import spoken_bytes
from domain.errors import BackupUnusable, DrError, VerificationFailed
from domain.objects_copy import KIND, LISTING, STORE
from domain.offsite_contents import ContentNames, content_context, contents_in, contents_root, names_under
from domain.offsite_copies import FarContents, FarEntry

_AT_ONCE = 500
"""So many are sent between two looks whether a recovery is open."""
_LOOKED_AT = 5
"""So many older copies are asked at most what they vouch for; without any all is compared."""


class ContentsCopying:
    """What goes with the copies of objects of one run."""

    def __init__(self, out: Outflow, shelf: Path, whole: Sequence[Shelved]) -> None:
        """``whole`` are the entries of the shelf that are on the far side already, newest first."""
        self._out = out
        self._blobs = ShelfBlobs(shelf / STORE)
        self._whole = [one for one in whole if (one.store, one.kind) == (STORE, KIND)]
        self._there: dict[str, int] = {}
        self._vouched: set[str] = set()
        self._names: list[ContentNames] = []
        self._listed: set[str] = set()
        self._fresh: dict[str, int] = {}
        self.left_here = ""

    @property
    def sent(self) -> int:
        """Return how many contents were sent."""
        return len(self._fresh)

    @property
    def known(self) -> int:
        """Return how many are listed and were there already."""
        return len(self._listed - self._fresh.keys())

    @property
    def sentence(self) -> str:
        """Return what went and what did not; nothing where no copy of objects was due."""
        size = spoken_bytes(sum(self._fresh.values()))
        went = f"{self.sent:,} contents of objects went along, {size}; {self.known:,} were there."
        went = went if self._listed else ""
        stayed = f"The contents of objects are not off-site: {self.left_here}." if self.left_here else ""
        return " ".join(filter(None, (went, stayed)))

    def bring(self, one: Shelved) -> FarContents | None:
        """Have everything that an entry lists on the far side, proven; ``None`` when it is to stay here.

        Raises ``BackupUnusable`` and ``VerificationFailed`` for the first that cannot go, when the others
        have gone.
        """
        if (one.store, one.kind) != (STORE, KIND) or not (one.directory / LISTING).is_file():
            return None
        place = place_in(one.directory)
        if place != ON_SHELF:
            self.left_here = f"they lie in the second store, {place}"
            return None
        if not self._out.policy.objects:
            self.left_here = "the objects stay on this host (offsite: objects: false)"
            return None
        wanted = contents_in(read_listing(one.directory / LISTING))
        self._look()
        due = {sha256: size for sha256, size in wanted.items() if not self._is_vouched(sha256, size)}
        if due:
            self._send(one, due)
        self._vouched |= wanted.keys()
        self._listed |= wanted.keys()
        under = {self._under(sha256, size).key for sha256, size in wanted.items()}
        keys = tuple(sorted(key.id for key in under if key is not None))
        return FarContents(count=len(wanted), bytes=sum(wanted.values()), key_ids=keys)

    def _look(self) -> None:
        """See once what is there, under the names of every key of ours, and what of it was proven."""
        if self._names:
            return
        out, root = self._out, contents_root(self._out.policy, self._out.stack)
        beat("off-site copy: listing the contents of objects")
        self._there = {far.key: far.bytes for far in out.bucket.listed(root)}
        self._names = names_under(
            root, [out.keys.find(one.id) for one in out.keys.known()] if out.key else []
        )
        for one in self._whole[:_LOOKED_AT]:
            found = self._vouched_by(one)
            if found:
                self._vouched = found
                return

    def _vouched_by(self, one: Shelved) -> set[str]:
        """Return what a whole far copy lists, when its contents went along and the shelf has its listing."""
        entry = FarEntry(id=one.id, store=one.store, kind=one.kind, bytes=0, objects=0, finished=True)
        try:
            manifest = read_manifest(self._out.order, self._out.bucket, self._out.keys.find, entry)
            listing = next((file for file in manifest.files if file.path == LISTING), None)
            same = listing is not None and digest_here(one.directory / LISTING) == (
                listing.bytes,
                listing.sha256,
            )
            if manifest.contents is None or not same:
                return set()
            return set(contents_in(read_listing(one.directory / LISTING)))
        except DrError:
            return set()

    def _is_vouched(self, sha256: str, size: int) -> bool:
        names = self._under(sha256, size)
        return sha256 in self._vouched and self._there.get(names.of(sha256)) == names.far_bytes(size)

    def _under(self, sha256: str, size: int) -> ContentNames:
        """Return the names under which a content is there, or is to be sent: those of the newest key."""
        fitting = (one for one in self._names if self._there.get(one.of(sha256)) == one.far_bytes(size))
        return next(fitting, self._names[0])

    def _send(self, one: Shelved, due: dict[str, int]) -> None:
        """Send or compare what nobody vouches for, some at a time, and then say what is wrong."""
        self._out.progress.more(sum(due.values()))
        self._out.there = set(self._there)
        problems: list[DrError] = []
        ordered = sorted(due.items())
        for begin in range(0, len(ordered), _AT_ONCE):
            self._out.stand_back()
            some = ordered[begin : begin + _AT_ONCE]
            for (sha256, size), came in zip(some, self._out.each(self._content, some), strict=True):
                if isinstance(came, DrError):
                    problems.append(came)
                else:
                    self._there[self._under(sha256, size).of(sha256)] = came.bytes
                    self._fresh |= {sha256: size} if came.fresh else {}
        if problems:
            raise BackupUnusable(
                f"{one.id}: {len(problems)} of its contents cannot go: {problems[0].what}",
                where=problems[0].where,
                hint=problems[0].hint or "dr backup verify reads the copy; the next one brings them again",
                code=problems[0].code,
            )

    def _content(self, due: tuple[str, int]) -> Sent | DrError:
        """Send one content, or compare the one that is there; what is wrong with it stops no other."""
        sha256, size = due
        names = self._under(sha256, size)
        context = content_context(self._out.stack, sha256)
        try:
            path = self._blobs.path_of(sha256)
            recorded = (size, sha256)
            return self._out.plain_file(path, names.of(sha256), context, recorded, under=names.key)[2]
        except (BackupUnusable, VerificationFailed) as error:
            return error
