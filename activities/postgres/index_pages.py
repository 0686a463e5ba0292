"""The pages of the indexes that no check reads: GIN, GiST, BRIN, hash and whatever an extension brings."""

import struct
import time
from collections.abc import Iterator
from typing import LiteralString

import psycopg

from activities.postgres.integrity_scans import Scan
from activities.postgres.sql import Connection
from activities.pulse import beat
from domain.diagnosis import Finding

_AGAIN_SECONDS = 0.5
"""A page that is written at this moment is whole the next time."""
_PAGES_AT_ONCE = 128
_HEADER = struct.Struct("=8xHHHHHH")
"""Of a page: checksum, flags, begin and end of its free space, begin of its special space, size."""
_HEADER_BYTES, _FLAGS = 24, 0x0007
_INDEXES: LiteralString = """
SELECT n.nspname || '.' || c.relname, pg_relation_filepath(c.oid),
       pg_relation_size(c.oid)::int8 / current_setting('block_size')::int8,
       current_setting('block_size')::int8,
       pg_size_bytes(current_setting('segment_size')) / current_setting('block_size')::int8
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_am a ON a.oid = c.relam
 WHERE c.relkind = 'i' AND a.amname <> 'btree' AND i.indisvalid AND c.relpersistence <> 't'
   AND pg_relation_size(c.oid) > 0
 ORDER BY 3, 1"""
_READ: LiteralString = "SELECT pg_read_binary_file(%s, %s, %s, true)"


def look_at_index_pages(connection: Connection, *, limit_seconds: float) -> Scan | None:
    """Look at the head of every page of these indexes on the disk; ``None`` where there is no such index.

    Without the privilege to read files, or not at the end in time, nothing is measured.
    """
    try:
        return _look(connection, time.monotonic() + limit_seconds)
    except psycopg.Error as error:
        return Scan(Finding.NOT_MEASURED, (str(error).strip().splitlines() or ["no answer"])[0])


def _look(connection: Connection, until: float) -> Scan | None:
    indexes = connection.execute(_INDEXES).fetchall()
    if not indexes:
        return None
    read, damage = 0, {}
    for name, path, pages, size, segment in indexes:
        beat(f"reading the pages of {name}")
        where = (str(path), int(str(pages)), int(str(size)), int(str(segment)))
        bad = list(_bad(connection, *where, until=until))
        if bad:
            time.sleep(_AGAIN_SECONDS)
            bad = [page for page in _bad(connection, *where, until=until) if page in bad]
        if bad:
            damage[str(name)] = f"{name}: page {bad[0]} of {path} is none ({len(bad)} such pages)"
        if time.monotonic() > until and not damage:
            return Scan(Finding.NOT_MEASURED, f"no time to read {name} and larger indexes to their ends")
        read += where[1]
    if damage:
        said = "; ".join(list(damage.values())[:3])
        return Scan(Finding.INDEX_DAMAGED, said, indexes=tuple(sorted(damage)))
    return Scan(Finding.SOUND, f"{len(indexes)} indexes that amcheck does not read have {read} whole pages")


def _bad(
    connection: Connection, path: str, pages: int, size: int, segment: int, *, until: float
) -> Iterator[int]:
    """Yield the pages whose head cannot be one."""
    for first in range(0, pages, _PAGES_AT_ONCE):
        if time.monotonic() > until:
            return
        # Segments hold a multiple of what is read at once.
        file = f"{path}.{first // segment}" if first >= segment else path
        wanted = min(_PAGES_AT_ONCE, pages - first) * size
        row = connection.execute(_READ, [file, first % segment * size, wanted], binary=True).fetchone()
        content = row[0] if row is not None and isinstance(row[0], bytes) else b""
        for at in range(0, len(content) - size + 1, size):
            if not is_page(memoryview(content)[at : at + size]):
                yield first + at // size


def is_page(page: memoryview) -> bool:
    """Tell whether the head of a page is one, as the server does before it reads the page."""
    size = len(page)
    _, flags, lower, upper, special, version = _HEADER.unpack_from(page)
    if not upper:
        return not any(page)
    whole = _HEADER_BYTES <= lower <= upper <= special <= size and special % 8 == 0
    return whole and not flags & ~_FLAGS and version & 0xFF00 == size & 0xFF00
