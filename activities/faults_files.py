"""Damage to single files of a lab's database: an index that lies, a file that is gone (I9)."""

import base64
import struct
import time
from datetime import UTC, datetime
from typing import Literal, LiteralString

import psycopg
from temporalio import activity

from activities.faults import Faults, Injected, drop_from_cache, read_heap
from activities.postgres.index_check import Index, count_through, find_index
from activities.postgres.sql import Connection
from activities.pulse import beat
from domain.errors import Refused, Unavailable, VerificationFailed
from domain.order import TargetOrder

_PAGE_BYTES = 8192
_HEADER_BYTES = 24
_LEAF, _NOT_A_LEAF = 1, 4 | 8 | 16
"""Flags of a btree page: leaf; deleted, metapage, half-dead."""
_TRIES = 5
_START_SECONDS = 60

_INDEX: LiteralString = """
SELECT n.nspname || '.' || c.relname
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_class t ON t.oid = i.indrelid JOIN pg_am a ON a.oid = c.relam
 WHERE a.amname = 'btree' AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
   AND c.relpersistence = 'p'
   AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'dr') AND n.nspname !~ '^pg_'
   AND (%(index)s = '' OR c.oid = to_regclass(%(index)s))
   AND pg_relation_size(c.oid) > 4 * current_setting('block_size')::int
 ORDER BY i.indisprimary, t.relname = 'nchat_messages' DESC, pg_relation_size(c.oid) DESC, 1 LIMIT 1"""
_FILE_OF: LiteralString = """
SELECT n.nspname || '.' || c.relname, n.nspname, c.relname, pg_relation_filepath(c.oid),
       pg_relation_filepath(nullif(c.reltoastrelid, 0)),
       (SELECT pg_relation_filepath(i.indexrelid) FROM pg_index i
         WHERE i.indrelid = c.oid ORDER BY i.indisprimary, i.indexrelid LIMIT 1)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND c.relpersistence = 'p'
   AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'dr') AND n.nspname !~ '^pg_'
   AND (%(table)s = '' OR c.oid = to_regclass(%(table)s))
 ORDER BY c.relname = 'nchat_messages' DESC, pg_relation_size(c.oid) DESC LIMIT 1"""

_WRITE = 'printf %s "$1" | base64 -d | dd of="$2" bs=8192 seek="$3" conv=notrunc,fsync 2>&1'
_REMOVE = 'rm -f -- "$1" && if [ "$2" = hollow ]; then : > "$1"; fi && sync'


class LyingIndexOrder(TargetOrder):
    """Make ``pages`` leaf pages of an index deny their rows; a large secondary one unless one is named."""

    index: str = ""
    pages: int = 3


class MissingFileOrder(TargetOrder):
    """Delete a file of a table; the largest chat table unless one is named."""

    table: str = ""
    part: Literal["table", "toast", "index"] = "table"
    stopped: bool = False
    """The server is stopped cleanly before and started again afterwards."""
    hollow: bool = False
    """An empty file takes its place, as a server that replays its WAL makes one."""


class FileFaults(Faults):
    """Adds damages that are neither garbage in pages nor a control file."""

    @activity.defn(no_thread_cancel_exception=True)
    def inject_lying_index(self, order: LyingIndexOrder) -> Injected:
        """Have an index answer without some rows that its table has; the table is not touched.

        The entries are marked dead, as an index scan marks those whose rows are gone: nothing about the
        pages is malformed. Raises ``Refused`` outside the lab and where data checksums would give it
        away, ``VerificationFailed`` (code ``damage-did-not-take``) when both counts are the same still.
        """
        self._prove_lab(order)
        with self._sql.live(order.target, timeout_seconds=120) as connection:
            row = connection.execute(_INDEX, {"index": order.index}).fetchone()
            index = find_index(connection, str(row[0])) if row is not None else None
            if index is None:
                raise Refused("there is no such index to damage", where=order.index, code="index-unknown")
            _refuse_checksums(connection, index)
            first, heap, through = -1, *count_through(connection, index)
            for _ in range(_TRIES):
                if through is not None and through < heap:
                    break
                beat(f"damaging {index.spoken}")
                first = self._deny(order, connection, index)
                heap, through = count_through(connection, index)
        if through is None or through >= heap:
            raise VerificationFailed(
                f"{index.spoken} still tells the truth", where=index.spoken, code="damage-did-not-take"
            )
        said = f"{index.spoken}: {heap:,} rows in {index.spoken_table}, {through:,} through the index"
        return Injected(
            sentence=f"An index lies and the server still answers: {said}"[:160],
            evidence=said,
            proven_at=datetime.now(UTC),
            table=index.spoken_table,
            first_block=first if first >= 0 else None,
            pages=order.pages,
        )

    @activity.defn(no_thread_cancel_exception=True)
    def inject_missing_file(self, order: MissingFileOrder) -> Injected:
        """Delete the file of a table, of its TOAST table or of one of its indexes, and see it missed.

        Raises ``Refused`` outside the lab and where the table has no such file, ``VerificationFailed``
        when PostgreSQL does not miss it.
        """
        self._prove_lab(order)
        with self._sql.live(order.target, timeout_seconds=120) as connection:
            row = connection.execute(_FILE_OF, {"table": order.table}).fetchone()
            if row is None:
                raise Refused("there is no such table to damage", where=order.table, code="table-unknown")
            name, schema, table = (str(value) for value in row[:3])
            path = dict(zip(("table", "toast", "index"), row[3:], strict=True))[order.part]
            if path is None:
                raise Refused(f"{name} has no {order.part}", where=name, code="table-unknown")
            # What is not written yet would be written into the deleted file, and missed at the next start.
            connection.execute("CHECKPOINT")
        if order.stopped:
            self._engine.stop(order.target.postgres.container_id, 120)
        file = f"{order.target.postgres.pgdata}/{path}"
        self._in_files(order, "sh", "-c", _REMOVE, "dr", file, "hollow" if order.hollow else "")
        if order.stopped:
            self._engine.start(order.target.postgres.container_id)
        said = self._missed(order, schema, table, str(path))
        return Injected(
            sentence=f"The file {path} of {name} is gone: {said}"[:160],
            evidence=said,
            proven_at=datetime.now(UTC),
            table=name,
        )

    def _deny(self, order: LyingIndexOrder, connection: Connection, index: Index) -> int:
        """Mark the entries of leaf pages as dead, in the file; return the first of these pages."""
        row = connection.execute(
            "SELECT pg_relation_filepath(%s::oid), pg_relation_size(%s::oid) / %s",
            [index.oid, index.oid, _PAGE_BYTES],
        ).fetchone()
        path, count = (str(row[0]), int(str(row[1]))) if row is not None else ("", 0)
        drop_from_cache(connection, {"oid": index.oid, "begin": 0, "count": count})
        first, done = -1, 0
        for block in range(count // 2, count):
            if done == order.pages:
                break
            seen = connection.execute(
                "SELECT pg_read_binary_file(%s, %s, %s)", [path, block * _PAGE_BYTES, _PAGE_BYTES]
            ).fetchone()
            page = denied(seen[0]) if seen is not None and isinstance(seen[0], bytes) else None
            if page is not None:
                file = f"{order.target.postgres.pgdata}/{path}"
                text = base64.b64encode(page).decode()
                self._in_files(order, "sh", "-c", _WRITE, "dr", text, file, str(block))
                first, done = (block if first < 0 else first), done + 1
        return first

    def _missed(self, order: MissingFileOrder, schema: str, table: str, path: str) -> str:
        """Read the table in a new session until PostgreSQL says that it misses the file."""
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            beat(f"reading {schema}.{table}")
            try:
                with self._sql.live(order.target, timeout_seconds=120) as connection:
                    if order.hollow and _size(connection, path) == 0:
                        return f"{path} is empty, and nothing complains"
                    said = read_heap(connection, schema, table, values=order.part == "toast")
                    if said is None and _size(connection, path) is None:
                        return f"{path} is not in its directory, and what is cached still reads"
            except (Unavailable, psycopg.OperationalError):
                time.sleep(0.3)
                continue
            if said is None:
                break
            return said
        raise VerificationFailed(f"nobody misses {path}", where=path, code="damage-did-not-take")


def denied(page: bytes) -> bytes | None:
    """Return a btree's leaf page with all entries marked dead, or ``None`` for any other page.

    The high key of a page, which is no entry, stays.
    """
    lower, _, special = struct.unpack_from("<HHH", page, 12)
    if not _HEADER_BYTES < lower <= len(page) or special + 16 > len(page):
        return None
    _, right, _, flags = struct.unpack_from("<IIIH", page, special)
    if not flags & _LEAF or flags & _NOT_A_LEAF:
        return None
    changed = bytearray(page)
    # A line pointer has 15 bits of offset, two of state (1 is normal, 3 is dead) and 15 of length.
    for at in range(_HEADER_BYTES + (4 if right else 0), lower, 4):
        (pointer,) = struct.unpack_from("<I", page, at)
        struct.pack_into("<I", changed, at, pointer | 3 << 15)
    return bytes(changed) if changed != page else None


def _size(connection: Connection, path: str) -> int | None:
    """Return how long a file of PGDATA is, in bytes; ``None`` when it is not there."""
    row = connection.execute("SELECT (pg_stat_file(%s, true)).size::int8", [path]).fetchone()
    return None if row is None or row[0] is None else int(str(row[0]))


def _refuse_checksums(connection: Connection, index: Index) -> None:
    if connection.execute("SHOW data_checksums").fetchone() == ("on",):
        raise Refused(
            "data checksums are on: an index cannot be made to lie behind the server's back",
            where=index.spoken,
            code="checksums-on",
        )
