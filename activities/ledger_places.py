"""Where the stores of a stack are now: looked up by compose label each time somebody connects."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from activities.address import USUAL_PORTS
from activities.engine import ContainerState, Engine
from activities.secrets import Secrets
from domain.errors import Unavailable
from domain.ledger import Store
from domain.names import COMPOSE_PROJECT
from domain.order import Target
from domain.stack import Kind, Stack

STORE_OF_KIND = {
    Kind.POSTGRES: Store.POSTGRES,
    Kind.REDIS: Store.REDIS,
    Kind.OBJECTS: Store.OBJECTS,
    Kind.SEARCH: Store.SEARCH,
}
# What the official images call their credentials, for a stack file that names no reference.
_USUAL_SECRETS = {
    Kind.POSTGRES: {"password": "POSTGRES_PASSWORD"},
    Kind.REDIS: {"password": "REDIS_PASSWORD"},
    Kind.OBJECTS: {"access_key": "MINIO_ROOT_USER", "secret_key": "MINIO_ROOT_PASSWORD"},
    Kind.SEARCH: {"master_key": "MEILI_MASTER_KEY"},
}


@dataclass(frozen=True)
class Sought:
    """A service as the facts name it, before it is looked up."""

    project: str
    service: str
    kind: Kind
    port: int
    container: str | None = None
    user: str = ""
    database: str = ""
    references: Mapping[str, str] = field(default_factory=dict)
    """Named references of secrets."""


@dataclass(frozen=True)
class Place:
    """Where a service answers now, and what opens it; made anew for each connection."""

    host: str
    port: int
    user: str = ""
    database: str = ""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


def stores_of_stack(stack: Stack) -> dict[Store, Sought]:
    """Return the stores that the stack file names; a store that the stack does not have is absent."""
    found: dict[Store, Sought] = {}
    for name, service in stack.services.items():
        store = STORE_OF_KIND.get(service.kind)
        if store is None or store in found:
            continue
        password = {"password": service.password} if service.password else {}
        found[store] = Sought(
            project=stack.project,
            service=name,
            kind=service.kind,
            port=service.port or USUAL_PORTS[service.kind],
            container=service.container,
            user=service.user or "",
            database=service.database or "",
            references={**service.secrets, **password},
        )
    return found


def stores_of_target(target: Target) -> dict[Store, Sought]:
    """Return the stores of a stack that was resolved; they are looked up again when asked."""
    found: dict[Store, Sought] = {}
    for service in target.services:
        store = STORE_OF_KIND.get(service.kind)
        if store is None or store in found:
            continue
        found[store] = Sought(
            project=target.project,
            service=service.name,
            kind=service.kind,
            port=service.port or USUAL_PORTS[service.kind],
            references=service.secrets,
        )
    return found


def entrance_of_stack(stack: Stack) -> Sought:
    """Return the door that users come in by."""
    name = stack.journey.entrance
    service = stack.services.get(name)
    return Sought(
        project=stack.project,
        service=name,
        kind=service.kind if service else Kind.PROXY,
        port=stack.journey.port,
        container=service.container if service else None,
    )


def find_place(engine: Engine, secrets: Secrets, sought: Sought) -> Place:
    """Look the service up on this host. Raises ``Unavailable``, or ``Refused`` for a bad reference."""
    container = next(_running(engine, sought), None)
    if container is None:
        raise Unavailable("no running container", where=sought.service, code="service-down")
    environment = dict(entry.partition("=")[::2] for entry in container.raw["Config"].get("Env") or [])
    host, port = _address(container, sought.port)
    known = {key: secrets.reveal(reference, sought.project) for key, reference in sought.references.items()}
    for key, variable in _USUAL_SECRETS.get(sought.kind, {}).items():
        known.setdefault(key, environment.get(variable, ""))
    user = sought.user or environment.get("POSTGRES_USER") or "postgres"
    return Place(
        host=host,
        port=port,
        user=user,
        database=sought.database or environment.get("POSTGRES_DB") or user,
        secrets=known,
    )


def _running(engine: Engine, sought: Sought) -> Iterator[ContainerState]:
    named = engine.look(sought.container) if sought.container else None
    if named is not None and named.labels.get(COMPOSE_PROJECT) == sought.project:
        candidates = [named]
    else:
        candidates = engine.find(sought.project, sought.service)
    return (container for container in candidates if container.running)


def _address(container: ContainerState, port: int) -> tuple[str, int]:
    network = container.raw["NetworkSettings"]
    for binding in (network.get("Ports") or {}).get(f"{port}/tcp") or []:
        if binding.get("HostIp", "") in {"", "0.0.0.0", "127.0.0.1"}:  # noqa: S104 - read, not bound
            return "127.0.0.1", int(binding["HostPort"])
    for attached in (network.get("Networks") or {}).values():
        if attached.get("IPAddress"):
            return attached["IPAddress"], port
    raise Unavailable(
        f"port {port} is neither published nor reachable on a network", where=container.name, code="no-port"
    )
