"""The other databases of the server: the exchange brings them back too, so the copy of each is looked at."""

from collections.abc import Callable
from dataclasses import replace
from typing import LiteralString

from activities.engine import Engine
from activities.postgres.integrity_counts import count_rows
from activities.postgres.integrity_scans import Place, Scan, amcheck, full_read, watched
from activities.postgres.sql import Connection, Sql
from domain.diagnosis import Finding
from domain.errors import Unavailable
from domain.recovery import Copy, Proof

_OTHERS: LiteralString = (
    "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate"
    " AND datconnlimit <> -2 AND datname <> current_database() ORDER BY datname"
)
_TABLES: LiteralString = (
    "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind IN ('r', 'm')"
    " AND nspname <> 'information_schema' AND nspname !~ '^pg_'"
)


def other_databases(connection: Connection) -> tuple[str, ...]:
    """Return the databases beside the one that is connected to."""
    return tuple(str(name) for (name,) in connection.execute(_OTHERS).fetchall())


def check_others(
    engine: Engine,
    sql: Sql,
    copy: Copy,
    place: Place,
    proof: Callable[[str, Scan], Proof],
    *,
    limit_seconds: int,
) -> list[Proof]:
    """Return the proofs of all other databases: pg_amcheck and a full read of each.

    One with tables that nothing could measure is said to be so; one without any has nothing to show.
    """
    with sql.copy(copy, timeout_seconds=10) as connection:
        names = other_databases(connection)
    proofs: list[Proof] = []
    for name in names:
        refusal = _refusal(sql, copy, name)
        if refusal:
            proofs.append(Proof(name=f"database {name}", passed=None, evidence=refusal[:300]))
            continue
        there = replace(place, database=name)
        scans = {
            f"amcheck {name}": amcheck(engine, there, limit_seconds=limit_seconds),
            f"full read {name}": full_read(engine, there, limit_seconds=limit_seconds, unlogged=False),
        }
        made = [
            proof(title, scan)
            for title, scan in scans.items()
            if scan.crashed or scan.finding is not Finding.NOT_MEASURED
        ]
        if not made and _has_tables(sql, copy, name):
            said = "; ".join(scan.evidence for scan in scans.values())
            made = [Proof(name=f"database {name}", passed=None, evidence=said[:300])]
        proofs += made
        if not any(scan.crashed for scan in scans.values()):
            proofs += _counted(sql, copy, name, limit_seconds)
    return proofs


def _refusal(sql: Sql, copy: Copy, database: str) -> str:
    """Return why the copy lets nobody into a database, or nothing."""
    try:
        with sql.copy(copy, database=database, timeout_seconds=10):
            return ""
    except Unavailable as error:
        return str(error)


def _counted(sql: Sql, copy: Copy, database: str, limit_seconds: int) -> list[Proof]:
    """Count the rows of a database in two ways: pages of zeros pass every scan."""
    with sql.copy(copy, database=database, timeout_seconds=limit_seconds) as connection:
        counted = watched(lambda: count_rows(connection), f"counting the rows of {database}")
    if counted.finding is Finding.NOT_MEASURED and not counted.crashed:
        return []
    passed = counted.finding is Finding.SOUND and not counted.crashed
    return [Proof(name=f"heap against index {database}", passed=passed, evidence=counted.evidence[:300])]


def _has_tables(sql: Sql, copy: Copy, database: str) -> bool:
    with sql.copy(copy, database=database, timeout_seconds=10) as connection:
        row = connection.execute(_TABLES).fetchone()
    return row is not None and bool(row[0])
