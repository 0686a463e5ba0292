"""Where a search engine keeps its data, its snapshots and its dumps, as its container was made."""

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from activities.address import http_url
from activities.engine import ContainerState, Engine
from activities.secrets import Secrets
from domain.errors import Refused
from domain.names import COMPOSE_PROJECT, COMPOSE_SERVICE
from domain.order import ServiceTarget, Target
from domain.stack import Kind

_SECONDS = 30.0
_PREFIX = "MEILI_"
_NOT_PASSED_ON = ("IMPORT", "SCHEDULE", "WEBHOOK", "SSL", "IGNORE")
_SECRET = ("KEY", "SECRET", "TOKEN", "PASSWORD")
_USUAL = {"db-path": "data.ms", "snapshot-dir": "snapshots", "dump-dir": "dumps"}


@dataclass(frozen=True)
class SearchPlace:
    """The container of a search engine and the places that matter in it, as it sees them itself."""

    container: ContainerState
    volume: str
    mount: str
    database: str
    snapshots: str
    dumps: str
    environment: Mapping[str, str] = field(repr=False)
    """What another one of its kind needs; no key is among it."""

    @property
    def user(self) -> str:
        """Return the user that owns its data, as the image knows it."""
        return str(self.container.raw["Config"].get("User") or "0:0")

    @property
    def snapshot(self) -> str:
        """Return the file that the next snapshot replaces."""
        return f"{self.snapshots}/{posixpath.basename(self.database)}.snapshot"

    @property
    def memory_bytes(self) -> int | None:
        """Return the limit of its memory, if it has one."""
        return int(self.container.raw["HostConfig"].get("Memory") or 0) or None


def search_of(target: Target, name: str = "") -> ServiceTarget:
    """Return the search service; ``Refused`` (``service-missing``) when the stack has none."""
    found = [one for one in target.services if one.kind is Kind.SEARCH and name in {"", one.name}]
    if not found:
        raise Refused("search is not configured in this stack", where=target.stack, code="service-missing")
    return found[0]


def place_of_search(engine: Engine, target: Target, service: ServiceTarget) -> SearchPlace:
    """Return where the service keeps what.

    Raises ``Refused``: ``target-changed`` when its container is not the one that was resolved,
    ``search-no-volume`` when its data are in no plain named volume, which alone outlives the container.
    """
    found = engine.look(service.container_id)
    if found is None or _is_other(found, target, service):
        raise Refused(
            f"{service.container_name} is not the container that was resolved",
            where=service.container_id[:12],
            hint="start again, so that the targets are resolved anew",
            code="target-changed",
        )
    config = found.raw["Config"]
    paths = {name: _path(config, name, usual) for name, usual in _USUAL.items()}
    within = [one for one in service.volumes if one.plain and _is_below(paths["db-path"], one.path)]
    if not within:
        raise Refused(
            f"the data of {service.name} ({paths['db-path']}) are in no plain named volume",
            where=service.container_name,
            hint="mount a named volume there",
            code="search-no-volume",
        )
    volume = max(within, key=lambda one: len(one.path))
    outside = [path for path in paths.values() if not _is_below(path, volume.path)]
    if outside:
        raise Refused(
            f"{service.name} writes {outside[0]} outside the volume of its data",
            where=service.container_name,
            hint=f"set MEILI_SNAPSHOT_DIR and MEILI_DUMP_DIR below {volume.path}",
            code="search-no-volume",
        )
    return SearchPlace(
        container=found,
        volume=volume.volume,
        mount=volume.path.rstrip("/"),
        database=paths["db-path"],
        snapshots=paths["snapshot-dir"],
        dumps=paths["dump-dir"],
        environment=_passed_on(config),
    )


def search_client(engine: Engine, secrets: Secrets, target: Target, service: ServiceTarget) -> httpx.Client:
    """Return a client with the address and the key of the service that runs."""
    reference = service.secrets.get("master_key")
    key = secrets.reveal(reference, target.project) if reference else ""
    return httpx.Client(
        base_url=http_url(engine, service),
        headers={"Authorization": f"Bearer {key}"} if key else {},
        timeout=_SECONDS,
        trust_env=False,
    )


def _is_other(found: ContainerState, target: Target, service: ServiceTarget) -> bool:
    mine = (target.project, service.name, service.image_id)
    return (found.labels.get(COMPOSE_PROJECT), found.labels.get(COMPOSE_SERVICE), found.image_id) != mine


def _environment(config: Mapping[str, Any]) -> dict[str, str]:
    pairs = (entry.partition("=") for entry in config.get("Env") or [])
    return {name: value for name, _, value in pairs}


def _passed_on(config: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: value
        for name, value in _environment(config).items()
        if name.startswith(_PREFIX)
        and not name.removeprefix(_PREFIX).startswith(_NOT_PASSED_ON)
        and not any(word in name for word in _SECRET)
    }


def _path(config: Mapping[str, Any], option: str, usual: str) -> str:
    """Return an absolute path by option, environment, or what is usual."""
    words = [str(word) for word in (*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ()))]
    found = _environment(config).get(f"{_PREFIX}{option.replace('-', '_').upper()}", usual)
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == f"--{option}":
            found = following
        elif word.startswith(f"--{option}="):
            found = word.partition("=")[2]
    return posixpath.normpath(posixpath.join(config.get("WorkingDir") or "/", found))


def _is_below(path: str, directory: str) -> bool:
    return f"{path}/".startswith(f"{directory.rstrip('/')}/")
