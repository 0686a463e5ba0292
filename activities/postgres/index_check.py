"""One index held against its table: by amcheck, and by counting the table's rows through it."""

from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg import sql

from activities.postgres.integrity_counts import HEAP_ONLY, lost, number
from activities.postgres.integrity_scans import watched
from activities.postgres.sql import Connection
from domain.recovery import Proof

# An index is looked for by the name that the checks write: schema and index without quotes.
_FIND: LiteralString = """
SELECT c.oid::int8, n.nspname, c.relname, t.oid::int8, tn.nspname, t.relname, a.amname = 'btree',
       i.indisvalid AND i.indisready AND i.indislive, i.indisunique, pg_relation_filenode(c.oid)::int8,
       (SELECT array_agg(pg_get_indexdef(c.oid, k, true) ORDER BY k)
          FROM generate_series(1, i.indnkeyatts) k),
       CASE WHEN i.indexprs IS NULL AND i.indpred IS NULL THEN
           (SELECT array_agg(pg_get_indexdef(c.oid, k, true)
                   || CASE WHEN i.indoption[k - 1] & 1 > 0 THEN ' DESC' ELSE ' ASC' END
                   || CASE WHEN i.indoption[k - 1] & 2 > 0 THEN ' NULLS FIRST' ELSE ' NULLS LAST' END
                   ORDER BY k)
              FROM generate_series(1, i.indnkeyatts) k) END
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_class t ON t.oid = i.indrelid JOIN pg_namespace tn ON tn.oid = t.relnamespace
  JOIN pg_am a ON a.oid = c.relam
 WHERE n.nspname || '.' || c.relname = %s"""
_CHECK: LiteralString = "SELECT bt_index_check(%s::int8::oid::regclass, true)"
_THROUGH_INDEX: LiteralString = (
    "SET LOCAL enable_seqscan=off; SET LOCAL enable_sort=off; SET LOCAL enable_incremental_sort=off;"
    " SET LOCAL enable_bitmapscan=off; SET LOCAL enable_indexscan=on; SET LOCAL enable_indexonlyscan=on;"
    " SET LOCAL max_parallel_workers_per_gather=0"
)


@dataclass(frozen=True)
class Index:
    """An index as the catalog knows it."""

    oid: int
    schema: str
    name: str
    table_oid: int
    table_schema: str
    table: str
    btree: bool
    usable: bool
    """Valid, ready and live."""
    unique: bool
    filenode: int
    keys: tuple[str, ...]
    """Columns or expressions."""
    order: tuple[str, ...] = ()
    """Its columns as ``ORDER BY`` takes them; none for an index with an expression or a predicate.

    Their functions belong to whoever made them: amcheck calls them as the table's owner, a query of ours
    would call them as a superuser.
    """

    @property
    def spoken(self) -> str:
        """``schema.index``."""
        return f"{self.schema}.{self.name}"

    @property
    def spoken_table(self) -> str:
        """``schema.table``."""
        return f"{self.table_schema}.{self.table}"


def find_index(connection: Connection, name: str) -> Index | None:
    """Return the index of that name, or ``None`` when there is none any more."""
    row = connection.execute(_FIND, [name]).fetchone()
    if row is None:
        return None
    oid, schema, index, table_oid, table_schema, table, btree, usable, unique, filenode, *rest = row
    return Index(
        oid=int(str(oid)),
        schema=str(schema),
        name=str(index),
        table_oid=int(str(table_oid)),
        table_schema=str(table_schema),
        table=str(table),
        btree=bool(btree),
        usable=bool(usable),
        unique=bool(unique),
        filenode=int(str(filenode)),
        keys=_texts(rest[0]),
        order=_texts(rest[1]),
    )


def check_index(connection: Connection, index: Index) -> Proof:
    """Hold an index against its table; only a btree can be read by amcheck, and not each counted through.

    Raises ``psycopg.Error`` when the server closes the connection under it.
    """
    name = f"index {index.spoken}"
    if not index.usable:
        return Proof(name=name, passed=False, evidence="the index is not valid")
    if not index.btree:
        return Proof(name=name, passed=True, evidence="rebuilt and valid; no check reads this kind of index")
    try:
        watched(lambda: connection.execute(_CHECK, [index.oid]), f"checking {index.spoken}")
    except (psycopg.errors.UndefinedFunction, psycopg.errors.InsufficientPrivilege) as error:
        return Proof(name=name, passed=None, evidence=_line(error))
    except psycopg.Error as error:
        if lost(connection):
            raise
        return Proof(name=name, passed=False, evidence=_line(error))
    heap, through = count_through(connection, index)
    if through is None:
        return Proof(name=name, passed=True, evidence="every row of its table is in it")
    said = f"{heap:,} rows in the table, {through:,} through the index"
    return Proof(name=name, passed=heap == through, evidence=f"every row of its table is in it; {said}")


def count_through(connection: Connection, index: Index) -> tuple[int, int | None]:
    """Count the rows of a table by reading it, and by walking the index, in one snapshot.

    The second is ``None`` where the planner would not walk this index. Raises ``psycopg.Error``.
    """
    table = sql.Identifier(index.table_schema, index.table)
    read = sql.SQL("SELECT count(*) FROM ONLY {}").format(table)
    # The catalog's own words for the columns, which PostgreSQL quoted.
    order = sql.SQL(", ".join(index.order))
    walk = sql.SQL("SELECT count(*) FROM (SELECT 1 FROM ONLY {} ORDER BY {} OFFSET 0) w").format(table, order)
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        connection.execute(HEAP_ONLY)
        heap = watched(lambda: number(connection, read), f"counting {index.spoken_table}")
        if not index.order:
            return heap, None
        connection.execute(_THROUGH_INDEX)
        plan = connection.execute(sql.SQL("EXPLAIN (FORMAT TEXT) ") + walk).fetchall()
        # The planner names an index without its schema, quoted where it needs to be.
        if not any(f" using {index.name} on " in str(line[0]).replace('"', "") for line in plan):
            return heap, None
        return heap, watched(lambda: number(connection, walk), f"counting through {index.spoken}")


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(text) for text in value) if isinstance(value, list) else ()


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
