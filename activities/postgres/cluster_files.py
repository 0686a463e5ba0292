"""Files that no table owns: the status of the transactions, and the directories of the databases.

A status that was overwritten with zeros makes rows vanish without an error: a transaction that is neither
committed nor running is taken for one that crashed, and every check passes over what it wrote.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import LiteralString

import psycopg

from activities.postgres.sql import Connection, Sql
from activities.pulse import beat
from domain.diagnosis import Finding, Look, Witness
from domain.errors import Unavailable
from domain.order import Target

STATUS, DATABASES = "transaction status", "directories of the databases"
_PAGE_BYTES, _PAGES_A_SEGMENT = 8192, 32
_XIDS_A_PAGE = _PAGE_BYTES * 4
_PAGES_A_ROUND = 2**32 // _XIDS_A_PAGE
_SURE_BYTES = 512
"""Of a page that is not full, and whose first transactions may have been open at the last checkpoint."""
_LEAST_BYTES = 64
_CARRIED = (
    "Reads of such a server remove rows for good, and a copy that replays its WAL loses them too: stop it"
    " now, keep its volume, restore a backup with the WAL from before it was started so, then dr retry"
)
_AGAIN_SECONDS = 0.5
"""A database that is made or dropped at this moment is in order the next time."""
_RANGE: LiteralString = """
SELECT split_part(c.next_xid, ':', 1)::int8 * 4294967296 + split_part(c.next_xid, ':', 2)::int8,
       pg_snapshot_xmin(pg_current_snapshot())::text::int8,
       (SELECT array_agg(DISTINCT datfrozenxid::text::int8) FROM pg_database WHERE datfrozenxid <> '0'::xid)
  FROM pg_control_checkpoint() c"""
_ZERO: LiteralString = """
SELECT w.page, r.bytes IS NULL OR length(r.bytes) < w.wanted
  FROM unnest(%s::int8[], %s::text[], %s::int8[], %s::int8[]) w(page, path, at, wanted),
       LATERAL (SELECT pg_read_binary_file(w.path, w.at, w.wanted, true) AS bytes) r
 WHERE r.bytes IS NULL OR length(r.bytes) < w.wanted
    OR r.bytes = decode(repeat('00', length(r.bytes)), 'hex')
 ORDER BY w.page"""
# Whose limit is -2 was half dropped, and is to be dropped again.
_DIRECTORIES: LiteralString = """
SELECT datname, 'base/' || oid FROM pg_database
 WHERE dattablespace = 1663 AND datconnlimit <> -2
   AND coalesce((pg_stat_file('base/' || oid || '/PG_VERSION', true)).size, 0) = 0
 ORDER BY datname"""
_CLOSED: LiteralString = (
    "SELECT datname FROM pg_database WHERE NOT datallowconn AND datname <> 'template0' ORDER BY datname"
)
_COUNT: LiteralString = "SELECT count(*) FROM pg_database WHERE dattablespace = 1663"


def look_at_cluster(connection: Connection) -> list[Witness]:
    """Look at the files that belong to no table; what is sound decides nothing by itself."""
    beat("looking at the files of the cluster")
    return [
        _look(connection, STATUS, _status, Look.STATUS),
        _look(connection, DATABASES, _directories),
        *_closed(connection),
    ]


def look_from_beside(sql: Sql, target: Target) -> list[Witness]:
    """Ask a server that lets nobody into the stack's own database in one that every server has."""
    for database in ("postgres", "template1"):
        with (
            suppress(Unavailable, psycopg.Error),
            sql.live(target, database=database, timeout_seconds=30) as connection,
        ):
            return look_at_cluster(connection)
    return []


def _look(
    connection: Connection,
    name: str,
    look: Callable[[Connection], tuple[str, str]],
    kind: Look = Look.FILES,
) -> Witness:
    try:
        damage, said = look(connection)
    except psycopg.Error as error:
        why = (str(error).strip().splitlines() or ["no answer"])[0]
        return Witness(name=name, look=Look.OTHER, finding=Finding.NOT_MEASURED, evidence=why)
    if damage:
        return Witness(name=name, look=kind, finding=Finding.DAMAGED, evidence=damage)
    return Witness(name=name, look=Look.OTHER, finding=Finding.SOUND, evidence=said)


def _closed(connection: Connection) -> list[Witness]:
    """Name the databases that let nobody in: no check reads them."""
    names = [str(name) for (name,) in connection.execute(_CLOSED).fetchall()]
    if not names:
        return []
    said = f"let nobody in, so nothing read them: {', '.join(names[:5])}"
    return [Witness(name="closed databases", look=Look.OTHER, finding=Finding.NOT_MEASURED, evidence=said)]


def _status(connection: Connection) -> tuple[str, str]:
    """Find pages of ``pg_xact`` that are missing or all zero where every transaction has ended.

    The files are as of the last checkpoint; what was open then, or still is, is left out.
    """
    row = connection.execute(_RANGE).fetchone()
    if row is None or not isinstance(row[2], list):
        return "", "the control file names no transactions"
    until = min(int(str(row[0])), int(str(row[1])))
    oldest = min(until - (until - int(str(frozen))) % 2**32 for frozen in row[2])
    pages = _pages(oldest, until)
    columns = [list(column) for column in zip(*pages, strict=True)]
    found = connection.execute(_ZERO, columns).fetchall() if pages else []
    if not found:
        return "", f"{len(pages)} pages of pg_xact hold what became of the transactions"
    page, short = found[0]
    number = int(str(page))
    said = "is missing or cut off" if short else "is zero, as if none of its transactions had ended"
    more = f", and {len(found) - 1} more pages" if len(found) > 1 else ""
    first = number * _XIDS_A_PAGE
    return f"{_path(number)}: the status of the transactions from {first} on {said}{more}. {_CARRIED}", ""


def _pages(oldest: int, until: int) -> list[tuple[int, str, int, int]]:
    """Return page, file, offset and length of what holds the status of transactions that have all ended."""
    pages = []
    for page in range(oldest // _XIDS_A_PAGE, until // _XIDS_A_PAGE + 1):
        length = min(until - page * _XIDS_A_PAGE, _XIDS_A_PAGE) // 4
        # The oldest page begins with transactions that ended long ago.
        if length >= (_LEAST_BYTES if page * _XIDS_A_PAGE < oldest else _SURE_BYTES):
            pages.append((page, _path(page), page % _PAGES_A_SEGMENT * _PAGE_BYTES, length))
    return pages


def _path(page: int) -> str:
    return f"pg_xact/{page % _PAGES_A_ROUND // _PAGES_A_SEGMENT:04X}"


def _directories(connection: Connection) -> tuple[str, str]:
    """Find databases whose directory is gone: the server says of them that they do not exist."""
    gone = connection.execute(_DIRECTORIES).fetchall()
    if gone:
        time.sleep(_AGAIN_SECONDS)
        again = connection.execute(_DIRECTORIES).fetchall()
        gone = [row for row in gone if row in again]
    said = "; ".join(f"database {name}: its directory {path} is missing" for name, path in gone[:5])
    row = connection.execute(_COUNT).fetchone()
    return said, f"{row[0] if row is not None else 0} databases have their directories"
