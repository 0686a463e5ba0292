"""What a database holds at one snapshot: read beside a dump, and again on a restored copy to compare.

The digest of a table is the sum, over all its rows, of a 64-bit hash of the row's text. A sum does not
depend on the order of the rows, unlike an exclusive-or it counts duplicates, and it is made in one scan
together with the count. The hash is ``hashtextextended``: PostgreSQL keeps it stable over its versions,
because hash partitions are stored by it; it needs no MD5, which some builds forbid; it differs only
between byte orders. The text is made by ``format``, which calls the types' own output functions: a cast
could be anybody's function, and it would run with our rights.
"""

import time
from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg import sql as compose

from activities.offsite_progress import Progress
from activities.postgres.sql import Connection
from activities.pulse import beat
from domain.contents import DatabaseState, SequenceState, TableState

_DIGEST = "sum64"
_SETTINGS = {
    # Rows hidden by a policy are an error, never a smaller count.
    "row_security": "off",
    # Nothing of ours is looked up where others may put a function of the same name.
    "search_path": "",
    "client_encoding": "UTF8",
    # How values are spelled decides about the digest.
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "iso_8601",
    "TimeZone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "lc_monetary": "C",
    "xmlbinary": "base64",
    "quote_all_identifiers": "off",
    # As long as the program that dumps waits: it needs the same locks.
    "lock_timeout": "60s",
    # The transaction that keeps a snapshot waits for the job that dumps it.
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "transaction_timeout": "0",
}
_SETTLE: LiteralString = """
SELECT set_config(w.name, w.value, false)
  FROM unnest(%s::text[], %s::text[]) AS w(name, value) JOIN pg_settings s ON s.name = w.name"""
_OURS: LiteralString = (
    "n.nspname <> 'information_schema' AND n.nspname <> 'dr' AND n.nspname !~ '^pg_(catalog|toast|temp)'"
)
_TABLES: LiteralString = """
SELECT n.nspname::text, c.relname::text, quote_ident(n.nspname) || '.' || quote_ident(c.relname),
       CASE WHEN n.nspname = 'dr' THEN 'it is the ledger''s'
            WHEN c.relpersistence = 'u' THEN 'it is unlogged'
            WHEN e.objid IS NOT NULL THEN 'it belongs to an extension' ELSE '' END,
       CASE WHEN n.nspname = 'dr' OR c.relpersistence = 'u' THEN 0
            ELSE coalesce(pg_relation_size(c.oid), 0) END::int8
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_depend e ON e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e'
 WHERE c.relkind = 'r' AND c.relpersistence <> 't'
   AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_(catalog|toast|temp)'
 ORDER BY 5, 3"""
_OBJECTS: dict[str, LiteralString] = {
    "schemas": "SELECT count(*) FROM pg_namespace n WHERE {ours}",
    "views": "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relkind IN ('v', 'm') AND {ours}",
    "constraints": "SELECT count(*) FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace"
    " WHERE {ours}",
    # An invalid index is not dumped.
    "indexes": "SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
    " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE (i.indisvalid OR c.relkind = 'I') AND {ours}",
    "policies": "SELECT count(*) FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid"
    " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {ours}",
    # A policy does nothing on a table whose row security is off.
    "row security": "SELECT sum(c.relrowsecurity::int + c.relforcerowsecurity::int) FROM pg_class c"
    " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p') AND {ours}",
    "defaults": "SELECT count(*) FROM pg_attrdef d JOIN pg_class c ON c.oid = d.adrelid"
    " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {ours}",
    "types": "SELECT count(*) FROM pg_type y JOIN pg_namespace n ON n.oid = y.typnamespace"
    " WHERE y.typtype IN ('d', 'e', 'r') AND {ours}",
    "enabled triggers": "SELECT count(*) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"
    " JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND {ours}",
    "triggers": "SELECT count(*) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"
    " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE NOT t.tgisinternal AND {ours}",
    "functions": "SELECT count(*) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE {ours}",
    # A list of rights that is not there means the usual ones, which a dump does not spell out.
    "grants": """SELECT count(*) FROM (
 SELECT c.oid, 0, a.grantee, a.privilege_type FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace,
        aclexplode(coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char",
        c.relowner))) a WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND {ours}
 UNION SELECT c.oid, t.attnum, a.grantee, a.privilege_type FROM pg_attribute t JOIN pg_class c
        ON c.oid = t.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(t.attacl) a
        WHERE NOT t.attisdropped AND {ours}
 UNION SELECT p.oid, 0, a.grantee, a.privilege_type FROM pg_proc p JOIN pg_namespace n
        ON n.oid = p.pronamespace, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a WHERE {ours}
 UNION SELECT n.oid, 0, a.grantee, a.privilege_type FROM pg_namespace n,
        aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a WHERE {ours}) granted""",
    "large objects": "SELECT count(*) FROM pg_largeobject_metadata",
}
_EXTENSIONS: LiteralString = "SELECT extname || ' ' || extversion FROM pg_extension ORDER BY 1"
_SEQUENCES: LiteralString = f"""
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname), pg_sequence_last_value(c.oid),
       s.seqincrement > 0 AND NOT s.seqcycle, tn.nspname::text, t.relname::text, a.attname::text
  FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')
        AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0
  LEFT JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
        AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
  LEFT JOIN pg_class t ON t.oid = a.attrelid LEFT JOIN pg_namespace tn ON tn.oid = t.relnamespace
 WHERE c.relpersistence = 'p' AND {_OURS}
   AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass
                    AND e.objid = c.oid AND e.deptype = 'e')
 ORDER BY 1"""  # noqa: S608 - constant text


@dataclass
class Budget:
    """How long rows may still be digested, over all databases together."""

    seconds: float

    def spend(self, since: float) -> None:
        """Take off what has passed since a moment of the monotonic clock."""
        self.seconds = max(self.seconds - (time.monotonic() - since), 0.0)


def settle(connection: Connection) -> None:
    """Make a session read all rows, and spell them as every session of ours does."""
    connection.execute(_SETTLE, [list(_SETTINGS), list(_SETTINGS.values())])


def read_sequences(connection: Connection) -> tuple[SequenceState, ...]:
    """Return where the sequences stand. They know no snapshot: what is dumped later is never behind this."""
    found = []
    for name, value, rising, schema, table, column in connection.execute(_SEQUENCES).fetchall():
        last = None if value is None else int(str(value))
        owned = bool(rising) and table is not None
        covers = _covers(connection, last, str(schema), str(table), str(column)) if owned else None
        found.append(SequenceState(name=str(name), last_value=last, rising=bool(rising), covers=covers))
    return tuple(found)


def read_database(
    connection: Connection, name: str, sequences: tuple[SequenceState, ...], budget: Budget
) -> DatabaseState:
    """Count and digest all of one database in the transaction that is open.

    Smaller tables come first: when the budget ends, what was not digested is the largest, and it is named.
    """
    tables: list[TableState] = []
    left_out: list[str] = []
    found = connection.execute(_TABLES).fetchall()
    done, progress = 0, Progress("", sum(int(str(row[4])) for row in found if not row[3]))
    for schema, table, spelled, why_not, size in found:
        if why_not:
            left_out.append(f"{spelled} is not compared: {why_not}")
            continue
        progress.what = f"counting {name}, now {spelled}"
        progress.tell(done)
        done += int(str(size))
        state = _read_table(connection, compose.Identifier(str(schema), str(table)), str(spelled), budget)
        if not state.digest:
            left_out.append(f"{spelled} is compared by its count alone: there was no time for its digest")
        tables.append(state)
    return DatabaseState(
        name=name,
        tables=tuple(sorted(tables, key=lambda one: one.name)),
        sequences=sequences,
        extensions=tuple(str(row[0]) for row in connection.execute(_EXTENSIONS).fetchall()),
        objects={
            kind: _number(connection, compose.SQL(query.replace("{ours}", _OURS)))
            for kind, query in _OBJECTS.items()
        },
        left_out=tuple(left_out),
        last_marker=_last_marker(connection),
    )


def _read_table(
    connection: Connection, table: compose.Identifier, spelled: str, budget: Budget
) -> TableState:
    began = time.monotonic()
    if budget.seconds > 0:
        try:
            # Nested, so that running out of time does not end the snapshot with it.
            with connection.transaction():
                _limit(connection, max(int(budget.seconds * 1000), 1))
                query = compose.SQL(
                    "SELECT count(*), coalesce(sum(hashtextextended("
                    "format('%s', dr_row.*) COLLATE \"C\", 0)), 0) FROM ONLY {} AS dr_row"
                ).format(table)
                rows, digest = connection.execute(query).fetchone() or (0, 0)
                _limit(connection, 0)
            return TableState(name=spelled, rows=int(str(rows)), digest=f"{_DIGEST}:{digest}")
        except psycopg.errors.QueryCanceled:
            pass
        finally:
            budget.spend(began)
    rows = _number(connection, compose.SQL("SELECT count(*) FROM ONLY {}").format(table))
    return TableState(name=spelled, rows=rows)


def _limit(connection: Connection, milliseconds: int) -> None:
    connection.execute("SELECT set_config('statement_timeout', %s, true)", [str(milliseconds)])


def _covers(connection: Connection, last: int | None, schema: str, table: str, column: str) -> bool:
    """Tell whether a sequence stands at or past every value of the column that owns it."""
    beat(f"looking for the greatest {schema}.{table}.{column}")
    query = compose.SQL("SELECT max({}) FROM {}").format(
        compose.Identifier(column), compose.Identifier(schema, table)
    )
    row = connection.execute(query).fetchone()
    greatest = None if row is None or row[0] is None else int(str(row[0]))
    return greatest is None or (last is not None and last >= greatest)


def _last_marker(connection: Connection) -> int | None:
    if connection.execute("SELECT to_regclass('dr.marker')").fetchone() == (None,):
        return None
    row = connection.execute("SELECT max(n) FROM dr.marker").fetchone()
    return None if row is None or row[0] is None else int(str(row[0]))


def _number(connection: Connection, query: compose.SQL | compose.Composed) -> int:
    row = connection.execute(query).fetchone()
    return 0 if row is None or row[0] is None else int(str(row[0]))
