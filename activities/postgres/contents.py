"""What a database holds: counted on the server at a backup, and again on a copy to compare."""

from psycopg import sql as compose

from activities.offsite_progress import Progress
from activities.postgres.dump import MEMBERSHIPS, ROLES
from activities.postgres.dump_contents import read_sequences
from activities.postgres.integrity_counts import invalid_indexes
from activities.postgres.sql import Connection
from domain.contents import Contents, TableState

BESIDE = ("sequences", "invalid", "roles", "memberships")
"""Where the sequences of the database stand, which of its indexes are not valid, and all roles."""
_OURS = "nspname <> 'information_schema' AND nspname <> 'dr' AND nspname !~ '^pg_'"
_TABLES = f"""
SELECT nspname::text, relname::text, relpages::int8 * current_setting('block_size')::int8
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE relkind = 'r' AND relpersistence = 'p' AND {_OURS} ORDER BY 1, 2
"""  # noqa: S608 - constant text
_COUNTS = f"""
SELECT
  (SELECT count(*) FROM pg_constraint JOIN pg_namespace n ON n.oid = connamespace WHERE {_OURS}),
  (SELECT count(*) FROM pg_index JOIN pg_class c ON c.oid = indexrelid
     JOIN pg_namespace n ON n.oid = relnamespace WHERE {_OURS}),
  (SELECT count(*) FROM pg_policy JOIN pg_class c ON c.oid = polrelid
     JOIN pg_namespace n ON n.oid = relnamespace WHERE {_OURS}),
  (SELECT count(*) FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid
     JOIN pg_namespace n ON n.oid = relnamespace WHERE NOT tgisinternal AND {_OURS}),
  (SELECT count(*) FROM pg_proc JOIN pg_namespace n ON n.oid = pronamespace WHERE {_OURS})
"""  # noqa: S608 - constant text


def read_contents(connection: Connection) -> Contents:
    """Count all of one database in one snapshot.

    Unlogged tables are left out (they come back empty), and so is the ledger's schema ``dr``.
    Tables are named ``schema.table`` without quotes.
    """
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        tables = []
        found = connection.execute(_TABLES.encode()).fetchall()
        done, progress = 0, Progress("", sum(int(str(row[2])) for row in found), about=True)
        for schema, name, size in found:
            progress.what = f"counting {schema}.{name}"
            progress.tell(done)
            done += int(str(size))
            query = compose.SQL("SELECT count(*) FROM {}").format(compose.Identifier(str(schema), str(name)))
            tables.append(TableState(name=f"{schema}.{name}", rows=_number(connection, query) or 0))
        row = connection.execute(_COUNTS.encode()).fetchone() or (0,) * 5
        constraints, indexes, policies, triggers, functions = (int(str(value)) for value in row)
        ledger = _number(connection, compose.SQL("SELECT to_regclass('dr.marker')::oid::bigint"))
        marker = _number(connection, compose.SQL("SELECT max(n) FROM dr.marker")) if ledger else None
    return Contents(
        tables=tuple(tables),
        constraints=constraints,
        indexes=indexes,
        policies=policies,
        triggers=triggers,
        functions=functions,
        last_marker=marker,
    )


def read_beside(connection: Connection) -> Contents:
    """Return what no snapshot covers, that is what ``BESIDE`` names."""
    roles, members = (connection.execute(query.encode()).fetchall() for query in (ROLES, MEMBERSHIPS))
    return Contents(
        sequences=read_sequences(connection),
        invalid=tuple(sorted(invalid_indexes(connection))),
        roles=tuple(str(row[0]) for row in roles),
        memberships=tuple(str(row[0]) for row in members),
    )


def _number(connection: Connection, query: compose.SQL | compose.Composed) -> int | None:
    row = connection.execute(query).fetchone()
    return None if row is None or row[0] is None else int(str(row[0]))
