"""Reads the configuration of a stack that runs: files, containers, images, stack file, secrets."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from activities import plain_files
from activities.configuration_archive import Member
from activities.configuration_files import Collected
from activities.engine import ContainerState, Engine
from activities.secrets import Secrets
from domain.configuration import MANIFEST, SECRETS, STACK_FILE, Configuration, KeptService
from domain.errors import DrError, Refused
from domain.inert import visible
from domain.names import COMPOSE_SERVICE
from domain.order import Target
from domain.secret_ref import REFERENCE
from domain.stack import Stack
from domain.stack_file import LIMIT_BYTES, parse_stack

_CONFIG_FILES = "com.docker.compose.project.config_files"
_WORKING_DIR = "com.docker.compose.project.working_dir"
_ENVIRONMENT_FILE = "com.docker.compose.project.environment_file"
_REFERENCE = re.compile(REFERENCE)


class Reading:
    """Reads what a stack needs beside its data; changes nothing."""

    def __init__(self, engine: Engine, secrets: Secrets, stacks: Mapping[str, Path]) -> None:
        """``stacks`` maps the name of a stack to its file."""
        self._engine = engine
        self._secrets = secrets
        self._stacks = stacks

    def read(self, target: Target) -> tuple[dict[str, Member], Configuration]:
        """Return the members of the archive and their list, which is one of them.

        What is missing is named in the list. Raises ``Refused`` when the project has no containers.
        """
        containers = _one_each(self._engine.find(target.project))
        if not containers:
            raise Refused(
                f"no container is of project {target.project}",
                where="labels of docker compose",
                code="project-unknown",
            )
        text, stack = self._stack(target)
        provided = stack.backup.provided_by_host if isinstance(stack, Stack) else ()
        found = Collected(_only(containers.values(), _WORKING_DIR), provided)
        compose = [found.take_compose(path) for path in _listed(containers.values(), _CONFIG_FILES)]
        if not compose:
            found.lacks.append("no label of a container names a Compose file")
        env_files = self._env_files(containers.values(), found)
        services = tuple(self._service(name, one, found) for name, one in sorted(containers.items()))
        if isinstance(stack, Stack):
            references = self._secrets_of(stack, target, found)
            found.members[STACK_FILE] = Member(text)
        else:
            references = ()
            found.lacks.append(f"the stack file cannot be kept: {stack}")
        configuration = Configuration(
            stack=target.stack,
            project=target.project,
            working_dir=found.working_dir,
            compose=tuple(member for member in compose if member),
            env_files=tuple(env_files),
            files=tuple(sorted(found.files.values(), key=lambda one: one.member)),
            services=services,
            references=references,
            lacks=tuple(dict.fromkeys(found.lacks)),
            left_out=tuple(dict.fromkeys(found.left_out)),
        )
        manifest = Member(configuration.model_dump_json(indent=2).encode())
        return found.members | {MANIFEST: manifest}, configuration

    def _env_files(self, containers: Iterable[ContainerState], found: Collected) -> list[str]:
        named = _listed(containers, _ENVIRONMENT_FILE)
        usual = f"{found.working_dir}/.env"
        if not named and found.working_dir:
            return [member for member in [found.take(usual, needed=False)] if member]
        if found.working_dir and usual not in named:
            found.take(usual, needed=False)
        return [member for path in named if (member := found.take(path))]

    def _service(self, name: str, container: ContainerState, found: Collected) -> KeptService:
        raw, config = container.raw, container.raw["Config"]
        image = self._engine.image(container.image_id) or {}
        mounts = sorted(raw.get("Mounts") or [], key=lambda one: str(one.get("Destination")))
        files = [
            member
            for mount in mounts
            if (path := self._path_of(mount))
            for member in found.take_mounted(
                path,
                writable=bool(mount.get("RW")),
                by=f"{name} mounts it at {visible(str(mount.get('Destination')))}",
            )
        ]
        service = KeptService(
            name=name,
            image=str(config.get("Image") or ""),
            image_id=container.image_id,
            digests=tuple(sorted(image.get("RepoDigests") or ())),
            files=tuple(files),
            variables=tuple(sorted(_environment(config))),
        )
        found.members[service.member] = Member(json.dumps(_as_made(raw), indent=2, sort_keys=True).encode())
        return service

    def _path_of(self, mount: Mapping[str, Any]) -> str:
        """Return what of the host a service mounts, or nothing for a volume of Docker alone."""
        if mount.get("Type") == "bind":
            return str(mount["Source"])
        if mount.get("Type") != "volume":
            return ""
        # A volume may be a name alone for a directory: driver_opts {type: none, o: bind, device: /PATH}.
        options = (self._engine.volume(str(mount.get("Name"))) or {}).get("Options") or {}
        bound = "bind" in str(options.get("o", "")).split(",")
        device = str(options.get("device", ""))
        return device if bound and device.startswith("/") else ""

    def _stack(self, target: Target) -> tuple[bytes, Stack | str]:
        """Return the stack file as it is and what it says, or why it cannot be read."""
        path = self._stacks.get(target.stack)
        try:
            text = plain_files.read(path.resolve(), LIMIT_BYTES) if path is not None else b""
            return text, parse_stack(text.decode(), STACK_FILE)[0]
        except (DrError, OSError, UnicodeDecodeError) as error:
            return b"", type(error).__name__

    def _secrets_of(self, stack: Stack, target: Target, found: Collected) -> tuple[str, ...]:
        """Take along the values that the references of a stack file mean."""
        values: dict[str, str] = {}
        for reference in references_of(stack):
            try:
                values[reference] = self._secrets.reveal(reference, target.project)
            except Refused as refused:
                found.lacks.append(refused.what)
        found.members[SECRETS] = Member(json.dumps(values, indent=2, sort_keys=True).encode())
        return references_of(stack)


def references_of(stack: Stack) -> tuple[str, ...]:
    """Return every reference to a secret in a stack file."""
    return tuple(sorted(set(_references_in(stack.model_dump(mode="json")))))


def environment_of(kept: Mapping[str, Member], service: KeptService) -> dict[str, str]:
    """Return the variables of a service's container as they were kept."""
    member = kept.get(service.member)
    try:
        said = json.loads(member.content) if member is not None else {}
    except (ValueError, RecursionError):
        return {}
    found = said.get("environment") if isinstance(said, dict) else None
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}


def _references_in(value: object) -> Iterator[str]:
    if isinstance(value, str) and _REFERENCE.fullmatch(value):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _references_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references_in(inner)


def _one_each(containers: list[ContainerState]) -> dict[str, ContainerState]:
    """Return one container of each service; several of one service are made alike."""
    ordered = sorted(containers, key=lambda one: (not one.running, one.name))
    named = [(one.labels.get(COMPOSE_SERVICE, ""), one) for one in ordered]
    return {name: one for name, one in reversed(named) if name}


def _listed(containers: Iterable[ContainerState], label: str) -> list[str]:
    """Return the absolute paths that a label of any container lists, in their order."""
    found = [path for one in containers for path in one.labels.get(label, "").split(",")]
    return list(dict.fromkeys(path for path in found if path.startswith("/")))


def _only(containers: Iterable[ContainerState], label: str) -> str:
    return next((value for one in containers if (value := one.labels.get(label, ""))), "")


def _environment(config: Mapping[str, Any]) -> dict[str, str]:
    pairs = (entry.partition("=") for entry in config.get("Env") or [])
    return {name: value for name, _, value in pairs if name}


def _as_made(raw: Mapping[str, Any]) -> dict[str, object]:
    """Return what a container was made with, as far as it could be made again from it."""
    config, host = raw["Config"], raw["HostConfig"]
    return {
        "name": raw["Name"].lstrip("/"),
        "image": config.get("Image"),
        "image_id": raw["Image"],
        "environment": _environment(config),
        "entrypoint": config.get("Entrypoint"),
        "command": config.get("Cmd"),
        "user": config.get("User"),
        "labels": config.get("Labels"),
        "ports": host.get("PortBindings"),
        "restart": host.get("RestartPolicy"),
        "networks": sorted(raw["NetworkSettings"].get("Networks") or {}),
        "mounts": [
            {key: mount.get(key) for key in ("Type", "Name", "Source", "Destination", "RW")}
            for mount in raw.get("Mounts") or []
        ],
    }
