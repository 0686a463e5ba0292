"""Memory of a copy: it runs beside the server and must never make the host choose between the two."""

from dataclasses import dataclass
from pathlib import Path

from domain.errors import Refused

_MEGABYTE = 1 << 20
_LEAST_BYTES = 512 * _MEGABYTE
_MOST_BUFFERS_BYTES = 512 * _MEGABYTE
_MOST_WORK_BYTES = 256 * _MEGABYTE


@dataclass(frozen=True)
class Share:
    """What a copy may use; ``limit_bytes`` is enforced on its container, ``None`` where nothing is known."""

    limit_bytes: int | None
    buffers_bytes: int = _MOST_BUFFERS_BYTES
    work_bytes: int = _MOST_WORK_BYTES

    def settings(self) -> dict[str, str]:
        """Return the settings of a server that keeps within it."""
        return {
            "shared_buffers": f"{self.buffers_bytes // _MEGABYTE}MB",
            "maintenance_work_mem": f"{self.work_bytes // _MEGABYTE}MB",
        }


def share_for_copy(meminfo: Path = Path("/proc/meminfo")) -> Share:
    """Return three quarters of what is available now.

    Raises ``Refused`` where that is too little to start a second server at all.
    """
    available = _available_bytes(meminfo)
    if available is None:
        return Share(limit_bytes=None)
    limit = available * 3 // 4
    if limit < _LEAST_BYTES:
        raise Refused(
            f"no memory for a copy beside the server: {available // _MEGABYTE} MB are available",
            hint=f"make {_LEAST_BYTES * 4 // 3 // _MEGABYTE} MB free on the host, then retry",
            code="no-memory",
        )
    return Share(
        limit_bytes=limit,
        buffers_bytes=min(_MOST_BUFFERS_BYTES, limit // 4),
        work_bytes=min(_MOST_WORK_BYTES, limit // 8),
    )


def _available_bytes(meminfo: Path) -> int | None:
    try:
        lines = meminfo.read_text().splitlines()
    except OSError:
        return None
    words = next((line.split() for line in lines if line.startswith("MemAvailable:")), [])
    return int(words[1]) * 1024 if len(words) > 1 and words[1].isdigit() else None
