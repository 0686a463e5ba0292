"""Damage on purpose, for the lab and for drills; each injection proves that it took."""

import re
import time
from datetime import UTC, datetime
from typing import LiteralString

import psycopg
from psycopg import sql
from temporalio import activity

from activities.engine import ContainerState, Engine, Job
from activities.postgres.one_shot import prove
from activities.postgres.sql import Connection, Sql
from activities.postgres.witnesses import damage_in, look_at_control_file
from activities.pulse import beat
from domain.diagnosis import Finding
from domain.errors import Refused, VerificationFailed
from domain.names import LABEL_ROLE, LABEL_STACK
from domain.order import Outcome, TargetOrder

LABEL_LAB = "dr.lab"
_SEGMENT_BLOCKS = 131072
_LARGEST: LiteralString = """
SELECT c.oid::int8, n.nspname, c.relname, pg_relation_filepath(c.oid),
       pg_relation_size(c.oid) / current_setting('block_size')::int, current_setting('block_size')::int
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND c.relpersistence = 'p'
   AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'dr') AND n.nspname !~ '^pg_'
   AND (%(table)s = '' OR c.oid = to_regclass(%(table)s))
 ORDER BY c.relname = 'nchat_messages' DESC, pg_relation_size(c.oid) DESC LIMIT 1"""
_EVICT: LiteralString = """
SELECT count(*) FILTER (WHERE NOT pg_buffercache_evict(bufferid)) FROM pg_buffercache
 WHERE relfilenode = pg_relation_filenode(%(oid)s::oid) AND relforknumber = 0
   AND relblocknumber >= %(begin)s AND relblocknumber < %(begin)s + %(count)s
   AND reldatabase = (SELECT oid FROM pg_database WHERE datname = current_database())"""
_CACHED: LiteralString = """
SELECT count(*) FROM pg_buffercache
 WHERE relfilenode = pg_relation_filenode(%(oid)s::oid) AND relforknumber = 0
   AND relblocknumber >= %(begin)s AND relblocknumber < %(begin)s + %(count)s
   AND reldatabase = (SELECT oid FROM pg_database WHERE datname = current_database())"""
_PUSH_OUT: LiteralString = """
SELECT sum(pg_prewarm(c.oid, 'buffer')) FROM pg_class c
 WHERE c.relkind IN ('r', 'i') AND c.oid <> %(oid)s AND c.relpersistence = 'p'"""


class DamageOrder(TargetOrder):
    """Overwrite ``pages`` pages in the middle of a table; the largest chat table unless one is named."""

    table: str = ""
    pages: int = 12


class Injected(Outcome):
    """Damage that was done and seen."""

    evidence: str
    """What PostgreSQL itself said of it."""
    proven_at: datetime
    table: str = ""
    first_block: int | None = None
    pages: int = 0


class Faults:
    """Injects damage into a stack of the lab, and into no other (I9)."""

    def __init__(self, engine: Engine, sql: Sql) -> None:
        """Act through these clients."""
        self._engine = engine
        self._sql = sql

    @activity.defn(no_thread_cancel_exception=True)
    def inject_damaged_pages(self, order: DamageOrder) -> Injected:
        """Overwrite pages of a table with random bytes under a server that keeps answering.

        Raises ``Refused`` outside the lab, ``VerificationFailed`` (code ``damage-did-not-take``)
        when the server still reads the table well.
        """
        self._prove_lab(order)
        with self._sql.live(order.target, timeout_seconds=120) as connection:
            row = connection.execute(_LARGEST, {"table": order.table}).fetchone()
            if row is None:
                raise Refused("there is no such table to damage", where=order.table, code="table-unknown")
            oid, schema, table, path, blocks, size = row
            name = f"{schema}.{table}"
            said = read_heap(connection, str(schema), str(table))
            first = max(0, (int(str(blocks)) - order.pages) // 2)
            pages = min(order.pages, int(str(blocks)))
            for _ in range(3):
                if said is not None:
                    break
                beat(f"damaging {name}")
                drop_from_cache(connection, {"oid": oid, "begin": first, "count": pages})
                self._overwrite(order, f"{path}", first=first, pages=pages, block_bytes=int(str(size)))
                said = read_heap(connection, str(schema), str(table))
            connection.execute("SELECT 1")
        if said is None:
            raise VerificationFailed(f"{name} still reads well", where=str(path), code="damage-did-not-take")
        return Injected(
            sentence=f"{pages} pages of {name} hold garbage and the server still answers: {said}"[:160],
            evidence=said,
            proven_at=datetime.now(UTC),
            table=name,
            first_block=first,
            pages=pages,
        )

    @activity.defn(no_thread_cancel_exception=True)
    def inject_control_file_destroyed(self, order: TargetOrder) -> Injected:
        """Kill the server, overwrite its control file, and see it fail to start.

        The restart policy is off meanwhile and as before afterwards; the container stays down.
        Raises ``Refused`` outside the lab, ``VerificationFailed`` when the server starts after all.
        """
        state = self._prove_lab(order)
        policy = str(state.raw["HostConfig"]["RestartPolicy"]["Name"] or "no")
        try:
            self._engine.set_restart(state.id, "no")
            self._engine.kill(state.id)
            stopped = self._wait_stopped(state.id)
            seen = look_at_control_file(self._engine, order, stopped).witness
            if seen.finding is not Finding.DAMAGED:
                control = "global/pg_control"
                self._overwrite(order, control, first=0, pages=1, block_bytes=8192)
                seen = look_at_control_file(self._engine, order, stopped).witness
            said = self._fail_to_start(state.id)
        finally:
            self._engine.set_restart(state.id, policy)
        if seen.finding is not Finding.DAMAGED or said is None:
            raise VerificationFailed(
                "the server starts in spite of its destroyed control file",
                where=order.target.postgres.container_name,
                code="damage-did-not-take",
            )
        return Injected(
            sentence=f"The control file is destroyed and the server does not start: {said}"[:160],
            evidence=f"{said}; {seen.evidence}",
            proven_at=datetime.now(UTC),
        )

    def _prove_lab(self, order: TargetOrder) -> ContainerState:
        state = prove(self._engine, order.target)
        if state.labels.get(LABEL_LAB) != "true":
            raise Refused(
                f"{state.name} is not a container of the lab: nothing is damaged here",
                where=order.target.stack,
                hint=f"only containers labelled {LABEL_LAB}=true are damaged on purpose",
                code="not-the-lab",
            )
        return state

    def _overwrite(self, order: TargetOrder, path: str, *, first: int, pages: int, block_bytes: int) -> None:
        """Write random bytes over pages of a file of PGDATA, from a container of our own."""
        server = order.target.postgres
        segment, offset = divmod(first, _SEGMENT_BLOCKS)
        file = f"{server.pgdata}/{path}" + (f".{segment}" if segment else "")
        count = min(pages, _SEGMENT_BLOCKS - offset)
        place = (f"of={file}", f"bs={block_bytes}", f"seek={offset}", f"count={count}")
        self._in_files(order, "dd", "if=/dev/urandom", *place, "conv=notrunc,fsync")

    def _in_files(self, order: TargetOrder, program: str, *arguments: str) -> None:
        """Run a program on the files of PGDATA, as their owner, in a container of our own."""
        server = order.target.postgres
        name = f"dr-{order.recovery_id or order.target.stack}-damage"
        self._engine.remove(name, force=True)
        job = Job(
            name=name,
            image_id=server.image_id,
            entrypoint=(program,),
            command=arguments,
            user=f"{server.uid}:{server.gid}",
            binds={server.volume: f"{server.mount_path}:rw"},
            labels={LABEL_STACK: order.target.stack, LABEL_ROLE: "damage"},
        )
        try:
            state, log, _ = self._engine.follow(job, beat, limit_seconds=60)
        finally:
            self._engine.remove(name, force=True)
        if state.exit_code != 0:
            raise VerificationFailed(
                f"the files could not be damaged: {log.strip()}",
                where=server.container_name,
                code="damage-did-not-take",
            )

    def _wait_stopped(self, container: str) -> ContainerState:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            beat("waiting for the server to be down")
            state = self._engine.look(container)
            if state is not None and state.status in {"exited", "dead", "created"}:
                return state
            time.sleep(0.1)
        raise VerificationFailed("the server is not down", where=container, code="damage-did-not-take")

    def _fail_to_start(self, container: str) -> str | None:
        """Start the server and return what it said when it gave up, or ``None`` if it did not."""
        begin = int(time.time())
        self._engine.start(container)
        stopped = self._wait_stopped(container)
        log = self._engine.logs(container, tail=50, since=begin)
        said = damage_in(log)
        if said is None or not stopped.exit_code:
            return None
        return re.sub(r"^.*?\b(?=(FATAL|PANIC):)", "", said)


def read_heap(connection: Connection, schema: str, table: str, *, values: bool = False) -> str | None:
    """Read every page of a table; return PostgreSQL's own word for the damage, or ``None``.

    With ``values`` the long values in its TOAST table are read too.
    """
    what = sql.SQL("length(t::text)" if values else "t")
    query = sql.SQL("SELECT count({}) FROM {} t").format(what, sql.Identifier(schema, table))
    try:
        with connection.transaction():
            connection.execute(
                "SET LOCAL enable_indexscan=off; SET LOCAL enable_indexonlyscan=off;"
                " SET LOCAL enable_bitmapscan=off; SET LOCAL max_parallel_workers_per_gather=0"
            )
            connection.execute(query)
    except psycopg.Error as error:
        said = str(error).strip().splitlines()[0]
        damaged = isinstance(error, psycopg.errors.DataCorrupted | psycopg.errors.IndexCorrupted)
        if not damaged and damage_in(said) is None:
            raise
        return said
    return None


def drop_from_cache(connection: Connection, span: dict[str, object]) -> None:
    """Write everything out, then make the server forget the pages, so that it reads them again.

    A clean cached page would hide the damage, a dirty one would heal it. The extensions are made
    in a transaction that is rolled back: the database keeps nothing of them.
    """
    for _ in range(5):
        connection.execute("CHECKPOINT")
        with connection.transaction(force_rollback=True):
            connection.execute("CREATE EXTENSION IF NOT EXISTS pg_buffercache")
            can_evict = connection.execute("SELECT to_regproc('pg_buffercache_evict')").fetchone()
            if can_evict is not None and can_evict[0] is not None:
                connection.execute(_EVICT, span)
            else:
                connection.execute("CREATE EXTENSION IF NOT EXISTS pg_prewarm")
                connection.execute(_PUSH_OUT, span)
            left = connection.execute(_CACHED, span).fetchone()
        if left is not None and left[0] == 0:
            return
