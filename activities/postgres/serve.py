"""Starts the stack's own server on what is now in its volume, and proves that it can be written to."""

import time
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from temporalio import activity

from activities.engine import Engine
from activities.in_use import refuse_if_in_use
from activities.postgres.one_shot import prove
from activities.postgres.sql import Sql
from activities.pulse import beat
from activities.records import Records
from activities.tokens import Tokens
from domain.errors import Unavailable, VerificationFailed
from domain.recovery import ServeOrder, Serving

KIND = "serving"
_LIMIT_SECONDS = 120.0
_POLL_SECONDS = 0.1


class Starting:
    """Has the server serve again; its receiver and its users come after it."""

    def __init__(self, engine: Engine, sql: Sql, tokens: Tokens, state: Path) -> None:
        """Act through these clients; ``state`` is DR_STATE."""
        self._engine = engine
        self._sql = sql
        self._tokens = tokens
        self._records = Records(state)

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_serving(self, order: ServeOrder) -> Serving:
        """Start the server and wait for a committed write over TCP on the expected timeline.

        Its restart policy stays ``no`` unless the order names one. Raises ``VerificationFailed`` on
        another timeline, and when the server is a read-only standby; ``Refused`` while anything else
        writes to its volume.
        """
        self._tokens.admit(order, order.target.stack)
        found = prove(self._engine, order.target)
        began = time.monotonic()
        if not found.running:
            refuse_if_in_use(self._engine, {order.target.postgres.volume}, but=found.id, writable_only=True)
            self._engine.start(found.id)
        timeline = self._wait(order)
        if order.restart_policy:
            self._engine.set_restart(found.id, order.restart_policy)
        record = self._records.read(KIND, order.recovery_id)
        if record is None:
            record = {
                "writable_at": datetime.now(UTC).isoformat(),
                "seconds": round(time.monotonic() - began, 2),
            }
            self._records.write(KIND, order.recovery_id, record)
        return Serving(
            timeline=timeline,
            writable_at=datetime.fromisoformat(record["writable_at"]),
            sentence=f"PostgreSQL took a write over TCP {record['seconds']:.1f} s after its start,"
            f" on timeline {timeline}",
        )

    def _wait(self, order: ServeOrder) -> int:
        deadline = time.monotonic() + _LIMIT_SECONDS
        while True:
            try:
                return self._probe(order)
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
                self._still_up(order)
                beat("PostgreSQL starts")
                time.sleep(_POLL_SECONDS)

    def _still_up(self, order: ServeOrder) -> None:
        found = self._engine.look(order.target.postgres.container_id)
        if found is None or found.status in {"exited", "dead"}:
            lines = self._engine.logs(order.target.postgres.container_id, tail=5).strip().splitlines()
            raise Unavailable(
                f"the server ended again: {lines[-1] if lines else 'without a word'}",
                where=order.target.postgres.container_name,
                code="server-ends",
            )

    def _probe(self, order: ServeOrder) -> int:
        """Commit a write to a table of this session alone; return the timeline."""
        try:
            with self._sql.live(order.target, timeout_seconds=10) as connection:
                row = connection.execute(
                    "SELECT pg_is_in_recovery(), timeline_id FROM pg_control_checkpoint()"
                ).fetchone()
                if row is None or row[0]:
                    raise VerificationFailed(
                        "the server is a read-only standby",
                        where=order.target.postgres.container_name,
                        code="server-read-only",
                    )
                connection.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE")
                connection.execute("CREATE TEMPORARY TABLE dr_write_probe AS SELECT 1 AS n")
                connection.execute("DROP TABLE dr_write_probe")
        except psycopg.OperationalError as error:
            raise Unavailable(
                f"the write probe failed: {type(error).__name__}",
                where=order.target.postgres.container_name,
                code="postgres-unavailable",
            ) from error
        except psycopg.Error as error:
            raise VerificationFailed(
                f"the server refuses a write: {type(error).__name__}",
                where=order.target.postgres.container_name,
                code="server-read-only",
            ) from error
        timeline = int(str(row[1]))
        if timeline != order.expected_timeline:
            raise VerificationFailed(
                f"the server is on timeline {timeline}, expected {order.expected_timeline}",
                where=order.target.postgres.container_name,
                code="timeline-unexpected",
            )
        return timeline
