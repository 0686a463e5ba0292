"""Where programs and queries reach the live server, with nothing on that would hide damage from them."""

from contextlib import suppress
from typing import LiteralString

import psycopg
from psycopg import sql as compose

from activities.postgres.integrity_scans import Place
from activities.postgres.sql import Connection, Sql
from domain.errors import Unavailable
from domain.order import Target

_LENIENT: LiteralString = (
    "SELECT name FROM pg_settings WHERE setting = 'on'"
    " AND name IN ('zero_damaged_pages', 'ignore_checksum_failure') ORDER BY name DESC"
)


def live_place(sql: Sql, target: Target, database: str) -> Place:
    """Return where programs reach the live server: inside its container, through its socket."""
    server = target.postgres
    password = sql.password(target.project, server)
    lenient: tuple[str, ...] = ()
    door: dict[str, str] = {}
    with (
        suppress(Unavailable, psycopg.Error),
        sql.live(target, database=database, timeout_seconds=30) as connection,
    ):
        lenient, door = _lenient(connection), _door(connection)
    return Place(
        container=server.container_id,
        owner=f"{server.uid}:{server.gid}",
        user=server.user,
        database=database,
        environment={**door, **({"PGPASSWORD": password} if password else {})},
        lenient=lenient,
    )


def _door(connection: Connection) -> dict[str, str]:
    """Return where the server's socket is, which its programs look for where they were built to."""
    row = connection.execute(
        "SELECT current_setting('unix_socket_directories'), current_setting('port')"
    ).fetchone()
    directories, port = (str(row[0]), str(row[1])) if row is not None else ("", "5432")
    socket = next((one.strip() for one in directories.split(",") if one.strip().startswith("/")), "")
    return {"PGHOST": socket or "127.0.0.1", "PGPORT": port}


def strict(connection: Connection) -> None:
    """Switch off for this session what has damaged pages read as empty or as whole ones."""
    for name in _lenient(connection):
        connection.execute(compose.SQL("SET {} = off").format(compose.Identifier(name)))


def _lenient(connection: Connection) -> tuple[str, ...]:
    return tuple(str(name) for (name,) in connection.execute(_LENIENT).fetchall())
