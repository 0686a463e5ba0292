"""Switches the WAL of a living server, so that what it acknowledged reaches the archive."""

import time
from pathlib import Path

from activities.postgres.fence import Fencing
from activities.pulse import beat
from domain.order import Target
from domain.wal import parse_lsn, segment_name

ARCHIVE_SECONDS = 20.0
_POLL_SECONDS = 0.1


def switched(fence: Fencing, target: Target) -> str | None:
    """Return the LSN at which the server closed its segment; ``None`` when it does not answer."""
    return fence.answer(target, "SELECT pg_switch_wal()") or None


def wait_archived(target: Target, timeline: int, lsn: str, segment_bytes: int) -> bool:
    """Wait, within a limit, until the archive has the closed segment that ends at ``lsn``."""
    name = segment_name(timeline, max(parse_lsn(lsn) - 1, 0), segment_bytes)
    deadline = time.monotonic() + ARCHIVE_SECONDS
    wal = Path(target.shelf) / "postgres" / "wal"
    while time.monotonic() < deadline:
        if any(wal.glob(f"*/{name}")):
            return True
        beat(f"waiting for {name} in the archive")
        time.sleep(_POLL_SECONDS)
    return False
