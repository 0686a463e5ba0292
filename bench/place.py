"""A state directory, ports and a Temporal server that belong to one measurement alone."""

import os
import random
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from domain.errors import Unavailable
from infra import daemons, up
from infra.temporal import server
from worker.settings import Settings

_PORTS = range(20000, 29000)
_UI, _METRICS, _WORKER_METRICS = 1000, 2000, 2001


def say(sentence: str) -> None:
    """Tell how far a measurement is; the figures alone go to standard output."""
    sys.stderr.write(f"{sentence}\n")
    sys.stderr.flush()


@contextmanager
def own_place() -> Iterator[str]:
    """Have this process and all that it starts use a state directory of their own; yield its name.

    Every process that was started in it is ended, and the directory is removed.
    """
    name = f"bench-{secrets.token_hex(3)}"
    # The sockets of PostgreSQL lie below: their paths must be short. /tmp is memory on some machines.
    state = Path(tempfile.mkdtemp(prefix=f"dr-{name}-", dir="/var/tmp"))
    port = _free_port()
    kept = {key: value for key, value in os.environ.items() if key.startswith(("DR_", "TEMPORAL_"))}
    for key in kept:
        del os.environ[key]
    os.environ |= {
        "DR_STATE": str(state),
        "DR_TEMPORAL_PORT": str(port),
        "DR_METRICS_BIND": f"127.0.0.1:{port + _WORKER_METRICS}",
        "DR_DEFAULT_STACK": name,
    }
    try:
        yield name
    finally:
        end_processes(state)
        shutil.rmtree(state, ignore_errors=True)
        for key in ("DR_STATE", "DR_TEMPORAL_PORT", "DR_METRICS_BIND", "DR_DEFAULT_STACK"):
            os.environ.pop(key, None)
        os.environ |= kept


def end_processes(state: Path) -> None:
    """End the daemons of a state directory and its Temporal server."""
    run = up.run_directory(state)
    for name in daemons.names(run) if run.is_dir() else ():
        daemons.stop(run, name)
    server.stop(temporal_settings(Settings()))


def temporal_settings(settings: Settings) -> server.TemporalSettings:
    """Return the settings of the embedded server in this place."""
    return server.TemporalSettings(state=settings.state, port=settings.temporal_port)


def _free_port() -> int:
    """Return a port that is free together with the ones that follow from it."""
    for _ in range(200):
        port = random.choice(_PORTS)  # noqa: S311 - no secret
        if all(_is_free(port + more) for more in (0, _UI, _METRICS, _WORKER_METRICS)):
            return port
    raise Unavailable("no ports are free for a Temporal server", code="no-ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
