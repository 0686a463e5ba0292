"""The figures of the machine that a measurement ran on."""

import os
import platform
import time
from pathlib import Path

import docker

_WRITTEN_BYTES = 512 << 20
_BLOCK_BYTES = 1 << 20


def describe(folder: Path, postgres: str = "") -> dict[str, str]:
    """Return what a reader needs to compare: cores, memory, disk, kernel, versions.

    The disk is measured by one file of 512 MB, written and flushed in ``folder``. ``postgres`` is the version
    of the server that was measured, where there was one.
    """
    try:
        engine = docker.from_env(timeout=10)
        version = str(engine.version()["Version"])
        engine.close()
    except docker.errors.DockerException:
        version = "none"
    load = os.getloadavg()
    figures = {
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{_memory_bytes() / 2**30:.0f} GiB",
        "disk": f"{write_speed(folder) / 1e6:,.0f} MB/s written and flushed",
        "kernel": platform.release(),
        "Docker": version,
        "Python": platform.python_version(),
        "load before": f"{load[0]:.1f} (1 min), {load[1]:.1f} (5 min)",
    }
    return figures | ({"PostgreSQL": postgres} if postgres else {})


def write_speed(folder: Path) -> float:
    """Return bytes a second of a sequential write with its flush."""
    path = folder / f".write-speed.{os.getpid()}"
    block = os.urandom(_BLOCK_BYTES)
    began = time.monotonic()
    try:
        with path.open("wb") as file:
            for _ in range(_WRITTEN_BYTES // _BLOCK_BYTES):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        return _WRITTEN_BYTES / (time.monotonic() - began)
    finally:
        path.unlink(missing_ok=True)


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
