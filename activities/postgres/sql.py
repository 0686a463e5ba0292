"""SQL to a live server over TCP, and to an isolated copy over its Unix socket."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from activities.secrets import Secrets
from activities.tokens import require_admitted
from domain.errors import Unavailable
from domain.order import PostgresTarget, Target
from domain.paths import host_path
from domain.recovery import Copy

Connection = psycopg.Connection[tuple[object, ...]]


class Sql:
    """Opens connections: one code path, two ways to say where."""

    def __init__(self, secrets: Secrets) -> None:
        """Resolve passwords through ``secrets``."""
        self._secrets = secrets

    @contextmanager
    def live(
        self, target: Target, *, database: str | None = None, timeout_seconds: int = 0
    ) -> Iterator[Connection]:
        """Connect to the live server: its port on 127.0.0.1, else its container's address; autocommit.

        ``timeout_seconds`` bounds each statement, 0 leaves it open. Raises ``Unavailable``.
        """
        server = target.postgres
        host, port = self._place(server)
        with _connect(
            host=host,
            port=port,
            user=server.user,
            password=self.password(target.project, server),
            dbname=database or server.database,
            options=f"-c statement_timeout={timeout_seconds * 1000} -c lock_timeout=5000",
        ) as connection:
            yield connection

    @contextmanager
    def copy(
        self, copy: Copy, *, database: str | None = None, timeout_seconds: int = 0
    ) -> Iterator[Connection]:
        """Connect to an isolated copy over its Unix socket; autocommit. Raises ``Unavailable``."""
        with _connect(
            # What does not begin with a slash would be the name of a host.
            host=host_path(copy.socket_dir, "the copy's socket"),
            port=5432,
            user=copy.user,
            password="",
            dbname=database or copy.database,
            options=f"-c statement_timeout={timeout_seconds * 1000}",
        ) as connection:
            yield connection

    def _place(self, server: PostgresTarget) -> tuple[str, int]:
        if server.host_port is not None:
            return "127.0.0.1", server.host_port
        # Asked each time: a container that was started again may have another address.
        found = self._secrets.engine.look(server.container_id)
        networks = found.raw["NetworkSettings"]["Networks"] if found is not None else None
        for network in (networks or {}).values():
            if network.get("IPAddress"):
                return str(network["IPAddress"]), server.port
        raise Unavailable(
            "the server's port is not published on this host, and its container has no address",
            where=server.container_name,
            hint="does it run?",
            code="postgres-no-port",
        )

    def password(self, project: str, server: PostgresTarget) -> str:
        """Return the password of the server's user, or an empty text when none is named."""
        return self._secrets.reveal(server.password, project) if server.password else ""


@contextmanager
def _connect(
    *, host: str, port: int, user: str, password: str, dbname: str, options: str
) -> Iterator[Connection]:
    require_admitted()
    try:
        connection: Connection = psycopg.connect(
            host=host,
            port=port,
            user=user,
            password=password,
            dbname=dbname,
            connect_timeout=3,
            autocommit=True,
            application_name="dr",
            options=options,
            tcp_user_timeout=5000,
        )
    except psycopg.OperationalError as error:
        raise Unavailable(
            f"PostgreSQL does not answer: {_first_line(error)}",
            where=f"{host}:{port}",
            code="postgres-unavailable",
        ) from None
    try:
        yield connection
    finally:
        connection.close()


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
