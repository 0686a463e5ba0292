"""Closes a server to everybody but us, and opens it again; never by SQL that would reach the copy."""

import time
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from temporalio import activity

from activities.engine import ContainerState, Engine, Executed
from activities.engine_errors import CONTAINER_DOWN
from activities.postgres.one_shot import VOLUME, below, facts, labels, prove, run, script, settings_of, shell
from activities.postgres.sql import Sql
from activities.pulse import beat
from activities.records import Records
from activities.tokens import Tokens
from domain.errors import Refused, Unavailable
from domain.names import container_name
from domain.order import Outcome, Target, TargetOrder
from domain.recovery import Fenced

KIND = "closed"
_TERMINATE = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
    " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
)
_LIMIT_SECONDS = 15.0


class Fencing:
    """The fence of a running server: its ``pg_hba.conf`` and its terminated sessions."""

    def __init__(self, engine: Engine, sql: Sql, tokens: Tokens, state: Path) -> None:
        """Act through these clients; ``state`` is DR_STATE."""
        self._engine = engine
        self._sql = sql
        self._tokens = tokens
        self._records = Records(state)

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_fenced(self, order: TargetOrder) -> Fenced:
        """Close the server, end every session but ours and the receiver's, and prove that none is left.

        Its restart policy is recorded and set to ``no`` either way. A server that does not answer has
        nothing to close.
        """
        self._tokens.admit(order, order.target.stack)
        found = prove(self._engine, order.target)
        record = self._records.read(KIND, order.recovery_id) or _first_record(found)
        self._records.write(KIND, order.recovery_id, record)
        self._engine.set_restart(found.id, "no")
        answers = found.running and self._ping(order.target)
        record.setdefault("answered", answers)
        if not answers:
            return self._closed(order, record, ended=0)
        self._hba(order, found, "close")
        self._reload(order.target)
        ended = self._end_sessions(order.target)
        return self._closed(order, record, ended=ended)

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_unfenced(self, order: TargetOrder) -> Outcome:
        """Put the original ``pg_hba.conf`` and the recorded restart policy back."""
        self._tokens.admit(order, order.target.stack)
        found = prove(self._engine, order.target)
        record = self._records.read(KIND, order.recovery_id)
        said = self._hba(order, found, "open")
        if found.running and said == "opened":
            self._reload(order.target)
        if record is not None:
            self._engine.set_restart(found.id, str(record["restart_policy"]))
            self._records.remove(KIND, order.recovery_id)
        return Outcome(
            sentence="The server is open again as it was" if said == "opened" else "The server was not closed"
        )

    def _closed(self, order: TargetOrder, record: dict[str, object], *, ended: int) -> Fenced:
        """Record the first answer, and return it each time."""
        if "fenced_at" not in record:
            record |= {"fenced_at": datetime.now(UTC).isoformat(), "ended": ended}
            self._records.write(KIND, order.recovery_id, record)
        count = int(str(record["ended"]))
        open_ = bool(record.get("answered"))
        return Fenced(
            terminated_sessions=count,
            foreign_sessions=0,
            fenced_at=datetime.fromisoformat(str(record["fenced_at"])),
            restart_policy=str(record["restart_policy"]),
            sentence=f"The server is closed: {count} sessions ended, none left; it will not restart"
            if open_
            else "The server does not answer: nothing to close; it will not restart by itself",
        )

    def _ping(self, target: Target) -> bool:
        done = self._engine.run(
            target.postgres.container_id, ("pg_isready", "-q", "-t", "3", "-p", str(target.postgres.port))
        )
        return done.exit_code == 0

    def _hba(self, order: TargetOrder, found: ContainerState, mode: str) -> str:
        """Run the fence's script where the file is: in the running server, else on its volume."""
        server = order.target.postgres
        if found.running:
            path = self._hba_path(order.target)
            done = self._engine.run(
                found.id,
                ("sh", "-c", script("fence.sh"), "dr", path, mode, server.user),
                user=f"{server.uid}:{server.gid}",
            )
            code, said, text = done.exit_code, done.output, done.errors + done.output
        else:
            job = shell(
                server,
                container_name(order.recovery_id, "open"),
                script("fence.sh"),
                f"{below(server, VOLUME)}/pg_hba.conf",
                mode,
                server.user,
                binds={server.volume: f"{VOLUME}:rw"},
                labelled=labels(order, "open"),
            )
            code, said = run(self._engine, job)
            text = said
        if code != 0:
            raise Refused(
                f"the server cannot be closed by its pg_hba.conf: {text.strip()[-200:]}",
                where=server.container_name,
                hint="is the file writable for the server's user?",
                code="fence-impossible",
            )
        return facts(said).get("state", "")

    def _hba_path(self, target: Target) -> str:
        """Return the file that the server reads: by its own word, else by its arguments."""
        server = target.postgres
        told = self.answer(target, "SHOW hba_file")
        return told or settings_of(server.arguments).get("hba_file") or f"{server.pgdata}/pg_hba.conf"

    def psql(self, target: Target, query: str) -> Executed:
        """Ask through the server's own socket, from inside its container; a stopped one does not answer."""
        server = target.postgres
        try:
            return self._engine.run(
                server.container_id,
                ("psql", "-X", "-w", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-p", str(server.port),
                 "-U", server.user, "-d", "postgres", "-c", query),
                user=f"{server.uid}:{server.gid}",
                environment={"PGAPPNAME": "dr", "PGCONNECT_TIMEOUT": "3"},
            )  # fmt: skip
        except Unavailable as error:
            if error.code != CONTAINER_DOWN:
                raise
            return Executed(exit_code=-1, output="", errors=error.what)

    def answer(self, target: Target, query: str) -> str | None:
        """Return the one value of a query: through the socket, else over TCP where that wants a password."""
        done = self.psql(target, query)
        if done.exit_code == 0:
            return done.output.strip()
        try:
            with self._sql.live(target, timeout_seconds=10) as connection:
                row = connection.execute(query.encode()).fetchone()
        except (Unavailable, psycopg.Error):
            return None
        return None if row is None else str(row[0])

    def _reload(self, target: Target) -> None:
        server = target.postgres
        done = self._engine.run(
            server.container_id,
            ("sh", "-c", 'kill -HUP "$(head -n 1 "$1/postmaster.pid")"', "dr", server.pgdata),
            user=f"{server.uid}:{server.gid}",
        )
        if done.exit_code != 0:
            raise Unavailable(
                f"the server cannot be told to reload: {done.errors.strip()}",
                where=server.container_name,
                code="postgres-unavailable",
            )

    def _end_sessions(self, target: Target) -> int:
        """End the sessions until twice in a row none was left and nobody got in."""
        deadline = time.monotonic() + _LIMIT_SECONDS
        ended = 0
        quiet = 0
        while quiet < 2:  # noqa: PLR2004 - twice: a reload takes effect a moment later
            if time.monotonic() > deadline:
                raise Unavailable(
                    "sessions of others remain on the server", where=target.stack, code="sessions-remain"
                )
            beat(f"{ended} sessions ended")
            found = self._others(target)
            ended += found
            quiet = quiet + 1 if found == 0 and self._refused(target) else 0
        return ended

    def _others(self, target: Target) -> int:
        """Tell every session but this one to end, and return how many there were."""
        done = self.psql(target, _TERMINATE)
        if done.exit_code != 0:
            raise Unavailable(
                f"the closed server does not answer us: {done.errors.strip()[-200:]}",
                where=target.postgres.container_name,
                code="postgres-unavailable",
            )
        return int(done.output.strip() or 0)

    def _refused(self, target: Target) -> bool:
        """Prove from outside, as any client would come, that the door is shut."""
        try:
            with self._sql.live(target, timeout_seconds=3):
                return False
        except Unavailable:
            return True


def _first_record(found: ContainerState) -> dict[str, object]:
    policy = found.raw["HostConfig"].get("RestartPolicy") or {}
    return {"restart_policy": policy.get("Name") or "no"}
