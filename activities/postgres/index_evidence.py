"""Where damage that shows in indexes really comes from: the table behind them, or a changed collation."""

from collections.abc import Iterable
from typing import LiteralString

import psycopg

from activities.postgres.sql import Connection
from domain.diagnosis import Finding, Look, Witness

_MANY = 2
_INDEXES_OF: LiteralString = """
SELECT t.oid::regclass::text, array_agg(n.nspname || '.' || c.relname)
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_class t ON t.oid = i.indrelid JOIN pg_am a ON a.oid = c.relam
 WHERE a.amname = 'btree' AND i.indisvalid AND i.indpred IS NULL
 GROUP BY t.oid HAVING bool_or(n.nspname || '.' || c.relname = ANY(%s)) ORDER BY 1"""
_DATABASE_COLLATION: LiteralString = """
SELECT datcollate, datcollversion, pg_database_collation_actual_version(oid)
  FROM pg_database WHERE datname = current_database()"""
_COLLATIONS: LiteralString = """
SELECT c.collname, c.collversion, pg_collation_actual_version(c.oid) FROM pg_collation c
 WHERE c.collversion IS NOT NULL AND pg_collation_actual_version(c.oid) IS DISTINCT FROM c.collversion
   AND EXISTS (SELECT 1 FROM pg_attribute a JOIN pg_class r ON r.oid = a.attrelid
                WHERE r.relkind = 'i' AND a.attcollation = c.oid)
 ORDER BY 1"""
_ON_TEXT: LiteralString = """
SELECT count(*) FROM pg_index i
 WHERE EXISTS (SELECT 1 FROM unnest(i.indcollation) o JOIN pg_collation c ON c.oid = o
                WHERE c.collname NOT IN ('C', 'POSIX'))
   AND i.indrelid >= 16384"""
_DATABASE_VERSIONS_SINCE = 150000


def disagreeing_tables(connection: Connection, disagreeing: Iterable[str]) -> str | None:
    """Return that every index of a table, of two at least, lacks rows of it, or ``None``.

    One index that disagrees with its table and with the others lies; when all of them do, it is the table
    that changed. Where the collation changed, the order of all of them did.
    """
    names = sorted(disagreeing)
    if len(names) < _MANY or collation_changes(connection):
        return None
    for table, indexes in connection.execute(_INDEXES_OF, [names]).fetchall():
        known = [str(name) for name in indexes] if isinstance(indexes, list) else []
        if len(known) >= _MANY and set(known) <= set(names):
            return f"every index of {table} ({len(known)}) disagrees with it: the table is what changed"
    return None


def collation_changes(connection: Connection) -> list[str]:
    """Return the collations whose version changed under the database, as sentences."""
    found: list[tuple[object, ...]] = []
    if connection.info.server_version >= _DATABASE_VERSIONS_SINCE:
        found = connection.execute(_DATABASE_COLLATION).fetchall()
    found += connection.execute(_COLLATIONS).fetchall()
    return [
        f"the order of text in {name} changed from version {before} to {now}"
        for name, before, now in found
        if before is not None and before != now
    ]


def look_at_collations(connection: Connection, database: str) -> Witness:
    """Say whether the C library sorts as it did when the indexes were built (F-C17)."""
    name = f"collations {database}"
    try:
        changes = collation_changes(connection)
        row = connection.execute(_ON_TEXT).fetchone()
    except psycopg.Error as error:
        said = (str(error).strip().splitlines() or ["no answer"])[0]
        return Witness(name=name, finding=Finding.NOT_MEASURED, evidence=said)
    if not changes:
        return Witness(name=name, finding=Finding.SOUND, evidence="text is ordered as it was")
    count = row[0] if row is not None else "all"
    return Witness(
        name=name,
        # Nothing is damaged by it alone: the checks of the indexes say which of them are.
        look=Look.OTHER,
        finding=Finding.NOT_MEASURED,
        evidence=f"{'; '.join(changes)}: {count} indexes on text are suspect until they are rebuilt"[:300],
    )
