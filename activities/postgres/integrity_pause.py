"""Replay of a copy, paused for as long as it is verified and never longer."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import LiteralString

import psycopg

from activities.postgres.sql import Connection, Sql
from activities.pulse import beat
from domain.errors import Unavailable, VerificationFailed
from domain.recovery import Copy

_PAUSE_SECONDS = 30.0
_RESUME_SECONDS = 30.0
_EXCLUSIVE: LiteralString = (
    "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND locktype = 'relation'"
    " AND pid <> pg_backend_pid()"
)


@contextmanager
def paused_replay(sql: Sql, copy: Copy) -> Iterator[str]:
    """Pause replay, give out the LSN at which it stands, and resume it whatever happens.

    Promoting a copy whose replay is paused throws archived WAL away without an error, so the copy
    is not left like that: ``VerificationFailed`` (code ``replay-paused``) when it cannot be resumed.
    """
    try:
        yield _pause(sql, copy)
    finally:
        _resume(sql, copy)


def _pause(sql: Sql, copy: Copy) -> str:
    deadline = time.monotonic() + _PAUSE_SECONDS
    with sql.copy(copy, timeout_seconds=10) as connection:
        if _ask(connection, "SELECT pg_is_in_recovery()::text") != "true":
            raise VerificationFailed(
                "the copy is no standby any more", where=copy.container, code="copy-promoted"
            )
        while time.monotonic() < deadline:
            beat("pausing the replay")
            connection.execute("SELECT pg_wal_replay_pause()")
            while _state(connection) != "paused" and time.monotonic() < deadline:
                time.sleep(0.05)
            # A replayed exclusive lock is held until the record that ends it is replayed.
            if _ask(connection, _EXCLUSIVE) == "0":
                return _ask(connection, "SELECT pg_last_wal_replay_lsn()::text")
            connection.execute("SELECT pg_wal_replay_resume()")
            time.sleep(0.3)
    raise VerificationFailed(
        "a replayed exclusive lock does not go away",
        where=copy.container,
        hint="a transaction was open on the server; try again when more WAL has arrived",
        code="copy-locked",
    )


def _resume(sql: Sql, copy: Copy) -> None:
    """Resume, waiting for a copy that restarts after a crash of a backend."""
    deadline = time.monotonic() + _RESUME_SECONDS
    said = ""
    while time.monotonic() < deadline:
        try:
            with sql.copy(copy, timeout_seconds=10) as connection:
                if _ask(connection, "SELECT pg_is_in_recovery()::text") != "true":
                    return
                connection.execute("SELECT pg_wal_replay_resume()")
                if _state(connection) == "not paused":
                    return
        except (Unavailable, psycopg.Error) as error:
            said = str(error)
        time.sleep(0.1)
    raise VerificationFailed(
        f"replay could not be resumed: {said or 'it stays paused'}",
        where=copy.container,
        hint="SELECT pg_wal_replay_resume() on the copy before it is promoted",
        code="replay-paused",
    )


def _state(connection: Connection) -> str:
    return _ask(connection, "SELECT pg_get_wal_replay_pause_state()")


def _ask(connection: Connection, query: LiteralString) -> str:
    row = connection.execute(query).fetchone()
    return str(row[0]) if row is not None else ""
