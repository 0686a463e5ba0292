"""What is wrong with a copy because it was so on the server: no older backup is without it.

A constraint that was violated all the time, an index that was never valid, a table that somebody emptied or
dropped since the backup: the copy follows the WAL to its end, and every other would come to the same. It is
told to people at the gate and not held against the backup, for as long as every row and index reads well.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import LiteralString

import psycopg
from psycopg import sql as compose

from activities.postgres.sql import Connection, Sql
from activities.pulse import beat
from domain.errors import Unavailable
from domain.recovery import FOREIGN_KEYS, Proof, VerifyOrder

_COUNTED, _READ = "heap against index", {"amcheck", "full read"}
_LOGICAL, _CONTENTS = {FOREIGN_KEYS, "indexes valid"}, "contents"
_BEHIND = "ledger marker: "
_SAME = "the data reads well, so an older backup would come to the same"
_STANDS: LiteralString = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::int8 % 4294967296"
_TABLES: LiteralString = """
SELECT n.nspname || '.' || c.relname, n.nspname, c.relname
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND n.nspname || '.' || c.relname = ANY(%s)"""


def told_of(proofs: Sequence[Proof], lost: Callable[[], Sequence[str]] | None = None) -> list[Proof]:
    """Return the proofs with those that only tell how the server was as not passed and not failed.

    ``lost`` names the tables that hold rows on the server and not on the copy; without it the comparison
    with the backup stays as it is, as it does where the copy ends before the backup.
    """
    passed = {proof.name for proof in proofs if proof.passed}
    read = (
        _COUNTED in passed
        and passed & _READ
        and not any(proof.passed is False and _is_of_data(proof) for proof in proofs)
    )
    if not read:
        return list(proofs)
    return [_told(proof, lost) if proof.passed is False else proof for proof in proofs]


def _is_of_data(proof: Proof) -> bool:
    return proof.name not in {*_LOGICAL, _CONTENTS}


def _told(proof: Proof, lost: Callable[[], Sequence[str]] | None) -> Proof:
    if proof.name == _CONTENTS:
        if lost is None or _BEHIND in proof.evidence:
            return proof
        missing = lost()
        if missing:
            said = f"the server still has rows in {', '.join(missing[:5])}; {proof.evidence}"
            return proof.model_copy(update={"evidence": said[:300]})
    said = f"{proof.evidence[: 298 - len(_SAME)]}; {_SAME}"
    return proof.model_copy(update={"passed": None, "evidence": said})


def lost_on_copy(sql: Sql, order: VerifyOrder) -> list[str]:
    """Return the tables of the backup that hold rows on a server that answers, and none on the copy.

    Rows that were written since the copy stands still do not count.
    """
    names = [table.name for table in order.baseline.tables if table.rows] if order.baseline else []
    with sql.copy(order.copy_, timeout_seconds=30) as connection:
        here = _filled(connection, names)
        row = connection.execute(_STANDS).fetchone()
    stands = str(row[0]) if row is not None else ""
    wanted = [name for name in names if name not in here]
    with suppress(Unavailable, psycopg.Error), sql.live(order.target, timeout_seconds=30) as connection:
        return sorted(_filled(connection, wanted, older_than=stands))
    return []


def _filled(connection: Connection, names: Sequence[str], older_than: str = "") -> set[str]:
    """Return those of the tables that hold a row; one that cannot be read is not called empty."""
    filled: set[str] = set()
    for name, schema, table in connection.execute(_TABLES, [list(names)]).fetchall():
        beat(f"looking for rows in {name}")
        older = compose.SQL("WHERE age(xmin) > age({}::text::xid)").format(older_than)
        query = compose.SQL("SELECT EXISTS (SELECT 1 FROM ONLY {} {})").format(
            compose.Identifier(str(schema), str(table)), older if older_than else compose.SQL("")
        )
        try:
            row = connection.execute(query).fetchone()
        except psycopg.Error:
            filled.add(str(name))
            if connection.closed or connection.broken:
                return filled | set(names)
        else:
            filled |= {str(name)} if row == (True,) else set()
    return filled
