"""Where the contents of copied objects lie, each once, under its SHA-256: on the shelf or in a second store.

A content that is there is never replaced by another one, so a copy costs what is new since the last one.
"""

import hashlib
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Protocol

from activities import plain_files, stored
from activities.bucket import Bucket
from activities.offsite_send import Sender
from activities.sealing import Clear, Held
from domain.errors import BackupUnusable, DrError
from domain.objects_copy import CONTENTS
from domain.objects_policy import SecondStore
from domain.offsite_copies import DIGEST

ON_SHELF = "shelf"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FOLDER = re.compile(r"[0-9a-f]{2}")
_INCOMING = ".incoming"


class Blobs(Protocol):
    """Contents by their SHA-256. Every method raises ``DrError`` or ``OSError``."""

    place: str
    """Where they are, as an entry records it."""

    def sizes(self) -> dict[str, int]:
        """Return all that are there with their sizes."""

    def keep(self, path: Path, sha256: str) -> None:
        """Keep the content of a file of ``incoming``, proven by size and checksum where it lies then."""

    def blocks(self, sha256: str) -> Iterator[bytes]:
        """Yield a content."""

    def publish(self, name: str, content: bytes) -> None:
        """Keep a listing beside the contents, where those outlive the shelf."""

    def disown(self, sha256: str) -> str:
        """Have the next copy bring a content again that is not what its name says; return what to do."""


class Spool:
    """Files that are being written on the shelf's disk, before they have a name that counts."""

    def __init__(self, store: Path) -> None:
        """``store`` is the directory of the object store on the shelf."""
        self.directory = store / _INCOMING

    def clear(self) -> None:
        """Make the directory, and remove what a dead attempt left in it."""
        plain_files.own(self.directory, os.geteuid(), os.getegid())
        for name in plain_files.names_at(self.directory):
            (self.directory / name).unlink()

    @contextmanager
    def file(self) -> Iterator[tuple[Path, BinaryIO]]:
        """Give out a new file; it is removed unless somebody gave it another name."""
        path = self.directory / uuid.uuid4().hex
        try:
            with path.open("xb") as file:
                yield path, file
        finally:
            with suppress(FileNotFoundError):
                path.unlink()


class ShelfBlobs:
    """Contents as files: ``minio/objects/<two digits>/<sha256>``."""

    place = ON_SHELF

    def __init__(self, store: Path) -> None:
        """``store`` is the directory of the object store on the shelf."""
        self._directory = store / CONTENTS

    def sizes(self) -> dict[str, int]:
        """Return all that are there; what is none of ours is left out."""
        found = {}
        for folder in plain_files.names_at(self._directory):
            for name in plain_files.names_at(self._directory / folder) if _FOLDER.fullmatch(folder) else ():
                path = self._directory / folder / name
                if _SHA256.fullmatch(name) and path.is_file() and not path.is_symlink():
                    found[name] = path.lstat().st_size
        return found

    def keep(self, path: Path, sha256: str) -> None:
        """Give a file its name, on the disk; one of that name holds the same, or is repaired by it."""
        final = self.path_of(sha256)
        plain_files.own(self._directory, os.geteuid(), os.getegid())
        plain_files.own(final.parent, os.geteuid(), os.getegid())
        with plain_files.opened(path) as handle:
            os.fsync(handle)
        with plain_files.directory(path.parent) as here, plain_files.directory(final.parent) as there:
            os.rename(path.name, final.name, src_dir_fd=here, dst_dir_fd=there)
            os.fsync(there)

    def blocks(self, sha256: str) -> Iterator[bytes]:
        """Yield a content; ``BackupUnusable`` when it is not there."""
        try:
            yield from stored.chunks(self.path_of(sha256), lambda _: None)
        except OSError as error:
            raise _missing(sha256, error.strerror or "it cannot be read") from None

    def publish(self, name: str, content: bytes) -> None:
        """Do nothing: the entry lies beside them."""

    def disown(self, sha256: str) -> str:
        """Set it aside under another name, for people; the next copy brings it again."""
        path = self.path_of(sha256)
        with plain_files.directory(path.parent) as folder, suppress(FileNotFoundError):
            os.rename(path.name, f"{path.name}.damaged", src_dir_fd=folder, dst_dir_fd=folder)
        return "it was set aside; the next copy brings it again if the store still has it"

    def remove(self, sha256: str) -> int:
        """Remove a content that no copy lists any more; return its size."""
        path = self.path_of(sha256)
        with plain_files.directory(path.parent) as folder:
            size = os.stat(path.name, dir_fd=folder, follow_symlinks=False).st_size
            os.unlink(path.name, dir_fd=folder)
        return size

    def path_of(self, sha256: str) -> Path:
        """Return where a content lies, or would; ``BackupUnusable`` for what is no digest."""
        if _SHA256.fullmatch(sha256) is None:
            raise _missing(sha256, "that is no digest")
        return self._directory / sha256[:2] / sha256


class FarBlobs:
    """Contents as objects of a second store: ``<prefix>/<stack>/objects/<sha256>``; none is ever removed."""

    def __init__(self, bucket: Bucket, store: SecondStore, stack: str) -> None:
        """``bucket`` is the second store's."""
        self._bucket = bucket
        self._root = store.root(stack)
        self.place = store.place(stack)
        self.sender = Sender(bucket, store, lambda _: None)

    def sizes(self) -> dict[str, int]:
        """Return all that are there."""
        prefix = f"{self._root}objects/"
        with _second_store():
            return {one.key.removeprefix(prefix): one.bytes for one in self._bucket.listed(prefix)}

    def keep(self, path: Path, sha256: str) -> None:
        """Send a file unless it is there; size and checksum on the far side have to be ours."""
        with _second_store(), plain_files.opened(path) as handle:
            self.sender.ensure_there(self._key(sha256), Clear(handle), {DIGEST: sha256}, _anything)

    def blocks(self, sha256: str) -> Iterator[bytes]:
        """Yield a content."""
        with _second_store():
            yield from self._bucket.get(self._key(sha256))

    def publish(self, name: str, content: bytes) -> None:
        """Keep a listing in the second store too: without the shelf it still says what is there."""
        digest = hashlib.sha256(content).hexdigest()
        with _second_store():
            self.sender.ensure_there(f"{self._root}copies/{name}", Held(content), {DIGEST: digest}, _anything)

    def disown(self, sha256: str) -> str:
        """Do nothing: nothing there is ever removed or replaced by us."""
        return f"move {self._key(sha256)} away there; the next copy brings it again if the store still has it"

    def _key(self, sha256: str) -> str:
        return f"{self._root}objects/{sha256}"


def proven(blobs: Blobs, sha256: str, size: int) -> Iterator[bytes]:
    """Yield a content; at its end ``BackupUnusable`` when it was not what the listing says.

    One that has other bytes than its name says is disowned, so that later copies do not rely on it.
    """
    whole, done = hashlib.sha256(), 0
    for block in blobs.blocks(sha256):
        whole.update(block)
        done += len(block)
        yield block
    if (whole.hexdigest(), done) != (sha256, size):
        raise BackupUnusable(
            f"the content {sha256[:16]}… has other bytes than it had",
            where=blobs.place,
            hint=blobs.disown(sha256) if whole.hexdigest() != sha256 else "",
            code="backup-damaged",
        )


def _missing(sha256: str, why: str) -> BackupUnusable:
    return BackupUnusable(
        f"the content {sha256[:16]}… is missing: {why}", where=ON_SHELF, code="backup-damaged"
    )


def _anything(_body: bytes, _offset: int) -> None:
    """Let everything pass: objects are copied as they are."""


@contextmanager
def _second_store() -> Iterator[None]:
    """Name the second store in errors that the far store's client words for off-site copies."""
    try:
        yield
    except DrError as error:
        if not error.code.startswith("offsite-"):
            raise
        raise type(error)(
            error.what.replace("the far store", "the second store"),
            where=error.where,
            hint=error.hint.replace("under offsite", "under backup.second_store"),
            code=error.code.replace("offsite-", "second-store-", 1),
        ) from None
