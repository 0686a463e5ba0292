"""Checks in SQL that see what the scans cannot: zeroed pages, orphans, invalid indexes."""

from collections.abc import Container
from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg import sql

from activities.offsite_progress import Progress
from activities.postgres.sql import Connection
from activities.postgres.witnesses import damage_in, file_in
from activities.pulse import beat
from domain.diagnosis import Finding
from domain.recovery import FOREIGN_KEYS, Proof

_TABLES: LiteralString = """
SELECT c.oid::int8, n.nspname, c.relname, c.relpages::int8 * current_setting('block_size')::int8,
       (SELECT n.nspname || '.' || x.relname
          FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am a ON a.oid = x.relam
         WHERE i.indrelid = c.oid AND i.indisvalid AND i.indisready AND i.indpred IS NULL
           AND a.amname = 'btree'
         ORDER BY i.indisprimary DESC, x.relpages LIMIT 1)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'm') AND c.relpersistence = 'p'
   AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'
 ORDER BY c.relpages DESC, 2, 3"""
_FOREIGN_KEYS: LiteralString = """
SELECT k.conname, cn.nspname, c.relname, pn.nspname, p.relname,
       (SELECT array_agg(a.attname ORDER BY u.n) FROM unnest(k.conkey) WITH ORDINALITY u(num, n)
          JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.num),
       (SELECT array_agg(a.attname ORDER BY u.n) FROM unnest(k.confkey) WITH ORDINALITY u(num, n)
          JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.num),
       (SELECT array_agg(format('OPERATOR(%I.%s)', on_.nspname, o.oprname) ORDER BY u.n)
          FROM unnest(k.conpfeqop) WITH ORDINALITY u(op, n)
          JOIN pg_operator o ON o.oid = u.op JOIN pg_namespace on_ ON on_.oid = o.oprnamespace)
  FROM pg_constraint k
  JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace cn ON cn.oid = c.relnamespace
  JOIN pg_class p ON p.oid = k.confrelid JOIN pg_namespace pn ON pn.oid = p.relnamespace
 WHERE k.contype = 'f' AND k.convalidated AND k.conparentid = 0
   AND c.relpersistence = 'p' AND p.relpersistence = 'p'
 ORDER BY 2, 3, 1"""
_INDEX_FILES: LiteralString = """
SELECT pg_relation_filepath(c.oid), n.nspname || '.' || c.relname
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE i.indrelid = %s::oid"""
_INVALID: LiteralString = """
SELECT c.oid::regclass::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
 WHERE NOT (i.indisvalid AND i.indisready AND i.indislive)"""
HEAP_ONLY: LiteralString = (
    "SET LOCAL enable_seqscan=on; SET LOCAL enable_indexscan=off;"
    " SET LOCAL enable_indexonlyscan=off; SET LOCAL enable_bitmapscan=off;"
    " SET LOCAL jit=off; SET LOCAL work_mem='64MB'"
)
_INDEX_ONLY: LiteralString = (
    "SET LOCAL enable_seqscan=off; SET LOCAL enable_indexscan=on;"
    " SET LOCAL enable_indexonlyscan=on; SET LOCAL enable_bitmapscan=off"
)


@dataclass(frozen=True)
class Counted:
    """Rows per table, seen through the heap and, where it has a full index, through that."""

    finding: Finding
    evidence: str
    rows: dict[str, int]
    """Rows of each table that could be read, by ``schema.table``."""
    compared: int = 0
    """Tables for which both counts were had."""
    damaged: tuple[str, ...] = ()
    indexes: tuple[str, ...] = ()
    """The indexes that are damaged where their tables are not, by ``schema.index``."""
    crashed: bool = False


@dataclass(frozen=True)
class Orphans:
    """So many rows of one foreign key point to nothing in the table ``of``."""

    rows: int
    of: str


@dataclass(frozen=True)
class _Problem:
    """What was wrong with one table."""

    finding: Finding
    said: str
    index: str = ""


def count_rows(connection: Connection, only: frozenset[int] | None = None) -> Counted:
    """Count every permanent table twice in one snapshot; ``only`` narrows it to these OIDs.

    A zeroed page is a valid empty page to every other check; here its rows are missing from the
    heap while the index still has them.
    """
    rows: dict[str, int] = {}
    compared = 0
    problems: list[tuple[str, _Problem]] = []
    tables: list[tuple[object, ...]] = []
    try:
        tables = connection.execute(_TABLES).fetchall()
        tables = [row for row in tables if only is None or row[0] in only]
        # As large as they were when the server last looked: of a damaged file nothing is asked here.
        done, progress = 0, Progress("", sum(int(str(row[3])) for row in tables), about=True)
        for oid, schema, table, size, index in tables:
            name = f"{schema}.{table}"
            progress.what = f"counting {name}"
            progress.tell(done)
            done += int(str(size))
            heap, through_index, problem = _count_both(connection, oid, str(schema), str(table), index)
            if heap is not None:
                rows[name] = heap
            compared += through_index is not None
            if problem is not None:
                problems.append((name, problem))
    except psycopg.Error as error:
        return Counted(
            Finding.NOT_MEASURED, f"counting was cut off: {_line(error)}", rows, crashed=lost(connection)
        )
    damaged = tuple(name for name, problem in problems if problem.finding is Finding.DAMAGED)
    indexes = tuple(problem.index for _, problem in problems if problem.index)
    for wanted in (Finding.DAMAGED, Finding.INDEX_DAMAGED, Finding.NOT_MEASURED):
        said = next((f"{name}: {seen.said}" for name, seen in problems if seen.finding is wanted), None)
        if said is not None:
            return Counted(wanted, said, rows, compared, damaged, indexes)
    said = f"{sum(rows.values()):,} rows in {len(rows)} tables; heap and index agree on {compared}"
    return Counted(Finding.SOUND if compared else Finding.NOT_MEASURED, said, rows, compared)


def _count_both(
    connection: Connection, oid: object, schema: str, table: str, index: object
) -> tuple[int | None, int | None, _Problem | None]:
    query = sql.SQL("SELECT count(*) FROM ONLY {}").format(sql.Identifier(schema, table))
    heap: int | None = None
    through: int | None = None
    try:
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            connection.execute(HEAP_ONLY)
            heap = number(connection, query)
            if index is not None:
                connection.execute(_INDEX_ONLY)
                if _uses_index_only(connection, query):
                    through = number(connection, query)
    except psycopg.Error as error:
        said = _line(error)
        if lost(connection):
            raise
        broken = isinstance(error, psycopg.errors.DataCorrupted | psycopg.errors.IndexCorrupted)
        if not broken and damage_in(said) is None:
            return heap, through, _Problem(Finding.NOT_MEASURED, said)
        return heap, through, _whose(connection, oid, error, str(index or ""))
    if through is None or heap == through:
        return heap, through, None
    said = f"{heap:,} rows in the heap, {through:,} in the index {index}"
    if heap < through:
        return heap, through, _Problem(Finding.DAMAGED, said)
    return heap, through, _Problem(Finding.INDEX_DAMAGED, said, str(index))


def _whose(connection: Connection, oid: object, error: psycopg.Error, counted: str) -> _Problem:
    """Tell a damaged index from a damaged table by the file that an error names.

    A count through an index reads the table too, and the planner opens every index before the table is
    read: neither the plan nor the moment says whose the damage is. ``counted`` is the index that was asked.
    """
    said, named = _line(error), file_in(str(error))
    if named is None:
        if isinstance(error, psycopg.errors.IndexCorrupted):
            return _Problem(Finding.INDEX_DAMAGED, said, counted)
        return _Problem(Finding.DAMAGED, said)
    indexes = {str(path): str(name) for path, name in connection.execute(_INDEX_FILES, [oid]).fetchall()}
    if named in indexes:
        return _Problem(Finding.INDEX_DAMAGED, said, indexes[named])
    return _Problem(Finding.DAMAGED, said)


def _uses_index_only(connection: Connection, query: sql.Composed) -> bool:
    """Tell whether the planner obeys; a count that reads the heap after all proves nothing."""
    plan = connection.execute(sql.SQL("EXPLAIN (FORMAT TEXT) ") + query).fetchall()
    return any("Index Only Scan" in str(line[0]) for line in plan)


def check_foreign_keys(connection: Connection) -> Proof:
    """Look for rows whose referenced row is missing, for every validated foreign key, by the heap alone."""
    found = count_orphans(connection)
    orphans = [f"{key}: {one.rows:,} rows without their {one.of}" for key, one in found.items() if one.rows]
    if orphans:
        return Proof(name=FOREIGN_KEYS, passed=False, evidence="; ".join(orphans)[:300])
    if not found:
        return Proof(name=FOREIGN_KEYS, passed=None, evidence="the database has no foreign key")
    return Proof(name=FOREIGN_KEYS, passed=True, evidence=f"{len(found)} followed, no orphan")


def count_orphans(connection: Connection, only: Container[str] | None = None) -> dict[str, Orphans]:
    """Count the rows without their referenced row of each foreign key, by ``schema.table.key``."""
    keys = connection.execute(_FOREIGN_KEYS).fetchall()
    found = {}
    for place, (name, schema, table, other_schema, other, *pairs) in enumerate(keys, 1):
        key = f"{schema}.{table}.{name}"
        if only is not None and key not in only:
            continue
        beat(f"following {table}.{name}, {place} of {len(keys)} foreign keys")
        query = _anti_join((str(schema), str(table)), (str(other_schema), str(other)), *map(_names, pairs))
        with connection.transaction():
            connection.execute("SET TRANSACTION READ ONLY")
            connection.execute(HEAP_ONLY)
            found[key] = Orphans(number(connection, query), f"{other_schema}.{other}")
    return found


def _anti_join(
    child: tuple[str, str],
    parent: tuple[str, str],
    columns: list[str],
    others: list[str],
    operators: list[str],
) -> sql.Composed:
    given = sql.SQL(" AND ").join(sql.SQL("c.{} IS NOT NULL").format(sql.Identifier(a)) for a in columns)
    # The key's own operators: those of an extension need not be on the search path.
    same = sql.SQL(" AND ").join(
        sql.SQL("p.{} {} c.{}").format(sql.Identifier(b), _as_written(operator), sql.Identifier(a))
        for a, b, operator in zip(columns, others, operators, strict=True)
    )
    return sql.SQL("SELECT count(*) FROM {} c WHERE {} AND NOT EXISTS (SELECT 1 FROM {} p WHERE {})").format(
        sql.Identifier(*child), given, sql.Identifier(*parent), same
    )


def _as_written(operator: str) -> sql.SQL:
    """Return an operator as the catalog wrote it, which quoted what had to be."""
    return sql.SQL(operator)


def _names(value: object) -> list[str]:
    return [str(name) for name in value] if isinstance(value, list) else []


def check_indexes_valid(connection: Connection) -> Proof:
    """Every index is valid, ready and live."""
    bad = invalid_indexes(connection)
    said = f"invalid: {', '.join(bad[:5])}" if bad else "every index is valid"
    return Proof(name="indexes valid", passed=not bad, evidence=said)


def invalid_indexes(connection: Connection) -> list[str]:
    """Return the indexes of a database that are not valid, not ready or not live."""
    return [str(row[0]) for row in connection.execute(_INVALID).fetchall()]


def number(connection: Connection, query: sql.Composable) -> int:
    """Return the one number of a query."""
    row = connection.execute(sql.Composed([query])).fetchone()
    return int(str(row[0])) if row is not None else 0


def lost(connection: Connection) -> bool:
    """Tell whether the server closed the connection under a query, as it does when a backend dies."""
    return connection.closed or connection.broken


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
