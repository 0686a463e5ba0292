"""Has Compose itself read the files of a configuration: unpacked into memory, and only to be looked at."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from activities import configuration_archive
from activities.configuration_archive import Member
from domain.configuration import PROJECT, Configuration
from domain.errors import Refused
from domain.paths import one_part

_SECONDS = 60
_MEMORY = (Path("/dev/shm"), Path("/run/shm"), Path("/run"))  # noqa: S108 - it must be memory
_IN_MEMORY = {"tmpfs", "ramfs"}
_UNSET = re.compile(r'The \\?"([^"\\]+)\\?" variable is not set')
_SAID = 3
_PASSED = ("PATH", "HOME", "DOCKER_CONFIG")
_ONLY_HERE = {
    # Services that are started by a profile alone are the stack's too.
    "COMPOSE_PROFILES": "*",
    # Files of other hosts are never fetched to find out what is in a backup.
    "COMPOSE_EXPERIMENTAL_GIT_REMOTE": "false",
    "COMPOSE_EXPERIMENTAL_OCI_REMOTE": "false",
}


@dataclass(frozen=True)
class Resolved:
    """What Compose made of the files."""

    services: tuple[str, ...] = ()
    unset: tuple[str, ...] = ()
    """Variables without a value."""
    problem: str = ""
    """Why Compose does not take them."""


class Compose:
    """Calls Compose: the engine's plugin where there is one, else the binary beside this interpreter."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """``environment`` is the process's; only where programs lie is passed on."""
        self._environment = {name: environment[name] for name in _PASSED if name in environment} | _ONLY_HERE

    def command(self) -> tuple[str, ...]:
        """Return the command that is Compose here, or nothing."""
        docker = shutil.which("docker", path=self._environment.get("PATH"))
        if docker is not None and self._run((docker, "compose", "version")).returncode == 0:
            return docker, "compose"
        beside = Path(sys.executable).parent / "docker-compose"
        found = (
            str(beside)
            if beside.is_file()
            else shutil.which("docker-compose", path=self._environment.get("PATH"))
        )
        return (found,) if found else ()

    def resolve(self, kept: Configuration, members: Mapping[str, Member], name: str) -> Resolved | None:
        """Return what Compose makes of the kept files, or ``None`` when it is not on this host.

        ``name`` is that of the directory, which is removed before and afterwards. Raises ``Refused``
        (``no-memory-directory``), ``OSError``.
        """
        command = self.command()
        if not command:
            return None
        with _unpacked(members, name) as directory:
            return self._resolve((*command, *_arguments(kept, directory)))

    def _resolve(self, command: tuple[str, ...]) -> Resolved:
        done = self._run(command)
        unset = tuple(dict.fromkeys(_UNSET.findall(done.stderr)))
        if done.returncode != 0:
            said = " ".join(done.stderr.strip().splitlines()[-_SAID:])
            return Resolved(unset=unset, problem=said or f"it ended with {done.returncode}")
        try:
            services = json.loads(done.stdout).get("services") or {}
        except (ValueError, AttributeError, RecursionError):
            return Resolved(unset=unset, problem="what it says is no JSON")
        return Resolved(services=tuple(sorted(services)), unset=unset)

    def _run(self, command: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                command,
                check=False,
                capture_output=True,
                text=True,
                errors="replace",
                env=self._environment,
                stdin=subprocess.DEVNULL,
                timeout=_SECONDS,
            )
        except (subprocess.TimeoutExpired, OSError) as error:
            return subprocess.CompletedProcess(command, 125, "", f"{command[0]}: {type(error).__name__}")


def _arguments(kept: Configuration, directory: Path) -> list[str]:
    said = ["--project-name", kept.project.lower(), "--project-directory", str(directory / PROJECT)]
    for member in kept.compose:
        said += ["--file", str(directory / member)]
    for member in kept.env_files:
        said += ["--env-file", str(directory / member)]
    return [*said, "config", "--format", "json"]


@contextmanager
def _unpacked(members: Mapping[str, Member], name: str) -> Iterator[Path]:
    directory = _memory() / one_part(name, "the name of a directory")
    _remove(directory)
    try:
        directory.mkdir(mode=0o700)
        (directory / PROJECT).mkdir(mode=0o700)
        configuration_archive.write_out(members, directory)
        yield directory
    finally:
        _remove(directory)


def _remove(directory: Path) -> None:
    if directory.is_symlink():
        directory.unlink()
    elif directory.exists():
        shutil.rmtree(directory)


def _memory() -> Path:
    """Return a directory that lies in memory: what is in clear there is on no disk."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    kinds = {mount[1]: mount[2] for mount in mounts}
    for path in _MEMORY:
        if kinds.get(str(path)) in _IN_MEMORY:
            return path
    raise Refused(
        "no directory lies in memory, so the configuration cannot be opened without a trace",
        where=", ".join(str(path) for path in _MEMORY),
        hint="mount a tmpfs at /dev/shm",
        code="no-memory-directory",
    )
