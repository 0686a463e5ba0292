"""Which relation a damaged file belongs to, and which of its other blocks are damaged."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import LiteralString

import psycopg

from activities.postgres.integrity_scans import watched
from activities.postgres.sql import Connection
from activities.postgres.witnesses import block_in
from domain.diagnosis import DamagedBlock

_MAX_BLOCKS = 64
_FILES: LiteralString = """
SELECT pg_relation_filepath(c.oid),
       coalesce(nullif(c.reltablespace, 0), d.dattablespace) || '/' || d.oid || '/'
           || pg_relation_filenode(c.oid),
       c.relkind IN ('i', 'I'), n.nspname || '.' || c.relname,
       CASE WHEN c.relkind IN ('r', 'm', 't') THEN c.oid::int8 END
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_database d ON d.datname = current_database()
 WHERE pg_relation_filepath(c.oid) = ANY(%s)"""
_LAST_BLOCK: LiteralString = "SELECT pg_relation_size(%s::oid) / current_setting('block_size')::int - 1"
_READ: LiteralString = (
    "SELECT count(*) FROM verify_heapam(%s::oid, check_toast => false, startblock => %s, endblock => %s)"
)


@dataclass(frozen=True)
class Located:
    """Damaged blocks with the relations behind them."""

    blocks: tuple[DamagedBlock, ...]
    tables: frozenset[str]
    indexes: frozenset[str]


def locate(connection: Connection, named: Iterable[tuple[str, int]]) -> Located:
    """Find the relations of this database behind files and blocks that a check or the log named."""
    seen = set(named)
    blocks: list[DamagedBlock] = []
    tables: set[str] = set()
    indexes: set[str] = set()
    rows = connection.execute(_FILES, [sorted({path for path, _ in seen})]).fetchall()
    for path, wal_path, is_index, name, heap in rows:
        known = {block for file, block in seen if file == path}
        (indexes if is_index else tables).add(str(name))
        if heap is not None:
            known |= _further_blocks(connection, int(str(heap)), str(name))
        blocks += [DamagedBlock(relation=str(name), path=str(wal_path), block=b) for b in sorted(known)]
    return Located(tuple(blocks), frozenset(tables), frozenset(indexes))


def _further_blocks(connection: Connection, oid: int, name: str) -> set[int]:
    """Return the blocks of a table that cannot be read.

    A check ends at the first one with an error that names it, so the next look begins behind it.
    """
    return watched(lambda: _read_on(connection, oid), f"mapping the damage in {name}")


def _read_on(connection: Connection, oid: int) -> set[int]:
    found: set[int] = set()
    begin = 0
    row = connection.execute(_LAST_BLOCK, [oid]).fetchone()
    last = int(str(row[0])) if row is not None else -1
    while begin <= last and len(found) < _MAX_BLOCKS:
        try:
            connection.execute(_READ, [oid, begin, last])
        except psycopg.Error as error:
            named = block_in(str(error))
            if named is None or connection.broken:
                break
            found.add(named[1])
            begin = named[1] + 1
        else:
            break
    return found
