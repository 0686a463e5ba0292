"""Sends one object so that it may be cut off at any byte: the next attempt goes on where this one was."""

import base64
import hashlib
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from activities.bucket import Bucket, Head, Part, Require
from activities.sealing import Readable, Told
from domain.errors import Unavailable, VerificationFailed
from domain.s3_store import S3Store


@dataclass(frozen=True)
class Sent:
    """What lies on the far side, proven by its checksum there or by reading it back."""

    bytes: int
    sha256: str
    fresh: bool
    read_back: bool


@dataclass(frozen=True)
class _Expected:
    size: int
    sha256: bytes
    parts: tuple[bytes, ...]

    def agrees_with(self, checksum: str) -> bool:
        """Tell whether the far side's checksum is ours, as it spells it for one piece or for parts."""
        composite = base64.b64encode(hashlib.sha256(b"".join(self.parts)).digest()).decode()
        whole = base64.b64encode(self.sha256).decode()
        return checksum in {whole, composite, f"{composite}-{len(self.parts)}"}


class Sender:
    """Sends to one bucket. What is sent must be the same each time it is read."""

    def __init__(self, bucket: Bucket, store: S3Store, told: Told) -> None:
        """``told`` hears of every byte that is on the far side."""
        self._bucket = bucket
        self._store = store
        self._told = told
        self.stopped = threading.Event()
        """Set, it ends every transfer before its next part."""

    def ensure_there(
        self,
        key: str,
        source: Readable,
        metadata: Mapping[str, str],
        require: Require,
        *,
        absent: bool = False,
    ) -> Sent:
        """Bring an object to the far side unless it is there, and prove that it is the same.

        ``absent`` spares the first look: a listing has just shown that the name is free.
        Raises ``VerificationFailed`` (``offsite-differs``) when something else lies under its name: that is
        never replaced.
        """
        head = None if absent else self._bucket.head(key)
        fresh = head is None
        if fresh:
            expected = self._sent(key, source, metadata, require)
            head = self._bucket.head(key)
        else:
            expected = _expected(source.size, self._pieces(source))
            self._told(source.size)
        if head is None:
            raise Unavailable("it was stored and is not there", where=key, code="offsite-unavailable")
        read_back = self._prove(key, head, expected)
        return Sent(source.size, expected.sha256.hex(), fresh, read_back)

    def _pieces(self, source: Readable) -> Iterator[bytes]:
        """Yield what is sent, cut as it is sent; an empty object is one empty piece."""
        part_bytes = self._store.part_bytes(source.size)
        for offset in range(0, max(1, source.size), part_bytes):
            if self.stopped.is_set():
                raise Unavailable("another transfer beside it failed", code="offsite-stopped")
            yield source.read(offset, part_bytes)

    def _sent(self, key: str, source: Readable, metadata: Mapping[str, str], require: Require) -> _Expected:
        """Send an object and return what must be there now: the digests of the very bytes that left."""
        if source.size <= self._store.part_bytes(source.size):
            (body,) = self._pieces(source)
            self._bucket.put(key, body, metadata, require)
            self._told(len(body))
            return _expected(source.size, [body])
        return _expected(source.size, self._in_parts(key, source, metadata, require))

    def _in_parts(
        self, key: str, source: Readable, metadata: Mapping[str, str], require: Require
    ) -> Iterator[bytes]:
        """Send the parts that are not there yet, and yield all of them."""
        part_bytes = self._store.part_bytes(source.size)
        upload = self._bucket.begun(key) or self._bucket.begin(key, metadata)
        there = self._bucket.parts(key, upload)
        parts = []
        for number, body in enumerate(self._pieces(source), 1):
            offset = (number - 1) * part_bytes
            part = _arrived(there.get(number), body)
            parts.append(part or self._bucket.put_part(key, upload, number, body, offset, require))
            self._told(len(body))
            yield body
        self._bucket.complete(key, upload, parts)

    def _prove(self, key: str, head: Head, expected: _Expected) -> bool:
        """Compare what is there with what should be; return whether it had to be read back for that."""
        if head.bytes != expected.size:
            raise _differs(key, f"{head.bytes} bytes instead of {expected.size}")
        if expected.agrees_with(head.checksum):
            return False
        digest = hashlib.sha256()
        for block in self._bucket.get(key):
            digest.update(block)
        if digest.digest() != expected.sha256:
            raise _differs(key, "as many bytes, but others")
        return True


def _expected(size: int, pieces: Iterable[bytes]) -> _Expected:
    whole, parts = hashlib.sha256(), []
    for piece in pieces:
        whole.update(piece)
        parts.append(hashlib.sha256(piece).digest())
    return _Expected(size, whole.digest(), tuple(parts))


def _arrived(found: Part | None, body: bytes) -> Part | None:
    """Return a part of an earlier attempt when it holds exactly these bytes."""
    if found is None or found.bytes != len(body):
        return None
    checksum = base64.b64encode(hashlib.sha256(body).digest()).decode()
    md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
    if found.checksum != checksum and (found.checksum or found.etag.strip('"') != md5):
        return None
    return Part(found.number, found.bytes, found.etag, checksum)


def _differs(key: str, how: str) -> VerificationFailed:
    return VerificationFailed(
        f"the far side holds something else under this name: {how}",
        where=key,
        hint="it was left as it is: find out who wrote it, move it away, and copy again",
        code="offsite-differs",
    )
