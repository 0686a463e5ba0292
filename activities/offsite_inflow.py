"""What every transfer back from the far side shares: the bucket, the keys, the owner, how far it is."""

import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from activities import plain_files
from activities.bucket import Bucket
from activities.offsite_progress import Progress
from activities.offsite_side import FarSide
from activities.offsite_together import together
from activities.room import ON_SHELF, refuse_without_room
from activities.sealing import opened_chunks
from domain.errors import BackupUnusable, DrError, Unavailable
from domain.names import short_id
from domain.offsite_copies import SEALED, FetchOrder

T = TypeVar("T")
R = TypeVar("R")

_SPARE = 1.05


class Inflow:
    """One way back to a shelf."""

    def __init__(self, side: FarSide, order: FetchOrder) -> None:
        """Bring to the order's shelf what its policy's bucket holds."""
        self.order = order
        self.bucket: Bucket = side.bucket(order)
        self.keys = side.keys
        self.find = side.keys.find
        self.stack = order.target.stack
        self.shelf = Path(order.target.shelf)
        self.root = order.policy.root(self.stack)
        self.suffix = SEALED if order.policy.encrypt else ""
        self.progress = Progress("fetching", 0)
        self.aside: list[str] = []
        """What was put aside, relative to the shelf."""
        self._stopped = threading.Event()

    def begin(self, what: str, total_bytes: int) -> None:
        """Say from now on how far ``what`` is."""
        self.progress = Progress(what, total_bytes)

    def plain(self, key: str, context: str) -> Iterator[bytes]:
        """Yield the content of an object, opened when it was sealed."""
        blocks: Iterable[bytes] = self.bucket.get(key)
        try:
            yield from opened_chunks(blocks, self.find, context) if self.suffix else blocks
        except BackupUnusable as error:
            raise BackupUnusable(
                error.what, where=error.where or key, hint=error.hint, code=error.code
            ) from None

    def told(self, count: int) -> None:
        """Count bytes; raise ``Unavailable`` when a transfer beside this one has failed."""
        self.progress.add(count)
        if self._stopped.is_set():
            raise Unavailable("another transfer beside it failed", code="offsite-stopped")

    def each(self, act: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """Do something for each item, several at once."""
        parallel = self.order.policy.parallel
        return together(act, items, parallel=parallel, progress=self.progress, stopped=self._stopped)

    def server(self) -> tuple[int, int]:
        """Return whose PostgreSQL's files are."""
        server = self.order.target.postgres
        return (server.uid, server.gid) if os.geteuid() == 0 else (os.geteuid(), os.getegid())

    def require_room(self, size: int) -> None:
        """Refuse when so many bytes do not fit on the shelf."""
        self.shelf.mkdir(parents=True, exist_ok=True)
        refuse_without_room("for it", int(size * _SPARE), str(self.shelf), hint=ON_SHELF)

    def put_aside(self, path: Path) -> None:
        """Rename what was refused, in its directory; once in a recovery. Raises ``OSError``."""
        kept = self.kept_for(path)
        with plain_files.directory(path.parent) as above:
            os.rename(path.name, kept.name, src_dir_fd=above, dst_dir_fd=above)
            os.fsync(above)
        self.note_aside(path)

    def note_aside(self, path: Path) -> None:
        """Remember what this recovery put aside here, in this attempt or an earlier one."""
        kept = str(self.kept_for(path).relative_to(self.shelf))
        if self.was_put_aside(path) and kept not in self.aside:
            self.aside.append(kept)

    def kept_for(self, path: Path) -> Path:
        """Return the name that something has after it was put aside in this recovery."""
        return path.with_name(f".{path.name}.refused-{short_id(self.order.recovery_id) or 'by-hand'}")

    def was_put_aside(self, path: Path) -> bool:
        """Tell whether this recovery has put aside what lay here: what lies here now came from afar."""
        return self.order.instead and os.path.lexists(self.kept_for(path))


def digest_here(path: Path) -> tuple[int, str]:
    """Return size and SHA-256 in hex of a file; of what is no readable file, a size that none has."""
    digest, size = hashlib.sha256(), 0
    try:
        with plain_files.opened(path) as handle:
            while block := os.read(handle, 1024 * 1024):
                digest.update(block)
                size += len(block)
    except (OSError, DrError):
        return -1, ""
    return size, digest.hexdigest()
