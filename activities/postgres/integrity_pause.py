"""Replay of a copy, paused for as long as it is verified and never longer."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import LiteralString

import psycopg

from activities.postgres.slots import make_slot
from activities.postgres.sql import Connection, Sql
from activities.pulse import beat
from domain.errors import Unavailable, VerificationFailed
from domain.recovery import Copy

_PAUSE_SECONDS = 30.0
_RESUME_SECONDS = 30.0
_PROMOTE_SECONDS = 60
_STANDS: LiteralString = "SELECT coalesce(pg_last_wal_replay_lsn(), pg_current_wal_lsn())::text"
# What no check can see (a table that an open transaction makes, temporary ones too) is in nobody's way.
_EXCLUSIVE: LiteralString = (
    "SELECT coalesce(string_agg(DISTINCT c.oid::regclass::text, ', '), '') FROM pg_locks l"
    " JOIN pg_class c ON c.oid = l.relation JOIN pg_database d ON d.oid = l.database OR l.database = 0"
    " WHERE l.mode = 'AccessExclusiveLock' AND l.locktype = 'relation' AND l.pid <> pg_backend_pid()"
    " AND d.datname = current_database()"
)


@contextmanager
def paused_replay(sql: Sql, copy: Copy, *, ended: str = "") -> Iterator[str]:
    """Pause replay, give out the LSN at which it stands, and resume it whatever happens.

    Promoting a copy whose replay is paused throws archived WAL away without an error, so the copy
    is not left like that: ``VerificationFailed`` (code ``replay-paused``) when it cannot be resumed.

    ``ended`` says that there is nothing left to replay, and names the slot of the next receiver: the
    lock of a transaction that died with its server would stay for ever then, so that the copy is
    promoted here, after that slot was made, and stands still for good.
    """
    try:
        yield _pause(sql, copy, ended)
    finally:
        _resume(sql, copy)


def _pause(sql: Sql, copy: Copy, ended: str) -> str:
    deadline = time.monotonic() + _PAUSE_SECONDS
    locked = ""
    with sql.copy(copy, timeout_seconds=_PROMOTE_SECONDS) as connection:
        if _ask(connection, "SELECT pg_is_in_recovery()::text") != "true":
            if ended:
                return _ask(connection, _STANDS)
            raise VerificationFailed(
                "the copy is no standby any more", where=copy.container, code="copy-promoted"
            )
        while time.monotonic() < deadline:
            beat("pausing the replay")
            connection.execute("SELECT pg_wal_replay_pause()")
            while _state(connection) != "paused" and time.monotonic() < deadline:
                time.sleep(0.05)
            # A replayed exclusive lock is held until the record that ends it is replayed.
            locked = _ask(connection, _EXCLUSIVE)
            if not locked:
                return _ask(connection, "SELECT pg_last_wal_replay_lsn()::text")
            connection.execute("SELECT pg_wal_replay_resume()")
            if ended:
                return _promoted(connection, copy, ended)
            time.sleep(0.3)
    raise VerificationFailed(
        f"a replayed exclusive lock on {locked[:200] or 'a table'} does not go away",
        where=copy.container,
        hint="a transaction is open on the server: end it, SELECT pg_switch_wal() there, and try again",
        code="copy-locked",
    )


def _promoted(connection: Connection, copy: Copy, slot: str) -> str:
    """Promote a copy to which no more WAL will come; its replay goes on already."""
    deadline = time.monotonic() + _RESUME_SECONDS
    while _state(connection) != "not paused":
        if time.monotonic() > deadline:
            raise VerificationFailed("replay stays paused", where=copy.container, code="replay-paused")
        time.sleep(0.05)
    beat("promoting the copy: a dead transaction locks it")
    make_slot(connection, slot)
    connection.execute("SELECT pg_promote(true, %s)", [_PROMOTE_SECONDS // 2])
    if _ask(connection, "SELECT pg_is_in_recovery()::text") == "true":
        raise Unavailable("the copy is still in recovery", where=copy.container, code="promote-slow")
    return _ask(connection, _STANDS)


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
