"""Proof that a throwaway server is one: its own volume, no network, nothing archived, nobody followed (I9).

It is asked for once the server answers, before anything is restored into it or read from it.
"""

from collections.abc import Iterator

from activities.engine import ContainerState, Engine
from activities.postgres import shelf
from activities.postgres.sql import Sql
from domain.errors import Refused
from domain.names import COMPOSE_PROJECT, LABEL_STACK
from domain.order import Target
from domain.recovery import Copy, Proof

_SETTINGS = {
    "archive_mode": "off",
    "archive_command": "false",
    "primary_conninfo": "",
    "listen_addresses": "",
}
# The value in force is shown as "(disabled)" where archiving is off; this one is as it was set.
_READ = "SELECT name, reset_val FROM pg_settings WHERE name = ANY(%s)"


def require_isolated(engine: Engine, sql: Sql, target: Target, copy: Copy) -> Proof:
    """Return the proof that nobody else has to do with a server (F-C14).

    Raises ``Refused`` (``check-not-isolated``) for one that is production, or could meet it.
    """
    found = engine.look(copy.container)
    wrong = ["its container is gone"] if found is None else list(_in_the_open(found, target))
    if not wrong:
        with shelf.asking(copy.container), sql.copy(copy, timeout_seconds=10) as connection:
            known = {str(row[0]): str(row[1]) for row in connection.execute(_READ, [list(_SETTINGS)])}
        wrong = [
            f"its {name} is {known.get(name)!r}"
            for name, value in _SETTINGS.items()
            if known.get(name) != value
        ]
    if wrong:
        raise Refused(
            f"the server for the check is not one of its own: {'; '.join(wrong)}",
            where=copy.container,
            hint="nothing was restored into it; production is never used for a check",
            code="check-not-isolated",
        )
    said = "own volume, no network, archives nothing, follows nobody"
    return Proof(name="isolated", passed=True, evidence=said)


def _in_the_open(found: ContainerState, target: Target) -> Iterator[str]:
    """Yield what of a container belongs to somebody else, or lets somebody in."""
    server = target.postgres
    if found.id == server.container_id:
        yield "it is the server of the stack itself"
    if found.labels.get(COMPOSE_PROJECT):
        yield f"it belongs to project {found.labels[COMPOSE_PROJECT]}"
    if found.labels.get(LABEL_STACK) != target.stack:
        yield "it is not labelled as ours"
    network = found.raw["HostConfig"].get("NetworkMode")
    if network != "none":
        yield f"its network is {network}"
    if any(mount.get("Name") == server.volume for mount in found.raw.get("Mounts") or []):
        yield f"it has the volume {server.volume}"
