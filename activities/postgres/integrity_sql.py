"""The checks of a copy that are made in SQL, each ending as a proof, also when the copy crashes under it."""

from collections.abc import Callable
from functools import partial
from typing import LiteralString

import psycopg

from activities.postgres.contents import read_contents
from activities.postgres.integrity_counts import (
    Counted,
    check_foreign_keys,
    check_indexes_valid,
    count_rows,
    lost,
)
from activities.postgres.sql import Connection
from activities.postgres.witnesses import damage_in
from activities.pulse import beat
from domain.contents import Contents
from domain.diagnosis import Finding
from domain.recovery import FOREIGN_KEYS, Proof
from domain.stack import Check

_OBJECTS = ("constraints", "indexes", "policies", "triggers", "functions")
_MARKER: LiteralString = "SELECT max(n) FROM dr.marker"
_UNLOGGED: LiteralString = (
    "SELECT c.oid::regclass::text FROM pg_class c WHERE c.relkind = 'r' AND c.relpersistence = 'u' ORDER BY 1"
)
_COLLATIONS: LiteralString = """
SELECT 'database ' || datname FROM pg_database
 WHERE datname = current_database() AND datcollversion <> pg_database_collation_actual_version(oid)
UNION ALL
SELECT 'collation ' || collname FROM pg_collation
 WHERE collversion <> pg_collation_actual_version(oid) ORDER BY 1"""
_COLLATIONS_SINCE = 150000
_PREPARED: LiteralString = "SELECT gid || ' in ' || database FROM pg_prepared_xacts ORDER BY prepared"


class CrashedError(Exception):
    """A backend of the copy died under a check; ``proof`` says so."""

    def __init__(self, proof: Proof) -> None:
        """Carry the failed proof."""
        super().__init__(proof.evidence)
        self.proof = proof


def guarded(connection: Connection, name: str, check: Callable[[], Proof]) -> Proof:
    """Make one check; damage and a server that dies under it fail it, other errors leave it unmade.

    Raises ``CrashedError`` when the connection is gone, since no further check can be made on it.
    """
    beat(f"checking {name}")
    try:
        return check()
    except psycopg.Error as error:
        said = _words(error)
        if lost(connection):
            said = f"a backend of the copy died: {said}"
            raise CrashedError(Proof(name=name, passed=False, evidence=said)) from error
        broken = isinstance(error, psycopg.errors.DataCorrupted | psycopg.errors.IndexCorrupted)
        failed = broken or damage_in(said) is not None
        return Proof(name=name, passed=False if failed else None, evidence=said)


def _words(error: psycopg.Error) -> str:
    """Return the first line of an error; of one about values its name alone, for it quotes rows (I10)."""
    said = (str(error).strip().splitlines() or [type(error).__name__])[0]
    about_values = (error.sqlstate or "").startswith(("22", "23")) and damage_in(said) is None
    return f"{type(error).__name__} ({error.sqlstate})" if about_values else said


def count_proofs(counted: Counted) -> tuple[Proof, ...]:
    """Turn the counts into proofs; a database in which no row was seen proves nothing."""
    passed = {Finding.SOUND: True, Finding.NOT_MEASURED: None}.get(counted.finding, False)
    if counted.crashed:
        passed = False
    # The ledger's own rows show nothing of the application's.
    theirs = {name: rows for name, rows in counted.rows.items() if not name.startswith("dr.")}
    rows = sum(theirs.values())
    return (
        Proof(name="heap against index", passed=passed, evidence=counted.evidence),
        Proof(
            name="rows observed",
            passed=rows > 0,
            evidence=f"{rows:,} rows in {len(theirs)} tables",
        ),
    )


def check_rows(connection: Connection, only: frozenset[int] | None = None) -> tuple[Proof, ...]:
    """Count heap against index, of all tables or of those named."""
    counted = count_rows(connection, only)
    if only is not None:
        return count_proofs(counted)[:1] if only else ()
    return count_proofs(counted)


def check_objects(
    connection: Connection, baseline: Contents | None, checks: tuple[Check, ...]
) -> list[Proof]:
    """Foreign keys, valid indexes, the checks of the stack file, and the comparison with the backup."""
    proofs = [
        guarded(connection, FOREIGN_KEYS, lambda: check_foreign_keys(connection)),
        guarded(connection, "indexes valid", lambda: check_indexes_valid(connection)),
    ]
    proofs += stack_checks(connection, checks)
    if baseline is None:
        proofs.append(Proof(name="contents", passed=None, evidence="the backup recorded no contents"))
    else:
        proofs.append(guarded(connection, "contents", lambda: compare(baseline, read_contents(connection))))
    return proofs


def check_what_stays_behind(connection: Connection) -> list[Proof]:
    """Say what a physical copy cannot bring back or may have wrong; nothing where there is no such thing.

    Unlogged tables come back empty; text indexes are to be made again where the C library sorts
    otherwise than it did.
    """
    unlogged = [str(row[0]) for row in connection.execute(_UNLOGGED).fetchall()]
    proofs = []
    if unlogged:
        said = f"{len(unlogged)} come back empty: {', '.join(unlogged[:5])}"
        proofs.append(Proof(name="unlogged tables", passed=None, evidence=said))
    if connection.info.server_version >= _COLLATIONS_SINCE:
        sorted_otherwise = [str(row[0]) for row in connection.execute(_COLLATIONS).fetchall()]
        if sorted_otherwise:
            said = f"made under another version: {', '.join(sorted_otherwise[:5])}; REINDEX its text indexes"
            proofs.append(Proof(name="collations", passed=None, evidence=said))
    return proofs


def check_prepared(connection: Connection) -> list[Proof]:
    """Name transactions that wait for their second phase: they hold locks; nothing where there is none."""
    waiting = [str(row[0]) for row in connection.execute(_PREPARED).fetchall()]
    if not waiting:
        return []
    said = f"{len(waiting)} wait for COMMIT PREPARED or ROLLBACK PREPARED: {', '.join(waiting[:5])}"
    return [Proof(name="prepared transactions", passed=None, evidence=said)]


def stack_checks(connection: Connection, checks: tuple[Check, ...]) -> list[Proof]:
    """Run the integrity checks of the stack file."""
    return [guarded(connection, check.name, partial(_stack_check, connection, check)) for check in checks]


def _stack_check(connection: Connection, check: Check) -> Proof:
    """Run one check in a read-only transaction: its SQL must yield one number.

    A cursor takes one query and nothing else: no second statement, no COPY to a program (F-K5).
    """
    with connection.transaction():
        connection.execute("SET TRANSACTION READ ONLY")
        # Asked for in binary form, it goes by the protocol that takes a single statement.
        connection.execute(f"DECLARE dr_check NO SCROLL CURSOR FOR {check.sql}".encode(), binary=True)
        row = connection.execute("FETCH 1 FROM dr_check").fetchone()
    try:
        found = float(str(row[0])) if row is not None else None
    except ValueError:
        found = None
    if found is None:
        return Proof(name=check.name, passed=False, evidence="the check yields no number")
    passed = found == 0 if check.expect == "zero" else found > 0
    because = f": {check.because}" if check.because and not passed else ""
    return Proof(name=check.name, passed=passed, evidence=f"{found:g}, expected {check.expect}{because}")


def compare(before: Contents, now: Contents) -> Proof:
    """Compare with the state at the backup; the copy is later, so only what went missing counts."""
    rows = {table.name: table.rows for table in now.tables}
    gone = [table.name for table in before.tables if table.name not in rows]
    emptied = [t.name for t in before.tables if t.rows > 0 and rows.get(t.name) == 0]
    fewer = [
        f"{kind}: {getattr(now, kind)} of {getattr(before, kind)}"
        for kind in _OBJECTS
        if getattr(now, kind) < getattr(before, kind)
    ]
    marker = before.last_marker
    if marker is not None and (now.last_marker is None or now.last_marker < marker):
        fewer.append(f"ledger marker: {now.last_marker}, at the backup {marker}")
    problems = [
        *(f"table {name} is missing" for name in gone),
        *(f"table {name} is empty" for name in emptied),
        *fewer,
    ]
    if not before.tables:
        return Proof(name="contents", passed=None, evidence="the backup recorded no table")
    said = "; ".join(problems[:5]) or (
        f"all {len(before.tables)} tables of the backup are there, "
        f"{sum(rows.values()):,} rows now, {sum(t.rows for t in before.tables):,} then"
    )
    return Proof(name="contents", passed=not problems, evidence=said)


def last_marker(connection: Connection) -> tuple[Proof, int | None]:
    """Return the highest marker of the ledger; a database without ledger is not measured."""
    try:
        row = connection.execute(_MARKER).fetchone()
    except (psycopg.errors.UndefinedTable, psycopg.errors.InsufficientPrivilege) as error:
        return Proof(name="ledger", passed=None, evidence=str(error).splitlines()[0]), None
    number = None if row is None or row[0] is None else int(str(row[0]))
    said = f"highest marker {number}" if number is not None else "the ledger holds no marker"
    return Proof(name="ledger", passed=True if number is not None else None, evidence=said), number
