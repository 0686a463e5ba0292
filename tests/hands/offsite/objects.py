"""A copy of objects on the shelf of a test, as the hand leaves it: listing, place, entry, contents."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from activities import entries, stored
from activities.objects_blobs import ON_SHELF, ShelfBlobs
from activities.objects_entry import write_listing, write_place
from domain.backups import Level
from domain.entries import Entry, files_sha256, place_of
from domain.objects_copy import KIND, LISTING, STORE, ObjectVersion, holdings, in_order
from tests.hands.offsite.place import CANARY, MEBI, NOW, Place, some_bytes

COPY = "20260301T042500Z-copy"
NEXT = "20260301T052500Z-copy"
OBJECTS: Mapping[str, bytes] = {
    "a/first.txt": CANARY,
    "a/the same.txt": CANARY,
    "empty": b"",
    "naïve ö/ü?.bin": some_bytes(70_000, 21),
    "large": some_bytes(11 * MEBI + 3, 22),
}


@dataclass(frozen=True)
class _Elsewhere:
    """Contents that lie in a second store."""

    place: str


def sha256(content: bytes) -> str:
    """Return the name that a content has on the shelf."""
    return hashlib.sha256(content).hexdigest()


def shelve(
    place: Place,
    entry_id: str = COPY,
    objects: Mapping[str, bytes] = OBJECTS,
    elsewhere: str = "",
) -> Entry:
    """Put a copy of these objects on the shelf, each content once."""
    store = place.shelf / STORE
    blobs = ShelfBlobs(store)
    (store / KIND).mkdir(parents=True, exist_ok=True)
    for content in objects.values() if not elsewhere else ():
        path = blobs.path_of(sha256(content))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    listed = in_order(_version(key, content) for key, content in objects.items())
    listed.append(
        ObjectVersion(bucket="uploads", key="zz", version="9", modified=NOW, current=True, deleted=True)
    )
    partial = entries.partial_of(place.shelf, STORE, KIND, entry_id)
    partial.mkdir()
    write_listing(partial / LISTING, listed)
    write_place(partial, _Elsewhere(elsewhere or ON_SHELF))  # type: ignore[arg-type]  # only its place is read
    files = stored.stored_files(partial)
    return entries.publish(
        partial,
        Entry(
            id=entry_id,
            store=STORE,
            kind=KIND,
            path=place_of(STORE, KIND, entry_id),
            started_at=NOW,
            ended_at=NOW,
            bytes=sum(file.bytes for file in files),
            sha256=files_sha256(files),
            files=files,
            held=holdings(["uploads"], listed),
            verified=Level.MANIFEST,
            verified_at=NOW,
            verified_by="a test",
        ),
    )


def blob(place: Place, content: bytes) -> Path:
    """Return where a content lies on the shelf."""
    return ShelfBlobs(place.shelf / STORE).path_of(sha256(content))


def far_contents(place: Place) -> dict[str, int]:
    """Return the objects on the far side that hold contents."""
    return {key: size for key, size in place.far().items() if key.startswith("copies/lab.objects/")}


def _version(key: str, content: bytes) -> ObjectVersion:
    return ObjectVersion(
        bucket="uploads",
        key=key,
        version=f"v-{sha256(key.encode())[:8]}",
        modified=NOW,
        current=True,
        bytes=len(content),
        etag="e",
        sha256=sha256(content),
        metadata={"Content-Type": "text/plain"},
    )
