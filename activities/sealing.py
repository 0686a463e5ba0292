"""Seals files and opens sealed ones, a chunk at a time, in memory that does not grow with them.

What is opened is written under a temporary name and gets its own when the last chunk has proven that
nothing is missing; so a reader never meets half of a file.
"""

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from activities import plain_files
from domain.errors import BackupUnusable, Refused
from domain.paths import path_under
from domain.sealing import (
    HEADER_BYTES,
    OVERHEAD_BYTES,
    SALT_BYTES,
    BackupKey,
    Header,
    Seal,
    chunks_of,
    read_header,
    repeatable_salt,
    sealed_bytes,
)

SUFFIX = ".sealed"
LISTING = f"listing{SUFFIX}"
_READ_BYTES = 1024 * 1024
_LISTING_LIMIT_BYTES = 64 * 1024 * 1024

FindKey = Callable[[str], BackupKey]
Told = Callable[[int], object]
"""Is told how many more bytes were worked through."""


class Readable(Protocol):
    """Bytes that can be read from any place, and are the same each time."""

    size: int

    def read(self, offset: int, length: int) -> bytes:
        """Return so many bytes from there, fewer at the end."""


class Clear:
    """An open file as it is."""

    def __init__(self, handle: int) -> None:
        """Take its size as it is now."""
        self.size = os.fstat(handle).st_size
        self._handle = handle

    def read(self, offset: int, length: int) -> bytes:
        """Return so many bytes from there, fewer at the end; ``BackupUnusable`` when it became shorter."""
        pieces, missing = [], min(length, self.size - offset)
        while missing > 0:
            piece = os.pread(self._handle, missing, offset)
            if not piece:
                raise BackupUnusable("a file became shorter while it was read", code="file-changed")
            pieces.append(piece)
            offset, missing = offset + len(piece), missing - len(piece)
        return b"".join(pieces)


class Held:
    """Bytes in memory."""

    def __init__(self, content: bytes) -> None:
        """Hold them."""
        self.size = len(content)
        self._content = content

    def read(self, offset: int, length: int) -> bytes:
        """Return so many bytes from there, fewer at the end."""
        return self._content[offset : offset + length]


class Sealed:
    """Something readable as its sealed bytes, made as they are asked for: they are never kept on a disk."""

    def __init__(self, plain: Readable, seal: Seal) -> None:
        """``seal`` closes the chunks."""
        self.seal = seal
        self._plain = plain
        self._chunk = seal.header.chunk_bytes
        self._count = chunks_of(plain.size, self._chunk)
        self.size = sealed_bytes(plain.size, self._chunk)

    def read(self, offset: int, length: int) -> bytes:
        """Return so many bytes from there, fewer at the end."""
        end = min(offset + length, self.size)
        if offset >= end:
            return b""
        header = self.seal.header.encoded()
        pieces = [header[offset:end]] if offset < HEADER_BYTES else []
        step = self._chunk + OVERHEAD_BYTES
        first = max(0, offset - HEADER_BYTES) // step
        behind = max(0, end - HEADER_BYTES)
        for number in range(first, min(self._count, -(-behind // step))):
            begins = HEADER_BYTES + number * step
            sealed = self._closed(number)
            pieces.append(sealed[max(0, offset - begins) : end - begins])
        return b"".join(pieces)

    def require(self, body: bytes, offset: int) -> None:
        """Raise ``Refused`` (``offsite-clear-data``) unless these are sealed bytes of this place.

        The header is compared, and the first chunk that lies in them whole is opened. Where none does, they
        are compared with what is sealed here.
        """
        step = self._chunk + OVERHEAD_BYTES
        number = max(0, -(-(offset - HEADER_BYTES) // step))
        begins = HEADER_BYTES + number * step - offset
        ends = min(begins + step, self.size - offset)
        if not begins < ends <= len(body):
            proven = body == self.read(offset, len(body))
        else:
            proven = offset > 0 or body.startswith(self.seal.header.encoded())
            proven = proven and self._opens(number, body[begins:ends])
        if not proven:
            raise Refused(
                "something that is not sealed was about to leave this host; it did not",
                hint="this is a defect: please report it",
                code="offsite-clear-data",
            )

    def _opens(self, number: int, chunk: bytes) -> bool:
        try:
            self.seal.open(number, chunk, last=number == self._count - 1)
        except BackupUnusable:
            return False
        return True

    def _closed(self, number: int) -> bytes:
        plain = self._plain.read(number * self._chunk, self._chunk)
        return self.seal.close(number, plain, last=number == self._count - 1)


def digest_of(source: Readable, told: Told = lambda _: None) -> bytes:
    """Return the SHA-256 of everything that can be read there."""
    digest = hashlib.sha256()
    for offset in range(0, source.size, _READ_BYTES):
        piece = source.read(offset, _READ_BYTES)
        digest.update(piece)
        told(len(piece))
    return digest.digest()


def opened_chunks(blocks: Iterable[bytes], find: FindKey, context: str) -> Iterator[bytes]:
    """Yield what sealed bytes hold, however they are cut into blocks.

    What was yielded is whole only when the last one came without an error. Raises ``Refused``
    (``not-sealed``, ``backup-key-missing``, ``backup-key-wrong``) and ``BackupUnusable`` (``seal-broken``).
    """
    held = bytearray()
    seal: Seal | None = None
    number = step = 0
    for block in blocks:
        held += block
        if seal is None and len(held) >= HEADER_BYTES:
            header = read_header(bytes(held[:HEADER_BYTES]))
            seal, step = Seal(find(header.key_id), header, context), header.chunk_bytes + OVERHEAD_BYTES
            del held[:HEADER_BYTES]
        # A full chunk is known not to be the last one only when something follows it.
        while seal is not None and len(held) > step:
            yield seal.open(number, bytes(held[:step]), last=False)
            del held[:step]
            number += 1
    if seal is None:
        read_header(bytes(held))
        return
    yield seal.open(number, bytes(held), last=True)


def seal_file(source: Path, target: Path, key: BackupKey, context: str, told: Told = lambda _: None) -> None:
    """Write a sealed copy of a file. Raises ``OSError``, for a link in either place too."""
    with plain_files.opened(source) as handle, plain_files.written(target) as file:
        _copy(_by_chance(Clear(handle), key, context), file, told)


def open_file(source: Path, target: Path, find: FindKey, context: str, told: Told = lambda _: None) -> None:
    """Write what a sealed file holds; nothing is left when it does not open. Raises as ``opened_chunks``."""
    with plain_files.opened(source) as handle, plain_files.written(target) as file:
        for piece in opened_chunks(_blocks(handle), find, context):
            file.write(piece)
            told(len(piece))


def seal_directory(source: Path, target: Path, key: BackupKey, context: str) -> None:
    """Write a sealed copy of every file below a directory, and last a sealed listing of them.

    The listing is what shows that a whole file is missing. Raises ``Refused`` (``shelf-unusable``) for
    what is no plain file, and ``OSError``.
    """
    strange = plain_files.strange_in(source)
    if strange:
        raise Refused(f"it holds {strange}", where=str(source), code="shelf-unusable")
    names = sorted(str(path.relative_to(source)) for path in source.rglob("*") if path.is_file())
    for name in names:
        inside = target / path_under("", f"{name}{SUFFIX}")
        inside.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        seal_file(source / name, inside, key, f"{context}/{name}")
    with plain_files.written(target / LISTING) as file:
        _copy(_by_chance(Held(json.dumps(names).encode()), key, f"{context}//"), file, lambda _: None)


def open_directory(source: Path, target: Path, find: FindKey, context: str) -> None:
    """Write what a sealed directory holds. Raises as ``open_file``, and ``OSError`` for a missing file."""
    sealed = plain_files.read(source / LISTING, _LISTING_LIMIT_BYTES)
    names = json.loads(b"".join(opened_chunks([sealed], find, f"{context}//")))
    for name in names:
        inside = target / path_under("", name)
        inside.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        open_file(source / path_under("", f"{name}{SUFFIX}"), inside, find, f"{context}/{name}")


def repeatable(plain: Readable, digest: bytes, key: BackupKey, context: str) -> Sealed:
    """Return something sealed as it is sealed each time; ``digest`` is the SHA-256 of what is read."""
    return Sealed(plain, Seal(key, Header(key.id, repeatable_salt(key, context, digest)), context))


def _by_chance(plain: Readable, key: BackupKey, context: str) -> Sealed:
    return Sealed(plain, Seal(key, Header(key.id, secrets.token_bytes(SALT_BYTES)), context))


def _copy(source: Readable, file: BinaryIO, told: Told) -> None:
    for offset in range(0, source.size, _READ_BYTES):
        piece = source.read(offset, _READ_BYTES)
        file.write(piece)
        told(len(piece))


def _blocks(handle: int) -> Iterator[bytes]:
    offset = 0
    while block := os.pread(handle, _READ_BYTES, offset):
        yield block
        offset += len(block)
