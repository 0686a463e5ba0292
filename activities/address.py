"""Where a service of the stack can be reached from this host."""

from collections.abc import Mapping

from activities.engine import Engine
from domain.errors import Unavailable
from domain.order import ServiceTarget
from domain.stack import Kind

USUAL_PORTS: Mapping[Kind, int] = {
    Kind.POSTGRES: 5432,
    Kind.HASURA: 8080,
    Kind.AUTH: 4000,
    Kind.REDIS: 6379,
    Kind.OBJECTS: 9000,
    Kind.SEARCH: 7700,
    Kind.FUNCTIONS: 3008,
    Kind.PROXY: 80,
}


def address(engine: Engine, service: ServiceTarget, port: int | None = None) -> tuple[str, int]:
    """Return host and port: the published one on 127.0.0.1, else the container's own address.

    Raises ``Unavailable`` with code ``service-unreachable`` when there is neither.
    """
    wanted = port or service.port or USUAL_PORTS.get(service.kind)
    if wanted is not None and (published := service.published.get(str(wanted))) is not None:
        return "127.0.0.1", published
    container = engine.look(service.container_id)
    networks = container.raw["NetworkSettings"]["Networks"] if container is not None else {}
    for network in (networks or {}).values():
        if wanted is not None and network.get("IPAddress"):
            return str(network["IPAddress"]), wanted
    raise Unavailable(
        f"{service.name} has no published port and no address",
        where=service.container_name,
        hint="is it running?",
        code="service-unreachable",
    )


def http_url(engine: Engine, service: ServiceTarget, port: int | None = None) -> str:
    """Return the base URL of a service that speaks HTTP, without a slash at the end."""
    host, number = address(engine, service, port)
    return f"http://{host}:{number}"
