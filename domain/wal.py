"""Positions in the write-ahead log: LSNs, segment names, timelines."""

import re

SEGMENT_BYTES = 16 * 1024 * 1024
_LSN = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")


def parse_lsn(text: str) -> int:
    """Return the byte position of ``16/B374D848``; ``ValueError`` when it is not an LSN."""
    found = _LSN.fullmatch(text.strip())
    if found is None:
        message = f"not an LSN: {text!r}"
        raise ValueError(message)
    return (int(found[1], 16) << 32) + int(found[2], 16)


def format_lsn(position: int) -> str:
    """Return a byte position as PostgreSQL writes it."""
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


def segment_name(timeline: int, position: int, segment_bytes: int = SEGMENT_BYTES) -> str:
    """Return the name of the segment that holds a position."""
    number = position // segment_bytes
    per_id = 0x100000000 // segment_bytes
    return f"{timeline:08X}{number // per_id:08X}{number % per_id:08X}"
