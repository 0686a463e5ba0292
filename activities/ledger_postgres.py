"""Markers in PostgreSQL: one row each, in a schema of its own."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import psycopg

from activities.ledger_deadlines import ANSWER_SECONDS, CONNECT_SECONDS, shut_when_late, speaking
from activities.ledger_places import Place
from domain.ledger import Store


class PostgresMarkers:
    """Rows of ``dr.marker``, as durable as any other row: the session changes no setting of that."""

    def __init__(self, place: Place, *, may_create: bool = True) -> None:
        """Connect; make schema and table when missing, unless only inserts are allowed now."""
        with speaking(Store.POSTGRES):
            self._connection = psycopg.connect(
                host=place.host,
                port=place.port,
                user=place.user,
                password=place.secrets.get("password", ""),
                dbname=place.database,
                connect_timeout=CONNECT_SECONDS,
                autocommit=True,
                application_name="dr ledger",
                options=f"-c statement_timeout={ANSWER_SECONDS * 1000 - 1000} -c lock_timeout=2000",
            )
            if may_create and not self._has_table():
                with shut_when_late(self._connection.fileno()):
                    self._connection.execute("CREATE SCHEMA IF NOT EXISTS dr")
                    self._connection.execute(
                        "CREATE TABLE IF NOT EXISTS dr.marker"
                        " (n bigint PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp())"
                    )

    def write(self, n: int) -> None:
        """Insert one row in a transaction of its own."""
        with speaking(Store.POSTGRES), shut_when_late(self._connection.fileno()):
            self._connection.execute("INSERT INTO dr.marker (n) VALUES (%s)", (n,))

    def present(self) -> set[int]:
        """Return the numbers in the table."""
        with speaking(Store.POSTGRES), shut_when_late(self._connection.fileno()):
            return numbers_in(self._connection)

    def prune(self, numbers: Sequence[int]) -> None:
        """Delete rows."""
        with speaking(Store.POSTGRES), shut_when_late(self._connection.fileno()):
            self._connection.execute("DELETE FROM dr.marker WHERE n = ANY(%s)", (list(numbers),))

    def close(self) -> None:
        """Close the connection."""
        with suppress(psycopg.Error, OSError):
            self._connection.close()

    def _has_table(self) -> bool:
        with shut_when_late(self._connection.fileno()):
            return has_table(self._connection)


def has_table(connection: psycopg.Connection[Any]) -> bool:
    """Tell whether there is a table of markers."""
    row = connection.execute("SELECT to_regclass('dr.marker') IS NOT NULL").fetchone()
    return row is not None and bool(row[0])


def numbers_in(connection: psycopg.Connection[Any]) -> set[int]:
    """Return the numbers in ``dr.marker``; no such table holds none."""
    if not has_table(connection):
        return set()
    return {int(n) for (n,) in connection.execute("SELECT n FROM dr.marker")}
