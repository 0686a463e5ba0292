"""What every transfer to the far side shares: the bucket, the keys, how a file is sent, how far it is."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from activities import plain_files
from activities.backup_keys import BackupKeys
from activities.bucket import Bucket
from activities.offsite_keys import KEY_ID
from activities.offsite_progress import Progress
from activities.offsite_send import Sender, Sent
from activities.offsite_side import FarSide
from activities.offsite_together import together
from activities.open_recovery import refuse_while_recovering
from activities.sealing import Clear, Held, Readable, digest_of, repeatable
from domain import trimming
from domain.errors import BackupUnusable, DrError, VerificationFailed
from domain.offsite_copies import DIGEST, SEALED, CopyOrder
from domain.sealing import HEADER_BYTES, BackupKey, read_header

T = TypeVar("T")
R = TypeVar("R")


class Outflow:
    """One way from a shelf to the far side."""

    def __init__(self, side: FarSide, order: CopyOrder) -> None:
        """Send to the order's bucket, sealed with the newest key when its policy says so."""
        self.order = order
        self.bucket: Bucket = side.bucket(order)
        self.keys: BackupKeys = side.keys
        self.policy = order.policy
        self.stack = order.target.stack
        self.root = order.policy.root(self.stack)
        self.key = self.keys.current() if order.policy.encrypt else None
        self.suffix = SEALED if self.key else ""
        self.progress = Progress("off-site copy", 0)
        self.sender = Sender(self.bucket, order.policy, self._arrived)
        self.read_back = 0
        self.there: set[str] = set()
        """Names that a listing has just shown; others need no look before they are written."""
        self._state = side.state

    def stand_back(self) -> None:
        """Leave room, disk and network to a recovery that is open (I3); what came over stays."""
        refuse_while_recovering(self._state, self.stack, self.order)

    def each(self, act: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """Do something for each item, several at once."""
        parallel, stopped = self.policy.parallel, self.sender.stopped
        return together(act, items, parallel=parallel, progress=self.progress, stopped=stopped)

    def plain_file(
        self,
        path: Path,
        key: str,
        context: str,
        recorded: tuple[int, str] | None,
        *,
        trim: bool = False,
        under: BackupKey | None = None,
    ) -> tuple[int, str, Sent]:
        """Send a file that is what was written down when it was made, and stays so meanwhile.

        ``under`` is another key than the newest one. Returns its size, its SHA-256 in hex, and what lies
        there. Raises ``BackupUnusable`` (``backup-damaged``) and as ``send``.
        """
        try:
            with plain_files.opened(path) as handle:
                before = os.fstat(handle)
                plain: Readable = Clear(handle)
                if plain.size <= self.policy.part_size:
                    content = plain.read(0, plain.size)
                    plain = Held(trimming.trimmed(content) if trim and self.key else content)
                digest = digest_of(plain)
                if recorded and recorded not in {(plain.size, digest.hex()), (plain.size, "")}:
                    raise _damaged(path, "it is not as its backup recorded it")
                sent = self.send(key, plain, digest, context, under=under)
                after = os.fstat(handle)
        except OSError as error:
            raise _damaged(path, f"it cannot be read: {error.strerror}") from None
        if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
            raise _damaged(path, "it changed while it was copied")
        return plain.size, digest.hex(), sent

    def send(
        self, key: str, plain: Readable, digest: bytes, context: str, *, under: BackupKey | None = None
    ) -> Sent:
        """Bring an object to the far side and prove it there.

        Raises ``VerificationFailed`` (``offsite-differs``) when something else has its name, ``Unavailable``
        and ``Refused``.
        """
        if self.key is None:
            # Not every store states a checksum; who fetches it compares with this one as well.
            metadata = {DIGEST: digest.hex()}
            absent = key not in self.there
            return self._noted(self.sender.ensure_there(key, plain, metadata, _anything, absent=absent))
        try:
            return self._sealed(key, plain, digest, context, under or self.key)
        except VerificationFailed:
            older = self._older_key(key)
            if older is None:
                raise
            self.there.add(key)
            # An earlier attempt was cut off, and the key was changed since: its bytes are continued.
            return self._sealed(key, plain, digest, context, older)

    def _sealed(self, key: str, plain: Readable, digest: bytes, context: str, with_key: BackupKey) -> Sent:
        source = repeatable(plain, digest, with_key, context)
        metadata = {KEY_ID: with_key.id}
        absent = key not in self.there
        sent = self.sender.ensure_there(key, source, metadata, source.require, absent=absent)
        return self._noted(sent)

    def _older_key(self, key: str) -> BackupKey | None:
        """Return the key that the object there was sealed with, if it is another one of ours."""
        try:
            header = read_header(b"".join(self.bucket.get(key, first_bytes=HEADER_BYTES)))
            return self.keys.find(header.key_id) if self.key and header.key_id != self.key.id else None
        except DrError:
            return None

    def _arrived(self, count: int) -> None:
        self.progress.add(count)

    def _noted(self, sent: Sent) -> Sent:
        self.read_back += sent.read_back
        return sent


def _anything(_body: bytes, _offset: int) -> None:
    """Let everything pass: the policy says that copies leave in clear."""


def _damaged(path: Path, what: str) -> BackupUnusable:
    return BackupUnusable(f"{path.name}: {what}", where=str(path), code="backup-damaged")
