"""What the Docker engine is asked for, and what it answers."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from domain.errors import Refused
from domain.paths import host_path

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}")
_IMAGE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_:@-]|[./](?![./])){0,500}")
_INSIDE = re.compile(r"/(?:[^/:\x00-\x1f]+/?)*:(?:ro|rw(?:,nocopy)?)")


def operand(name: str) -> str:
    """Return the name or id of a container or volume; else raise ``Refused`` with code ``docker-name``.

    It becomes a part of an address of Docker's API, where a ``..`` or a slash would lead to another
    call (F-K3, F-K4).
    """
    if _NAME.fullmatch(name) is None:
        raise _no_name("a container or volume", name)
    return name


def image_operand(name: str) -> str:
    """Return the name or id of an image; else raise ``Refused`` with code ``docker-name``."""
    if _IMAGE.fullmatch(name) is None:
        raise _no_name("an image", name)
    return name


def _no_name(of: str, given: str) -> Refused:
    return Refused(f"Docker has no such name of {of}: {given[:200]!r}", code="docker-name")


@dataclass(frozen=True)
class Executed:
    """What a program in a container answered."""

    exit_code: int
    output: str
    errors: str


@dataclass(frozen=True)
class ContainerState:
    """The parts of ``docker inspect`` that the hands look at; ``raw`` has the rest."""

    id: str
    name: str
    image_id: str
    status: str
    exit_code: int | None
    labels: Mapping[str, str]
    raw: Mapping[str, Any] = field(repr=False)

    @property
    def running(self) -> bool:
        """Tell whether its process runs and is not paused."""
        return self.status == "running"


@dataclass(frozen=True)
class Job:
    """A detached container with a deterministic name; asking for it twice attaches to it."""

    name: str
    image_id: str
    command: tuple[str, ...]
    entrypoint: tuple[str, ...] | None = None
    user: str = ""
    binds: Mapping[str, str] = field(default_factory=dict)
    """Volume name or host path to ``/path:ro`` or ``/path:rw`` in the container."""
    environment: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    network: str = "none"
    init: bool = True
    shm_bytes: int = 256 * 1024 * 1024
    memory_bytes: int | None = None
    stop_signal: str = "SIGINT"
    restart: str = "no"
    capabilities: tuple[str, ...] = ()
    group_add: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a name or a mount that Docker would read as something else (F-K1, F-K4)."""
        operand(self.name)
        image_operand(self.image_id)
        for source, inside in self.binds.items():
            if source.startswith("/"):
                host_path(source, "a directory of the host")
            else:
                operand(source)
            if _INSIDE.fullmatch(inside) is None or "/../" in inside.replace(":", "/"):
                raise Refused(f"no place for a mount: {inside[:200]!r}", code="path-escapes")


def state_of(raw: Mapping[str, Any]) -> ContainerState:
    """Read an answer of ``docker inspect``."""
    state = raw["State"]
    return ContainerState(
        id=raw["Id"],
        name=raw["Name"].lstrip("/"),
        image_id=raw["Image"],
        status=state["Status"],
        exit_code=state.get("ExitCode") if state["Status"] in {"exited", "dead"} else None,
        labels=raw["Config"].get("Labels") or {},
        raw=raw,
    )


def what_differs(found: ContainerState, job: Job) -> str:
    """Return what shows that a container is not this job, or an empty text: a name proves nothing."""
    if any(found.labels.get(key) != value for key, value in job.labels.items()):
        return "it has other labels"
    # A job may name its image by a tag, which can move; only an id can be compared.
    if job.image_id.startswith("sha256:") and found.image_id != job.image_id:
        return "it has another image"
    binds = {bind.rpartition(":")[0] for bind in found.raw["HostConfig"].get("Binds") or []}
    wanted = {f"{source}:{target.partition(':')[0]}" for source, target in job.binds.items()}
    return "" if binds == wanted else "it has other volumes"
