"""What the first page of a WAL segment says of itself: its name can be anybody's. Pure."""

import struct

from domain.wal import position_of

HEADER_BYTES = 40
_PAGE = struct.Struct("=HHIQI4xQII")
"""Magic, flags, timeline, position, left of a record, system, bytes of a segment and of a page."""
_LONG = 0x0002
"""The flag of a first page, which alone names the system."""


def is_of(first: bytes, name: str, segment_bytes: int, system_identifier: str) -> bool:
    """Tell whether a segment's first bytes fit its name, its size and its system, an empty one being any.

    The timeline is not compared: the first segment of a new one begins with pages of the old one.
    """
    if len(first) < HEADER_BYTES:
        return False
    _, flags, _, position, _, system, size, _ = _PAGE.unpack_from(first)
    if not flags & _LONG or position != position_of(name, segment_bytes) or size != segment_bytes:
        return False
    return system_identifier in {"", str(system)}
