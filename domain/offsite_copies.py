"""Copies of backups off this site: what is ordered, what is there, and what one copy consists of."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from domain.backups import PassedOver
from domain.inert import Quoted
from domain.offsite import OffsitePolicy
from domain.order import Outcome, TargetOrder, Value
from domain.paths import is_part

STORES = ("postgres", "redis", "minio", "meilisearch", "hasura", "stack")
WAL = "wal"
"""Beside the kinds of PostgreSQL's entries: the archive, which goes segment by segment."""
MANIFEST = "manifest"
SEALED = ".sealed"
DIGEST = "dr-sha256"
"""Metadata of an object in clear: the SHA-256 of its content in hex."""
_LONGEST = 1000
_LARGEST = 2**62
_DIGEST = r"^[0-9a-f]{64}$"

Bytes = Annotated[int, Field(ge=0, le=_LARGEST)]


class OffsiteOrder(TargetOrder):
    """Act on the far copies of the target's backups."""

    policy: OffsitePolicy


class CopyOrder(OffsiteOrder):
    """Bring everything that is finished on the shelf to the far side."""

    reason: str = ""
    scheduled_for: AwareDatetime | None = None


class FetchOrder(OffsiteOrder):
    """Bring an entry back; an empty id is the newest base backup."""

    entry_id: str = ""
    wal: bool = True
    """With a base backup, the WAL from its start on comes too."""
    instead: bool = False
    """What lies here under its names was refused: it is kept aside where it is not as the copy."""
    sample: Annotated[int, Field(ge=1)] | None = None
    """Of a copy of objects so many contents come, to see that they do; ``None`` is all that it lists."""


class FarFile(Value):
    """One file of an entry, here and there."""

    path: str
    """Relative to the entry's directory."""
    bytes: Bytes
    sha256: Annotated[str, Field(pattern=_DIGEST)]
    key: str
    """Name of the object."""
    far_bytes: Bytes
    far_sha256: Annotated[str, Field(pattern=_DIGEST)]


class FarContents(Value):
    """The contents that a copy of objects lists, beside its own files: all were there before its manifest."""

    count: Annotated[int, Field(ge=0)]
    bytes: Bytes
    key_ids: tuple[str, ...] = ()


class FarManifest(Value):
    """What a copy consists of; it is stored last, so a copy with one is whole."""

    format: Literal[1] = 1
    stack: str
    store: str
    kind: str
    id: str
    key_id: str = ""
    """Of the key that it was sealed with; empty when it was not."""
    directories: tuple[str, ...] = ()
    files: tuple[FarFile, ...] = ()
    entry: str
    """The entry file ``dr.json`` as it was when the copy was finished."""
    uid: Annotated[int, Field(ge=0, lt=2**32 - 1)] = 0
    gid: Annotated[int, Field(ge=0, lt=2**32 - 1)] = 0
    contents: FarContents | None = None
    """``None``: it lists none, or they did not go along."""

    def limitation(self) -> str | None:
        """Return why a copy cannot be brought back as it says, or ``None`` (F-K1)."""
        for path in (*self.directories, *(file.path for file in self.files)):
            if not stays_inside(path):
                return f"it names a file outside its own directory: {path[:200]!r}"
        paths = [file.path for file in self.files]
        if len(set(paths)) != len(paths):
            return "it names a file twice"
        if not paths:
            return "it holds no file at all"
        return None


class FarEntry(Value):
    """One entry as the far side lists it."""

    id: str
    store: str
    kind: str
    bytes: int
    objects: int
    finished: bool
    """Its manifest is there."""
    copied_at: datetime | None = None
    checked: bool | None = None
    """Whether every object has the size that the manifest states; ``None`` was not looked at."""
    problem: Quoted = ""
    """Why its manifest could not be opened, for example for want of the key."""
    key_id: str = ""
    contents: int | None = None
    """Of a copy of objects that was compared: so many contents went along; ``None``: they did not."""
    follows: bool | None = None
    """Of a base backup that was compared: the WAL there goes on from it; ``None`` was not looked at."""
    wal: str = ""
    """What was seen of that."""


class CopiedOffsite(Outcome):
    """What a copying did."""

    entries: tuple[str, ...] = ()
    """Ids of the entries that were copied now."""
    there: int = 0
    """Entries that were there already."""
    segments: int = 0
    contents: int = 0
    """Contents of objects that were sent now; each goes once, however many copies list it."""
    contents_there: int = 0
    left_here: str = ""
    """Why contents of objects did not go along; empty when all did."""
    bytes: int = 0
    read_back: int = 0
    """Objects that were read back, because the far side states no checksum."""
    seconds: float = 0.0
    strangers: tuple[PassedOver, ...] = ()


class Fetched(Outcome):
    """What was brought back."""

    id: str
    store: str
    kind: str
    path: str
    """Directory of the entry, relative to the shelf."""
    bytes: int = 0
    segments: int = 0
    contents: int = 0
    aside: tuple[str, ...] = ()
    """What lay in the place of files that came, relative to the shelf."""


def stays_inside(path: str) -> bool:
    """Tell whether a relative path leads to something below where it begins, judged by its words."""
    if not path or len(path) > _LONGEST or "\0" in path or "\\" in path:
        return False
    return all(part not in {"", ".", ".."} for part in path.split("/"))


def entry_root(root: str, store: str, kind: str, entry_id: str) -> str:
    """Return the prefix of an entry's objects."""
    return f"{root}{store}/{kind}/{entry_id}/"


def manifest_key(prefix: str, *, sealed: bool) -> str:
    """Return the name of an entry's manifest."""
    return f"{prefix}{MANIFEST}{SEALED if sealed else '.json'}"


def context_of(stack: str, *parts: str) -> str:
    """Return what a sealed object is bound to: it opens under no other name."""
    return "/".join((stack, *parts))


def place_of(key: str, root: str) -> tuple[str, str, str, str] | None:
    """Return store, kind, id and the rest of an object's name, or ``None`` for one that is not ours."""
    if not key.startswith(root):
        return None
    parts = key.removeprefix(root).split("/", 3)
    whole = 4
    if len(parts) != whole or parts[0] not in STORES or not all(is_part(one) for one in parts[1:3]):
        return None
    return parts[0], parts[1], parts[2], parts[3]
