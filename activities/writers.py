"""Finds everything that writes to the database: by the dependency graph and by open sessions."""

from dataclasses import dataclass

import psycopg

from activities.engine import ContainerState, Engine
from activities.postgres.sql import Sql
from domain.errors import Unavailable
from domain.graph import dependents_of
from domain.names import COMPOSE_PROJECT, COMPOSE_SERVICE, LABEL_MADE_BY
from domain.order import Target
from domain.stack import Kind

_SESSIONS = """
SELECT coalesce(host(client_addr), ''), application_name FROM pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
"""


@dataclass(frozen=True)
class Writers:
    """Service names with the ids of their containers, and clients that are not of this project."""

    containers: dict[str, str]
    foreign: tuple[str, ...] = ()
    sessions_seen: bool = True


def find_writers(engine: Engine, sql: Sql, target: Target) -> Writers:
    """Return who writes; a server that does not answer leaves the graph alone to say it."""
    found = {
        name: target.service(name).container_id
        for name in dependents_of(target.services, target.postgres.service)
        # The proxy writes nothing itself, and users get a quick error from it instead of silence.
        if target.service(name).kind is not Kind.PROXY
    }
    try:
        with sql.live(target, database="postgres", timeout_seconds=5) as connection:
            rows = connection.execute(_SESSIONS).fetchall()
    except (Unavailable, psycopg.Error):
        return Writers(found, sessions_seen=False)
    by_address = _containers_by_address(engine)
    foreign: set[str] = set()
    for address, application in rows:
        container = by_address.get(str(address))
        if container is None:
            # Our own sessions (ledger, probes) come from this host and say who they are.
            if not str(application).startswith("dr"):
                foreign.add(f"{address or 'local socket'} ({application or 'no name'})")
        elif container.labels.get(COMPOSE_PROJECT) == target.project:
            if container.id != target.postgres.container_id and not _is_proxy(target, container):
                found.setdefault(container.labels.get(COMPOSE_SERVICE, container.name), container.id)
        # The label of who made it proves nothing inside the project: it is inherited from images.
        elif LABEL_MADE_BY not in container.labels:
            foreign.add(f"container {container.name}")
    return Writers(found, tuple(sorted(foreign)))


def _is_proxy(target: Target, container: ContainerState) -> bool:
    return any(
        service.container_id == container.id and service.kind is Kind.PROXY for service in target.services
    )


def _containers_by_address(engine: Engine) -> dict[str, ContainerState]:
    known: dict[str, ContainerState] = {}
    for container in engine.running():
        for network in (container.raw["NetworkSettings"]["Networks"] or {}).values():
            for key in ("IPAddress", "GlobalIPv6Address"):
                if network.get(key):
                    known[network[key]] = container
    return known
