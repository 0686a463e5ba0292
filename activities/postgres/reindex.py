"""Rebuilds damaged indexes from their tables while users go on, and drops what a killed attempt left."""

import time
from contextlib import suppress
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg import sql
from temporalio import activity

from activities.catalogue import list_backups
from activities.engine import Engine
from activities.postgres.index_check import Index, find_index
from activities.postgres.integrity_counts import lost
from activities.postgres.integrity_scans import watched
from activities.postgres.one_shot import prove
from activities.postgres.sql import Connection, Sql
from activities.postgres.witnesses import damage_in
from activities.pulse import beat
from activities.records import Records
from activities.room import free_bytes
from activities.tokens import Tokens
from domain.diagnosis import DamagedIndex
from domain.errors import DrError, Refused, Unavailable, VerificationFailed
from domain.reindexing import Reindexed, ReindexOrder

KIND = "reindex"
_FORMER_SECONDS = 900
_LOCK_SECONDS = 60
_ROOM_FACTOR = 2
_BUILDS: LiteralString = """
SELECT count(*) FROM pg_stat_progress_create_index WHERE datname = current_database() AND relid = %s::oid"""
_LEFTOVERS: LiteralString = """
SELECT n.nspname, c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE i.indrelid = %s::oid AND NOT i.indisvalid AND c.relname ~ '_cc(new|old)[0-9]*$' ORDER BY 2"""
_SIZES: LiteralString = "SELECT pg_table_size(%s::oid)::int8, pg_relation_size(%s::oid)::int8"


class _TableDamagedError(Exception):
    """What a rebuild saw of a damaged table."""


class Reindexing:
    """Rebuilds indexes; a rebuilt one is told from a damaged one by its file, which is another."""

    def __init__(self, engine: Engine, sql: Sql, tokens: Tokens, state: Path) -> None:
        """Act through these clients; ``state`` is DR_STATE."""
        self._engine = engine
        self._sql = sql
        self._tokens = tokens
        self._records = Records(state)

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_reindexed(self, order: ReindexOrder) -> Reindexed:
        """Rebuild each index that has not been rebuilt in this attempt, concurrently where that can be.

        Raises ``Refused`` without room, ``Unavailable`` when a long transaction is in the way, and
        ``VerificationFailed`` (code ``duplicate-rows``) when a unique index cannot be made: then its table
        has rows with the same key, which are named by their columns and never by their values.
        """
        prove(self._engine, order.target)
        self._tokens.admit(order, order.target.stack)
        done: dict[str, list[str]] = {"rebuilt": [], "gone": [], "leftovers": [], "locked": []}
        damage = ""
        began = int(time.time())
        by_database = groupby(sorted(order.indexes, key=lambda i: (i.database, i.name)), lambda i: i.database)
        for database, indexes in by_database:
            try:
                self._one_database(order, database, list(indexes), done)
            except _TableDamagedError as seen:
                damage = str(seen)
                break
            except psycopg.Error as error:
                damage = self._crashed(order, began)
                if not damage:
                    raise _away(error, database) from None
                break
        return Reindexed(
            sentence=_sentence(done, damage),
            rebuilt=tuple(done["rebuilt"]),
            gone=tuple(done["gone"]),
            leftovers_dropped=tuple(done["leftovers"]),
            locked=tuple(done["locked"]),
            table_damage=damage[:300],
        )

    def _one_database(
        self, order: ReindexOrder, database: str, indexes: list[DamagedIndex], done: dict[str, list[str]]
    ) -> None:
        with self._sql.live(order.target, database=database) as connection:
            connection.execute(sql.SQL("SET lock_timeout = {}").format(f"{_LOCK_SECONDS}s"))
            for number, named in enumerate(indexes, 1):
                index = find_index(connection, named.name)
                if index is None:
                    done["gone"].append(named.name)
                    continue
                _wait_for_former(connection, index)
                # A rebuild that went on without its worker has ended now, and may have changed the file.
                index = find_index(connection, named.name) or index
                done["leftovers"] += _drop_leftovers(connection, index)
                if self._is_due(order, database, index):
                    self._tokens.admit(order, order.target.stack)
                    self._prove_sound_ground(order, connection, index)
                    said = f"rebuilding {index.spoken}, {number} of {len(indexes)} in {database}"
                    if not _rebuild(connection, index, said):
                        done["locked"].append(index.spoken)
                done["rebuilt"].append(index.spoken)

    def _is_due(self, order: ReindexOrder, database: str, index: Index) -> bool:
        """Note the file that a damaged index has; one that has another file by now was rebuilt."""
        known = self._records.read(KIND, _record(order)) or {}
        key = f"{order.attempt}:{database}:{index.spoken}"
        if key not in known:
            self._records.write(KIND, _record(order), {**known, key: index.filenode})
            return True
        return bool(known[key] == index.filenode) or not index.usable

    def _prove_sound_ground(self, order: ReindexOrder, connection: Connection, index: Index) -> None:
        """See that there is room, and that the table is not an empty shell of what was backed up."""
        row = connection.execute(_SIZES, [index.table_oid, index.table_oid]).fetchone()
        with_toast, table = (int(str(size)) for size in row) if row is not None else (0, 0)
        free = free_bytes(order.target.postgres.volumes_root)
        if free < _ROOM_FACTOR * with_toast:
            raise Refused(
                f"{free // 2**20} MiB are free, a rebuild of {index.spoken} may take"
                f" {_ROOM_FACTOR * with_toast // 2**20} MiB",
                where=order.target.postgres.volumes_root,
                hint="make room on this disk, then dr retry",
                code="no-room",
            )
        rows = _rows_at_backup(order, index)
        if table == 0 and rows:
            raise _TableDamagedError(
                f"{index.spoken_table} has no page, and had {rows:,} rows at the newest backup"
            )

    def _crashed(self, order: ReindexOrder, since: int) -> str:
        """Return the log's line about a backend that died meanwhile: no error of the connection then."""
        log = self._engine.logs(order.target.postgres.container_id, tail=400, since=since)
        return next((line.strip() for line in log.splitlines() if "was terminated by signal" in line), "")


def _record(order: ReindexOrder) -> str:
    return order.recovery_id or order.target.stack


def _rebuild(connection: Connection, index: Index, said: str) -> bool:
    """Rebuild one index; return whether that was possible without a lock on its table."""
    name = sql.Identifier(index.schema, index.name)
    try:
        try:
            concurrently = sql.SQL("REINDEX INDEX CONCURRENTLY {}").format(name)
            watched(lambda: connection.execute(concurrently), said)
        except psycopg.errors.FeatureNotSupported:
            # System catalogs and exclusion constraints.
            plain = sql.SQL("REINDEX INDEX {}").format(name)
            watched(lambda: connection.execute(plain), said)
            return False
    except psycopg.Error as error:
        if lost(connection):
            raise
        # What stopped the rebuild is the news; leftovers that stay are dropped by the next attempt.
        with suppress(DrError, _TableDamagedError):
            _drop_leftovers(connection, index)
        raise _meaning_of(error, index) from None
    return True


def _meaning_of(error: psycopg.Error, index: Index) -> DrError | _TableDamagedError:
    """Return what a failed rebuild means; no value of any row is in it."""
    said = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if isinstance(error, psycopg.errors.UniqueViolation):
        keys = ", ".join(index.keys)
        return VerificationFailed(
            f"{index.spoken_table} has rows with the same ({keys}), so {index.spoken} cannot be made",
            where=index.spoken,
            hint=f"find them with SELECT {keys}, count(*) … GROUP BY {keys} HAVING count(*) > 1, keep one of"
            " each, then dr retry",
            code="duplicate-rows",
        )
    damaged = (psycopg.errors.DataCorrupted, psycopg.errors.IndexCorrupted, psycopg.errors.UndefinedFile)
    if isinstance(error, damaged) or damage_in(said):
        return _TableDamagedError(f"{index.spoken_table}: {said}")
    if isinstance(error, psycopg.errors.DiskFull):
        hint = "make room on this disk, then dr retry"
        return Refused(f"{index.spoken}: {said}", where=index.spoken, hint=hint, code="no-room")
    if isinstance(error, psycopg.errors.LockNotAvailable | psycopg.errors.DeadlockDetected):
        return Unavailable(
            f"a transaction was in the way of {index.spoken} for {_LOCK_SECONDS} s",
            where=index.spoken_table,
            hint="SELECT pid, xact_start, state FROM pg_stat_activity ORDER BY xact_start",
            code="reindex-blocked",
        )
    return Unavailable(f"{index.spoken} was not rebuilt: {said}", where=index.spoken, code="reindex-failed")


def _away(error: psycopg.Error, database: str) -> Unavailable:
    said = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return Unavailable(f"the rebuild was cut off: {said}", where=database, code="reindex-cut-off")


def _wait_for_former(connection: Connection, index: Index) -> None:
    """Wait for a rebuild of this table that goes on: the server ends what a killed worker began."""
    deadline = time.monotonic() + _FORMER_SECONDS
    while time.monotonic() < deadline:
        row = connection.execute(_BUILDS, [index.table_oid]).fetchone()
        if row is None or row[0] == 0:
            return
        beat(f"an earlier rebuild on {index.spoken_table} goes on")
        time.sleep(0.3)
    raise Unavailable("an earlier rebuild goes on", where=index.spoken_table, code="reindex-running")


def _drop_leftovers(connection: Connection, index: Index) -> list[str]:
    """Drop the invalid indexes that an interrupted rebuild left on the table."""
    dropped = []
    for schema, name in connection.execute(_LEFTOVERS, [index.table_oid]).fetchall():
        beat(f"dropping what is left of a rebuild: {name}")
        drop = sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(sql.Identifier(str(schema), str(name)))
        try:
            connection.execute(drop)
        except psycopg.Error as error:
            if lost(connection):
                raise
            raise _meaning_of(error, index) from None
        dropped.append(f"{schema}.{name}")
    return dropped


def _rows_at_backup(order: ReindexOrder, index: Index) -> int:
    """Return how many rows the table had at the newest backup, or 0 when nobody knows."""
    try:
        backups = list_backups(Path(order.target.shelf))
    except Refused:
        return 0
    tables = backups[0].contents.tables if backups else ()
    return next((t.rows for t in tables if t.name == index.spoken_table), 0)


def _sentence(done: dict[str, list[str]], damage: str) -> str:
    if damage:
        return f"The table behind an index is damaged: {damage}"[:160]
    parts = [f"Rebuilt {', '.join(done['rebuilt']) or 'nothing'}"]
    parts += [f"with a lock on its table: {', '.join(done['locked'])}"] if done["locked"] else []
    parts += [f"gone meanwhile: {', '.join(done['gone'])}"] if done["gone"] else []
    parts += [f"leftovers dropped: {', '.join(done['leftovers'])}"] if done["leftovers"] else []
    return f"{'; '.join(parts)} at {datetime.now(UTC):%H:%M:%S}Z"[:160]
