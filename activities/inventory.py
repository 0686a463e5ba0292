"""Looks at a Compose project as Docker describes it; no value that could be a secret leaves this module."""

import posixpath
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from temporalio import activity

from activities.engine import ContainerState, Engine
from domain.errors import Refused
from domain.inventory import Inventory, InventoryOrder
from domain.names import COMPOSE_PROJECT, COMPOSE_SERVICE
from domain.order import StackOrder
from domain.recognition import ACCOUNT_NAMES, DATABASE_NAMES, Sighting
from domain.recovery import Judged, Proof

_DEPENDS_ON = "com.docker.compose.depends_on"
# They name a directory, an account and a database: nothing that opens anything.
_NAMING = ("PGDATA", *ACCOUNT_NAMES, *DATABASE_NAMES)
_LOOPBACK = {"", "0.0.0.0", "127.0.0.1"}  # noqa: S104 - read, not bound
_ASKED = "# ASK:"
_LONGEST = 200


class Inventories:
    """Reads what runs here, for a stack file that is to be written."""

    def __init__(self, engine: Engine, stacks: Mapping[str, Path], default: str) -> None:
        """``stacks`` maps the name of a stack to its file."""
        self._engine = engine
        self._stacks = stacks
        self._default = default

    @activity.defn(no_thread_cancel_exception=True)
    def observe_project(self, order: InventoryOrder) -> Inventory:
        """Return the containers of a project. Raises ``Refused`` (``project-unknown``) naming those here."""
        found = self._engine.find(order.project) if order.project else []
        if not found:
            here = sorted({c.labels[COMPOSE_PROJECT] for c in self._engine.labelled(COMPOSE_PROJECT)})
            raise Refused(
                f"no Compose project is named {order.project}"
                f"; projects on this host: {', '.join(here) or 'none'}",
                where="labels of the containers",
                hint="docker ps shows them in the label com.docker.compose.project",
                code="project-unknown",
            )
        running = sum(container.running for container in found)
        return Inventory(
            sentence=f"Project {order.project} has {len(found)} containers here, {running} running",
            project=order.project,
            sightings=tuple(_sighting(container) for container in found),
        )

    @activity.defn(no_thread_cancel_exception=True)
    def observe_questions(self, order: StackOrder) -> Judged:
        """Return whether the stack file still holds questions that nobody has answered."""
        name = order.stack or self._default or next(iter(self._stacks), "")
        path = self._stacks.get(name)
        lines = path.read_text(encoding="utf-8").splitlines() if path is not None and path.is_file() else []
        asked = [
            f"line {number}: {line.partition(_ASKED)[2].strip()}"
            for number, line in enumerate(lines, 1)
            if line.lstrip().startswith(_ASKED)
        ]
        said = f"{len(asked)} open; {asked[0][:_LONGEST]}" if asked else "none is open"
        proof = Proof(name="questions in the stack file", passed=not asked, evidence=said)
        return Judged(sentence=said, passed=not asked, proofs=(proof,))


def _sighting(container: ContainerState) -> Sighting:
    raw, config = container.raw, container.raw["Config"]
    pairs = [entry.partition("=")[::2] for entry in config.get("Env") or []]
    environment = {name: value for name, value in pairs if value}
    volumes, binds = _mounts(raw)
    arguments = " ".join([*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ())])
    stated = container.labels.get(_DEPENDS_ON)
    policy = (raw["HostConfig"].get("RestartPolicy") or {}).get("Name") or "no"
    return Sighting(
        service=container.labels.get(COMPOSE_SERVICE, ""),
        container=container.name,
        image=str(config.get("Image") or ""),
        state=container.status,
        job=container.exit_code == 0 and policy in {"no", "on-failure"},
        env_names=tuple(environment),
        facts={name: environment[name] for name in _NAMING if name in environment},
        secret_files={
            name: binds[posixpath.normpath(value)]
            for name, value in environment.items()
            if name.endswith("_FILE") and posixpath.normpath(value) in binds
        },
        ports=_ports(raw),
        published=_published(raw),
        needs=None if stated is None else tuple(part.partition(":")[0] for part in stated.split(",") if part),
        volumes=volumes,
        wants_password="requirepass" in arguments,
    )


def _mounts(raw: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """Return named volumes and host paths, each by the path in the container."""
    mounts = raw.get("Mounts") or []
    volumes = {m["Destination"]: m["Name"] for m in mounts if m.get("Type") == "volume"}
    return volumes, {m["Destination"]: m["Source"] for m in mounts if m.get("Type") == "bind"}


def _bindings(raw: Mapping[str, Any]) -> dict[str, Any]:
    # A stopped container has no live bindings, but the configured ones come back when it starts.
    live = raw["NetworkSettings"].get("Ports") or {}
    return dict(live or raw["HostConfig"].get("PortBindings") or {})


def _ports(raw: Mapping[str, Any]) -> tuple[int, ...]:
    named = {*(raw["Config"].get("ExposedPorts") or {}), *_bindings(raw)}
    return tuple(sorted({int(port.partition("/")[0]) for port in named if port.endswith("/tcp")}))


def _published(raw: Mapping[str, Any]) -> dict[str, int]:
    return {
        port.partition("/")[0]: int(place["HostPort"])
        for port, places in _bindings(raw).items()
        for place in places or ()
        if port.endswith("/tcp")
        and place.get("HostIp", "") in _LOOPBACK
        and (place.get("HostPort") or "0") != "0"
    }
