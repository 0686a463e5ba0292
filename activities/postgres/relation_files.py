"""The files behind a database's relations: what the directory has, against what the catalog counted.

A server that has a file open goes on reading it after it was deleted, and a server that crashed makes a
new, hollow one while it replays its WAL: the answers of queries show neither.
"""

import time
from typing import LiteralString

import psycopg

from activities.postgres.integrity_scans import Scan
from activities.postgres.sql import Connection
from activities.pulse import beat
from domain.diagnosis import Finding

_AGAIN_SECONDS = 0.5
"""A relation that is dropped, emptied or cut off by VACUUM at this moment is in order the next time."""
_INDEX, _TOAST = "i", "t"
_NEVER_WRITTEN_PAGES = 1024
"""Pages that a file may lack at its end: a server adds empty ones in advance, up to 512 at once, which are in
no WAL. The catalog counts them, and a copy that replayed the WAL, or a disk after a power cut, lacks them."""

# The catalog counts pages at the end of VACUUM, ANALYZE and CREATE INDEX. From then on a file only grows:
# whatever makes it shorter counts again, or takes a new file.
_FILES: LiteralString = """
WITH known AS (
    SELECT n.nspname || '.' || c.relname AS name, c.relkind::text AS kind,
           pg_relation_filepath(c.oid) AS path, c.relpages::int8 AS pages,
           c.reltuples > 0 AS held_rows,
           current_setting('block_size')::int8 AS block,
           pg_size_bytes(current_setting('segment_size')) / current_setting('block_size')::int8 AS segment,
           o.oid::regclass::text AS owner
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      LEFT JOIN pg_am a ON a.oid = c.relam LEFT JOIN pg_index i ON i.indexrelid = c.oid
      LEFT JOIN pg_class o ON o.reltoastrelid = c.oid AND c.relkind = 't'
     WHERE c.relpersistence <> 't'
       AND (c.relkind = 'S' OR (c.relkind IN ('r', 'm', 't') AND a.amname = 'heap')
            OR (c.relkind = 'i' AND i.indisvalid))
)
SELECT k.name, k.kind, k.path, k.owner, f.size IS NULL AS missing, k.pages,
       (f.size + coalesce((SELECT sum((pg_stat_file(k.path || '.' || n, true)).size)
                             FROM generate_series(1, (k.pages - 1) / k.segment) n), 0))::int8 / k.block,
       k.held_rows
  FROM known k LEFT JOIN LATERAL pg_stat_file(k.path, true) f ON true
 WHERE k.path IS NOT NULL
 ORDER BY k.kind = 'i', k.pages DESC, 1"""


def bytes_of_all(connection: Connection) -> int:
    """Return the size of all databases of a server."""
    row = connection.execute("SELECT sum(pg_database_size(oid))::int8 FROM pg_database").fetchone()
    return int(str(row[0])) if row is not None else 0


def look_at_files(connection: Connection) -> Scan:
    """Find files that are missing, empty, or far shorter than the catalog once counted.

    Without the privilege to look at files nothing is measured. What is found is looked at twice.
    """
    beat("looking at the files of the relations")
    try:
        total, seen = _look(connection)
        if seen:
            time.sleep(_AGAIN_SECONDS)
            total, again = _look(connection)
            seen = {key: said for key, said in seen.items() if key in again}
    except psycopg.Error as error:
        return Scan(Finding.NOT_MEASURED, (str(error).strip().splitlines() or ["no answer"])[0])
    tables = tuple(sorted(name for (name, _, is_index) in seen if not is_index))
    indexes = tuple(sorted(name for (name, _, is_index) in seen if is_index))
    if not seen:
        finding = Finding.SOUND if total else Finding.NOT_MEASURED
        return Scan(finding, f"{total} relations have their files, as long as the catalog counted")
    finding = Finding.DAMAGED if tables else Finding.INDEX_DAMAGED
    first = next(iter(seen.values()))
    more = f", and {len(seen) - 1} more" if len(seen) > 1 else ""
    return Scan(finding, first + more, tables=tables, indexes=indexes)


def _look(connection: Connection) -> tuple[int, dict[tuple[str, str, bool], str]]:
    """Return how many relations there are, and what is wrong by name, path and whether it is an index."""
    rows = connection.execute(_FILES).fetchall()
    found: dict[tuple[str, str, bool], str] = {}
    for name, kind, path, owner, missing, counted, there, held_rows in rows:
        told = f"the TOAST table of {owner}" if kind == _TOAST and owner else str(name)
        pages = 0 if there is None else int(str(there))
        # An index of any kind has a page at least.
        at_least = 1 if kind == _INDEX or held_rows else 0
        wanted = max(int(str(counted)) - _NEVER_WRITTEN_PAGES, at_least)
        if missing:
            found[str(name), str(path), kind == _INDEX] = f"{told}: its file {path} is missing"
        elif pages < wanted:
            said = f"{told}: its file {path} has {pages} pages, the catalog counted {counted}"
            found[str(name), str(path), kind == _INDEX] = said
    return len(rows), found
