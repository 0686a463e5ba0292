"""What the Docker engine is asked for, and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


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
