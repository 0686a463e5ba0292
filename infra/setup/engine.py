"""The Docker Engine of this machine: does it answer, and the one that set-up started itself.

A ``docker`` client is often there without an engine, so the engine is asked, the way the product reaches it
(``DOCKER_HOST``, else the usual socket). ``python -m infra.setup.engine answers|start|stop --state DIR``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

import docker
from docker.errors import DockerException
from requests.exceptions import RequestException

from domain.errors import DrError, Refused, Unavailable
from infra import daemons

DAEMON = "dockerd"
START_SECONDS = 60.0


def version() -> str | None:
    """Return the version of the engine that answers; None when none does."""
    try:
        client = docker.DockerClient.from_env(timeout=5)
        try:
            return str(client.version()["Version"])
        finally:
            client.close()
    except (DockerException, RequestException):
        return None


def start(state: Path) -> str:
    """Start ``dockerd`` detached, recorded below the state directory as ours; return its version.

    Raises ``Refused`` (``engine-missing``) without the program, ``Unavailable`` (``engine-not-up``) when it
    does not answer in time.
    """
    program = shutil.which("dockerd", path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin")))
    if program is None:
        raise Refused(
            "there is no dockerd",
            where="PATH",
            hint="install Docker Engine",
            code="engine-missing",
        )
    directory = _run_directory(state)
    daemons.start(daemons.Daemon(name=DAEMON, argv=(program,), run_directory=directory))
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and daemons.is_running(directory, DAEMON):
        found = version()
        if found is not None:
            return found
        time.sleep(0.3)
    log = directory / f"{DAEMON}.log"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    # What it dies of is plain text after the structured lines.
    last = [line.strip() for line in lines if not line.startswith("time=")] or lines
    raise Unavailable(
        "the Docker Engine does not come up",
        where=str(log),
        hint=f"it said: {' '.join(last[-2:])}",
        code="engine-not-up",
    )


def stop_ours(state: Path) -> bool:
    """End the engine that ``start`` started for this state directory; any other is left alone."""
    return daemons.stop(_run_directory(state), DAEMON, grace_seconds=30)


def _run_directory(state: Path) -> Path:
    return state / "setup"


def main() -> int:
    """Carry out one verb; 0 when it holds, 1 when not."""
    parser = argparse.ArgumentParser(prog="python -m infra.setup.engine")
    parser.add_argument("verb", choices=["answers", "start", "stop"])
    parser.add_argument("--state", type=Path, default=Path(os.environ.get("DR_STATE", ".dr")))
    chosen = parser.parse_args()
    if chosen.verb == "stop":
        print("stopped" if stop_ours(chosen.state) else "no engine of ours ran")
        return 0
    try:
        found = version() if chosen.verb == "answers" else start(chosen.state)
    except DrError as error:
        print(error, file=sys.stderr)
        return 1
    if found is not None:
        print(found)
    return 0 if found is not None else 1


if __name__ == "__main__":
    sys.exit(main())
