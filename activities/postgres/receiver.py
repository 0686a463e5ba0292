"""Protection of a running server: the two things in its database, and its WAL on the shelf."""

import time
from datetime import datetime
from pathlib import Path

import psycopg
from temporalio import activity

from activities.engine import ContainerState, Engine, Job
from activities.job import what_differs
from activities.postgres import shelf
from activities.postgres.receiver_partial import drop_unpadded
from activities.postgres.slots import (
    Standing,
    drop_former_slots,
    known_slots,
    record_slot,
    recorded_slot,
    slot_for,
    standing_of,
    wal_facts,
)
from activities.postgres.sql import Connection, Sql
from activities.pulse import beat
from activities.tokens import Tokens
from domain.backups import ReceiveOrder, Receiving, spoken_bytes
from domain.errors import Refused, Unavailable
from domain.names import LABEL_ROLE, LABEL_STACK
from domain.order import Outcome, Target, TargetOrder
from domain.wal import parse_lsn, segment_name

ROLE = "receiver"
_LABEL_SLOT = "dr.slot"
_PATIENCE_SECONDS = 25.0


class Protection:
    """Keeps a server's WAL streaming to the shelf."""

    def __init__(self, engine: Engine, sql: Sql, tokens: Tokens, state: Path) -> None:
        """Act through these clients; ``state`` is DR_STATE."""
        self._engine = engine
        self._sql = sql
        self._tokens = tokens
        self._state = state

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_protected(self, order: TargetOrder) -> Outcome:
        """Create extension amcheck and schema dr where they are missing, and nothing else.

        Raises ``Refused`` where the server's user may not.
        """
        target = order.target
        self._tokens.admit(order, target.stack)
        made: list[str] = []
        try:
            with self._sql.live(target) as connection:
                rows = connection.execute(
                    "SELECT datname::text FROM pg_database"
                    " WHERE datallowconn AND NOT datistemplate ORDER BY 1"
                ).fetchall()
                if connection.execute("SELECT to_regclass('dr.marker')").fetchone() == (None,):
                    _create_schema(connection)
                    made.append("schema dr")
            for (name,) in rows:
                with self._sql.live(target, database=str(name)) as connection:
                    if not _has_amcheck(connection):
                        connection.execute("CREATE EXTENSION IF NOT EXISTS amcheck")
                        made.append(f"amcheck in {name}")
        except psycopg.errors.UniqueViolation as error:
            # IF NOT EXISTS does not keep two sessions apart that create the same thing at once.
            raise Unavailable(
                "somebody else creates the same in the database at this moment",
                where=target.postgres.container_name,
                code="protected-at-once",
            ) from error
        except psycopg.Error as error:
            raise Refused(
                f"the database does not let itself be protected: {_first_line(error)}",
                where=target.postgres.container_name,
                hint="amcheck comes with contrib; creating it needs a superuser",
                code="protection-refused",
            ) from None
        said = f"created {', '.join(made)}" if made else "amcheck and schema dr are there"
        return Outcome(sentence=f"Database {target.postgres.database}: {said}.")

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_receiving(self, order: ReceiveOrder) -> Receiving:
        """Have the receiver stream by its slot into the slot's own directory.

        Returns when the slot is active and, for a new directory, when a segment that was forced
        has arrived. Raises ``Refused`` for a named slot that was lost, ``Unavailable`` otherwise.
        """
        target = order.target
        self._tokens.admit(order, target.stack)
        server = self._engine.look(target.postgres.container_id)
        if server is None or not server.running:
            raise Unavailable(
                "the server does not run, so its WAL cannot be streamed",
                where=target.postgres.container_name,
                code="postgres-stopped",
            )
        root = shelf.prepare(target)
        with shelf.asking(target.postgres.container_name), self._sql.live(target) as connection:
            _refuse_minimal_wal(connection, target)
            slot = slot_for(order.slot, root, known_slots(connection))
            directory = root / "wal" / slot
            if slot not in known_slots(connection):
                connection.execute("SELECT pg_create_physical_replication_slot(%s, true)", [slot])
            shelf.own(directory, target)
            record_slot(root, slot)
            self._ensure_container(target, server, slot)
            self._wait_until_healthy(connection, target, slot, directory)
            self._prove(connection, directory)
            drop_former_slots(connection, slot)
        return self._observe(target, root)

    @activity.defn(no_thread_cancel_exception=True)
    def observe_receiver(self, order: TargetOrder) -> Receiving:
        """Look at the receiver and change nothing; what cannot be measured is ``None``."""
        return self._observe(order.target, Path(order.target.shelf) / "postgres")

    def _ensure_container(self, target: Target, server: ContainerState, slot: str) -> None:
        postgres = target.postgres
        job = Job(
            name=f"dr-{target.stack}-receiver",
            image_id=postgres.image_id,
            entrypoint=("pg_receivewal",),
            command=(
                *("-h", "127.0.0.1", "-p", str(postgres.port), "-U", postgres.user, "-w"),
                *("-D", f"{shelf.MOUNT}/wal/{slot}", "-S", slot, "--status-interval=1"),
            ),
            user=f"{postgres.uid}:{postgres.gid}",
            binds={str(Path(target.shelf) / "postgres"): f"{shelf.MOUNT}:rw"},
            environment=shelf.connection_environment(self._sql, target),
            labels={LABEL_STACK: target.stack, LABEL_ROLE: ROLE, _LABEL_SLOT: slot},
            network=f"container:{server.id}",
        )
        found = self._engine.look(job.name)
        if found is not None and (
            not _fits(found, server, slot, postgres.image_id) or what_differs(found, job)
        ):
            _prove_ours(found, target.stack)
            if found.running:
                self._engine.stop(found.id, 5)
            self._engine.remove(found.id, force=True)
        self._engine.ensure_job(job)

    def _wait_until_healthy(self, connection: Connection, target: Target, slot: str, directory: Path) -> None:
        name, (_, segment_bytes) = f"dr-{target.stack}-receiver", wal_facts(connection)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not standing_of(connection, slot).healthy:
            found = self._engine.look(name)
            if found is None or not found.running or time.monotonic() > deadline:
                said = self._engine.logs(name, tail=3).strip() if found is not None else "it is gone"
                raise Unavailable(
                    f"the receiver does not stream by slot {slot}: {said}",
                    where=name,
                    code="receiver-silent",
                )
            drop_unpadded(directory, segment_bytes)
            beat(f"waiting for the receiver on slot {slot}")
            time.sleep(0.2)

    @staticmethod
    def _prove(connection: Connection, directory: Path) -> None:
        """Force a segment into a directory that has none of the timeline, and wait for it."""
        timeline, segment_bytes = wal_facts(connection)
        if any(directory.glob(f"{timeline:08X}" + "[0-9A-F]" * 16)):
            return
        connection.execute("SELECT pg_create_restore_point('dr: receiver started')")
        row = connection.execute("SELECT pg_switch_wal()::text").fetchone()
        wanted = directory / segment_name(timeline, parse_lsn(str((row or ("",))[0])) - 1, segment_bytes)
        history = directory / f"{timeline:08X}.history"
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not wanted.exists() or (timeline > 1 and not history.exists()):
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"the forced segment {wanted.name} did not arrive",
                    where=str(directory),
                    code="receiver-silent",
                )
            beat(f"waiting for segment {wanted.name}")
            time.sleep(0.2)

    def _observe(self, target: Target, root: Path) -> Receiving:
        recorded = recorded_slot(root)
        if recorded is None:
            return Receiving(slot="", directory="", sentence="No WAL receiver was ever started.")
        slot = recorded["slot"]
        directory = root / "wal" / slot
        newest = max((p.name for p in directory.glob("[0-9A-F]" * 24)), default="")
        found = self._engine.look(f"dr-{target.stack}-receiver")
        standing = Standing(active=False, slot_state="", flushed_lsn=None, lag_bytes=None)
        trouble = ""
        try:
            with shelf.asking(slot), self._sql.live(target, timeout_seconds=5) as connection:
                standing = standing_of(connection, slot)
        except (Unavailable, Refused) as error:
            trouble = f"; {error.what}"
        how = "streams" if standing.healthy else "does not stream"
        lag = "lag not measured" if standing.lag_bytes is None else f"lag {spoken_bytes(standing.lag_bytes)}"
        return Receiving(
            sentence=f"WAL {how} by slot {slot}: {lag}, newest segment {newest or 'none'}{trouble}.",
            slot=slot,
            directory=recorded["directory"],
            container=found.id if found is not None else "",
            active=standing.active,
            slot_state=standing.slot_state,
            lag_bytes=standing.lag_bytes,
            flushed_lsn=standing.flushed_lsn,
            newest_segment=newest,
        )


def _refuse_minimal_wal(connection: Connection, target: Target) -> None:
    if connection.execute("SHOW wal_level").fetchone() == ("minimal",):
        raise Refused(
            "the server writes too little WAL to be rolled forward: wal_level is minimal",
            where=target.postgres.container_name,
            hint="set wal_level to replica (the default) and restart the server",
            code="wal-level-minimal",
        )


def _create_schema(connection: Connection) -> None:
    with connection.transaction():
        connection.execute("CREATE SCHEMA IF NOT EXISTS dr")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS dr.marker"
            " (n bigint PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp())"
        )


def _has_amcheck(connection: Connection) -> bool:
    query = "SELECT 1 FROM pg_extension WHERE extname = 'amcheck'"
    return connection.execute(query).fetchone() is not None


def _fits(found: ContainerState, server: ContainerState, slot: str, image_id: str) -> bool:
    """Tell whether a receiver runs in the namespace that the server has now."""
    return (
        found.running
        and found.labels.get(_LABEL_SLOT) == slot
        and found.image_id == image_id
        and found.raw["HostConfig"]["NetworkMode"] == f"container:{server.id}"
        and _started(found) >= _started(server)
    )


def _started(container: ContainerState) -> datetime:
    return datetime.fromisoformat(container.raw["State"]["StartedAt"])


def _prove_ours(found: ContainerState, stack: str) -> None:
    if found.labels.get(LABEL_STACK) != stack or found.labels.get(LABEL_ROLE) != ROLE:
        raise Refused(
            f"a container named {found.name} exists and is not ours", where=found.id[:12], code="name-taken"
        )


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
