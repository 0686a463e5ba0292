"""Keeps damage from spreading: VACUUM writes what it finds, and WAL carries it to the copy."""

import json
import os
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg import sql
from temporalio import activity

from activities.engine import Engine
from activities.postgres.one_shot import prove
from activities.postgres.sql import Connection, Sql
from domain.errors import Unavailable
from domain.order import Outcome, TargetOrder
from domain.paths import one_part
from domain.recovery import Proof

_OURS: LiteralString = (
    "SELECT setting FROM pg_file_settings WHERE name = 'autovacuum'"
    " AND sourcefile LIKE '%postgresql.auto.conf' ORDER BY seqno DESC LIMIT 1"
)
_CANCEL: LiteralString = """
SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity
 WHERE backend_type = 'autovacuum worker'
    OR (state = 'active' AND pid <> pg_backend_pid() AND query ~* '^\\s*vacuum')"""


class Quiet:
    """Switches autovacuum off on a damaged server, and back to what it was."""

    def __init__(self, engine: Engine, sql: Sql, state: Path) -> None:
        """Remember under ``state``/quiet what was set before."""
        self._engine = engine
        self._sql = sql
        self._directory = state / "quiet"

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_quiet(self, order: TargetOrder) -> Outcome:
        """Switch autovacuum off and cancel running vacuums; a server that is down needs neither."""
        prove(self._engine, order.target)
        record = self._record(order)
        try:
            with self._sql.live(order.target, timeout_seconds=10) as connection:
                if not record.exists():
                    self._remember(record, connection)
                connection.execute("ALTER SYSTEM SET autovacuum = off")
                now = _reload(connection, "off")
                row = connection.execute(_CANCEL).fetchone()
        except Unavailable:
            return Outcome(sentence="The server does not answer: nothing vacuums, nothing to switch off.")
        except psycopg.Error as error:
            said = str(error).strip().splitlines()[0]
            return Outcome(sentence=f"Autovacuum could not be switched off: {said}"[:160])
        cancelled = row[0] if row is not None else 0
        if now != "off":
            return Outcome(sentence=f"Autovacuum stays {now}: the server's own arguments set it.")
        return Outcome(sentence=f"Autovacuum is off, {cancelled} running vacuums cancelled.")

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_unquiet(self, order: TargetOrder) -> Outcome:
        """Set autovacuum back to what it was before ``ensure_quiet``; else do nothing."""
        prove(self._engine, order.target)
        record = self._record(order)
        if not record.exists():
            return Outcome(sentence="Autovacuum was not touched: nothing to set back.")
        before = json.loads(record.read_text())
        try:
            with self._sql.live(order.target, timeout_seconds=10) as connection:
                if before["in_auto_conf"] is None:
                    connection.execute("ALTER SYSTEM RESET autovacuum")
                else:
                    old = sql.Literal(before["in_auto_conf"])
                    connection.execute(sql.SQL("ALTER SYSTEM SET autovacuum = {}").format(old))
                now = _reload(connection, before["setting"])
        except (Unavailable, psycopg.Error):
            return Outcome(sentence="The server does not answer: autovacuum is set back later.")
        if now != before["setting"]:
            return Outcome(sentence=f"Autovacuum is {now} although it was {before['setting']} before.")
        record.unlink()
        return Outcome(sentence=f"Autovacuum is {now} again, as before.")

    def _record(self, order: TargetOrder) -> Path:
        return self._directory / f"{one_part(order.target.stack, 'the name of a stack')}.json"

    def _remember(self, record: Path, connection: Connection) -> None:
        """Write down what was set, before it is changed."""
        row = connection.execute(_OURS).fetchone()
        facts = {"in_auto_conf": row[0] if row else None, "setting": _autovacuum(connection)}
        self._directory.mkdir(parents=True, exist_ok=True)
        draft = record.with_suffix(".tmp")
        with draft.open("w") as file:
            json.dump(facts, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(record)


def check_autovacuum(connection: Connection) -> Proof:
    """Autovacuum runs: a restored server must not carry the setting of the damaged one."""
    now = _autovacuum(connection)
    return Proof(name="autovacuum", passed=now == "on", evidence=f"autovacuum is {now}")


def _autovacuum(connection: Connection) -> str:
    row = connection.execute("SELECT current_setting('autovacuum')").fetchone()
    return str(row[0]) if row is not None else "unknown"


def _reload(connection: Connection, wanted: str) -> str:
    """Reload the configuration and return the setting once it is as wanted, or after 2 s as it is."""
    connection.execute("SELECT pg_reload_conf()")
    now = ""
    for _ in range(40):
        # Each statement picks up a reload that has reached this session.
        now = _autovacuum(connection)
        if now == wanted:
            break
        connection.execute("SELECT pg_sleep(0.05)")
    return now
