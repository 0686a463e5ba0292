"""What the write-ahead log says was written: to damaged blocks, and since an LSN at all."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import LiteralString

from activities.engine import Engine
from activities.postgres.integrity_scans import watched
from activities.postgres.one_shot import script
from activities.postgres.sql import Connection
from domain.diagnosis import DamagedBlock
from domain.order import Target

_LIMIT_SECONDS = 30
_RECORD = re.compile(r"rmgr: (\S+) .*?lsn: ([0-9A-F/]+),.*?desc: (\S+)")
_OWNERS: LiteralString = """
WITH touched AS (
  SELECT DISTINCT pg_filenode_relation(spc, file) AS oid FROM unnest(%s::oid[], %s::oid[]) AS t(spc, file)
), owners AS (
  SELECT DISTINCT coalesce(i.indrelid, toasted.oid, c.oid) AS oid
    FROM touched JOIN pg_class c USING (oid)
    LEFT JOIN pg_index own ON own.indexrelid = c.oid
    LEFT JOIN pg_class toasted ON toasted.reltoastrelid = coalesce(own.indrelid, c.oid)
    LEFT JOIN pg_index i ON i.indexrelid = c.oid AND toasted.oid IS NULL
)
SELECT c.oid::int8, format('"%%s"."%%s"', replace(n.nspname, '"', '""'), replace(c.relname, '"', '""'))
  FROM owners JOIN pg_class c USING (oid) JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'm') AND c.relpersistence = 'p'"""


Written = Mapping[int, Sequence[tuple[int, int]]]
"""Oid of a database to the tablespaces and file numbers that were written to in it."""


@dataclass(frozen=True)
class Touched:
    """Tables that WAL wrote to; ``known`` is false when the WAL could not be read."""

    known: bool
    oids: frozenset[int] = frozenset()
    patterns: tuple[str, ...] = ()
    """As ``pg_amcheck --table`` takes them."""


def damage_in_wal(
    engine: Engine,
    target: Target,
    container: str,
    blocks: Iterable[DamagedBlock],
    since_lsn: str,
    timeline: int,
) -> tuple[str, ...]:
    """Return, as sentences, the WAL records since ``since_lsn`` that write one of the blocks.

    ``container`` is the copy: it sees the archive and its own WAL. WAL that cannot be read is said
    to be so, and is not the same as WAL without such records.
    """
    wanted: dict[tuple[str, str], set[int]] = {}
    for block in blocks:
        wanted.setdefault((block.path, block.relation), set()).add(block.block)
    said: list[str] = []
    for (path, relation), numbers in sorted(wanted.items()):
        lines = _records(engine, target, container, since_lsn, timeline, path, numbers)
        if lines is None:
            said.append(f"the WAL since {since_lsn} could not be searched for damaged blocks of {relation}")
            continue
        for line in lines:
            found = _RECORD.search(line)
            hit = next((n for n in sorted(numbers) if re.search(rf"blk {n}\b", line)), None)
            image = " with a full image of the page" if "FPW" in line else ""
            if found is not None:
                said.append(f"{found[2]}: {found[1]} {found[3]} writes block {hit} of {relation}{image}")
    return tuple(said)


def written_since(
    engine: Engine, target: Target, container: str, since_lsn: str, timeline: int
) -> Written | None:
    """Return what was written to since an LSN, by database; ``None`` when the WAL could not be read."""
    lines = _records(engine, target, container, since_lsn, timeline, "", set())
    if lines is None:
        return None
    found: dict[int, list[tuple[int, int]]] = {}
    for line in lines:
        space, database, file = (int(part) for part in line.removeprefix("rel ").split("/"))
        found.setdefault(database, []).append((space, file))
    return found


def touched_in(connection: Connection, written: Written | None) -> Touched:
    """Return the tables of this database that were written to, indexes counted to them."""
    if written is None:
        return Touched(known=False)
    row = connection.execute(
        "SELECT oid::int8 FROM pg_database WHERE datname = current_database()"
    ).fetchone()
    files = written.get(int(str(row[0])), []) if row is not None else []
    found = connection.execute(_OWNERS, [[space for space, _ in files], [file for _, file in files]])
    owners = found.fetchall()
    return Touched(
        known=True,
        oids=frozenset(int(str(oid)) for oid, _ in owners),
        patterns=tuple(sorted(str(name) for _, name in owners)),
    )


def _records(
    engine: Engine,
    target: Target,
    container: str,
    since_lsn: str,
    timeline: int,
    path: str,
    numbers: set[int],
) -> list[str] | None:
    """Return lines of ``pg_waldump``, or ``None`` when it could not read from that LSN on."""
    server = target.postgres
    blocks = "|".join(str(number) for number in sorted(numbers))
    command = (
        "sh", "-c", script("wal_records.sh"), "dr",
        str(timeline), since_lsn, server.pgdata, str(_LIMIT_SECONDS), path, blocks,
    )  # fmt: skip
    done = watched(
        lambda: engine.run(container, command, user=f"{server.uid}:{server.gid}"), "reading the WAL"
    )
    lines = done.output.splitlines()
    if done.exit_code != 0 or not lines or lines[-1] == "end 0":
        return None
    return lines[:-1]
