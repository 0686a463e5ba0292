"""WAL segments without the zeros at their end: one that was switched early is mostly those.

A switch each minute makes 23 GB of segments a day, which no seal lets anybody compress afterwards.
"""

import struct
from collections.abc import Iterable, Iterator

from domain.errors import BackupUnusable
from domain.wal import SEGMENT_BYTES

MAGIC = b"DRTRIM\x00\x01"
"""No WAL begins with it."""
_HEADER = struct.Struct(f">{len(MAGIC)}sQ")
HEADER_BYTES = _HEADER.size
_LARGEST = 64 * SEGMENT_BYTES
"""What ``initdb --wal-segsize`` makes at most."""
_ZEROS = bytes(1024 * 1024)


def trimmed(content: bytes) -> bytes:
    """Return a content with its length in front and without its zeros behind."""
    return _HEADER.pack(MAGIC, len(content)) + content.rstrip(b"\x00")


def untrimmed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield a content as it was; what was never trimmed passes as it is.

    Raises ``BackupUnusable`` (``offsite-damaged``) for a length that no segment has.
    """
    held = bytearray()
    missing: int | None = None
    rest = iter(pieces)
    for piece in rest:
        if missing is None:
            held += piece
            if len(held) < HEADER_BYTES:
                continue
            if not held.startswith(MAGIC):
                yield bytes(held)
                yield from rest
                return
            missing = _HEADER.unpack_from(held)[1]
            piece = bytes(held[HEADER_BYTES:])  # noqa: PLW2901 - the rest of the first piece
        missing -= len(piece)
        if not 0 <= missing <= _LARGEST:
            raise BackupUnusable("a segment of a length that none has", code="offsite-damaged")
        yield piece
    if missing is None:
        yield bytes(held)
        return
    while missing:
        zeros = _ZEROS[:missing]
        missing -= len(zeros)
        yield zeros
