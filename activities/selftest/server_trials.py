"""M17 to M19 and M22: servers that answer and are not what they seem."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import psycopg

from activities.in_use import refuse_if_in_use
from activities.postgres.fence import Fencing
from activities.postgres.integrity import Integrity, VerifyServerOrder
from activities.postgres.integrity_sql import check_rows, stack_checks
from activities.probes import Probes
from activities.selftest.control_trials import CHECKS
from activities.selftest.data_trials import DataTrials
from activities.selftest.good import Good
from activities.selftest.stage import Stage
from activities.selftest.trial import Answer, Check, Trials, by_error, by_judgement, by_proofs
from activities.tokens import Tokens
from domain.errors import Unavailable
from domain.order import TargetOrder
from domain.recovery_target import check_target
from domain.stack import Check as StackCheck

PROOF = "proof of the server after the swap"
PROBE = "probe of the service"
SMOKE = "checks of the stack file"
OBSERVED = "rows observed"
TARGET = "recovery target"
DELETION = "the incident's own query"
FENCE = "fence of the old server"
IN_USE = "volume in use by others"
_INCIDENT = StackCheck(
    name="the deleted messages are back",
    sql="SELECT count(*) FROM messages WHERE channel_id = 3",
    expect="positive",
)
_MARK = "# dr: closed for a recovery"
_OPEN = f"{_MARK}\nlocal all all trust\nhost all all all trust\nhost replication all all trust\n"
_WRITE = "INSERT INTO dr.marker (n) SELECT max(n) + 1 FROM dr.marker"
_RECOVERY = "selftest"
_APART = timedelta(hours=1)


class ServerTrials:
    """Tries the checks of servers; it stops and starts the stage, and so comes last."""

    def __init__(self, stage: Stage, good: Good, data: DataTrials, trials: Trials) -> None:
        """Note everything in ``trials``; ``data`` makes copies of the specimen."""
        self._stage = stage
        self._good = good
        self._data = data
        self._trials = trials

    def run(self) -> None:
        """Take one quality after the other from the server of the stage."""
        self._moment()
        self._empty()
        self._takes_no_write()
        self._still_writes()

    def _moment(self) -> None:
        """Ask for other moments than the one that the copy stands at."""
        last = self._stage.ask("SELECT extract(epoch FROM max(at)) FROM dr.marker")
        at = datetime.fromtimestamp(float(last), UTC)
        said = f"the last marker is of {at:%H:%M:%S}"
        self._trials.control("Q1", "the moment itself", TARGET, _target(at + timedelta(seconds=1), at))
        for what, target in (
            ("what came after the target is there", at - _APART),
            ("the target was not reached", at + _APART),
        ):
            self._trials.mutant("M18", what, _seen(said), TARGET, _target(target, at))
        self._trials.control("Q1", "the specimen itself", DELETION, self._smoke(None, _INCIDENT))
        damage = self._data.changed(
            "deleted_still",
            "DELETE FROM messages WHERE channel_id = 3",
            "NOT EXISTS (SELECT FROM messages WHERE channel_id = 3)",
        )
        ask = self._smoke("deleted_still", _INCIDENT)
        self._trials.mutant("M18", "the deletion is still in effect", damage, DELETION, ask)

    def _empty(self) -> None:
        """Empty a database: it answers every question."""
        self._trials.control("Q1", "the specimen itself", SMOKE, self._smoke(None, *CHECKS))
        self._trials.control("Q1", "the specimen itself", OBSERVED, self._rows(None))
        for name, what, statement, shown in (
            ("hollow", "every table is empty", "TRUNCATE messages, authors, channels, notes", _HOLLOW),
            ("bare", "no table is there", "DROP TABLE messages, authors, channels, notes", _BARE),
        ):
            damage = self._data.changed(name, statement, shown)
            asked = {SMOKE: self._smoke(name, *CHECKS), OBSERVED: self._rows(name)}
            self._trials.forms("M19", f"{what}, and the database answers", damage, asked)

    def _takes_no_write(self) -> None:
        asked: dict[str, Check] = {PROOF: self._proved, PROBE: self._probed}
        for check, ask in asked.items():
            self._trials.control("Q1", "the stage's server", check, ask)
        self._trials.forms("M17", "sessions are read-only", self._read_only(), asked)
        self._trials.forms("M17", "the server is still in recovery", self._recovering(), asked)

    def _still_writes(self) -> None:
        """Let the server's old side take writes although it counts as closed."""
        self._trials.control("Q1", "the stage's server, closed", FENCE, self._fenced)
        self._trials.mutant("M22", "a fence that lets everybody in", self._open_fence(), FENCE, self._fenced)
        self._trials.mutant(
            "M22", "the container stopped, a second one on its volume", self._second(), IN_USE, self._taken
        )

    # -- checks -----------------------------------------------------------------------------------

    def _smoke(self, database: str | None, *checks: StackCheck) -> Check:
        def ask() -> Answer:
            with self._stage.sql.copy(self._stage.copy(), database=database) as connection:
                proofs = stack_checks(connection, checks)
            return by_judgement(proofs, passed=all(proof.passed for proof in proofs))

        return ask

    def _rows(self, database: str | None) -> Check:
        def ask() -> Answer:
            with self._stage.sql.copy(self._stage.copy(), database=database) as connection:
                return by_proofs(check_rows(connection), "rows observed")

        return ask

    def _proved(self) -> Answer:
        integrity = Integrity(self._stage.engine, self._stage.sql, self._stage.state)
        judged = integrity.verify_server(VerifyServerOrder(target=self._stage.target()))
        return by_judgement(judged.proofs, passed=judged.passed)

    def _probed(self) -> Answer:
        target = self._stage.target()
        return by_proofs([Probes(self._stage.engine, sql=self._stage.sql).probe(target, target.services[0])])

    def _fenced(self) -> Answer:
        stage = self._stage
        fencing = Fencing(stage.engine, stage.sql, Tokens(stage.state), stage.state)
        order = TargetOrder(recovery_id=_RECOVERY, target=stage.target())
        try:
            return by_error(lambda: fencing.ensure_fenced(order), "sessions-remain")
        finally:
            fencing.ensure_unfenced(order)

    def _taken(self) -> Answer:
        found = self._stage.target().postgres
        return by_error(
            lambda: refuse_if_in_use(
                self._stage.engine, {found.volume}, but=found.container_id, writable_only=True
            ),
            "volume-in-use",
        )

    # -- states -----------------------------------------------------------------------------------

    @contextmanager
    def _read_only(self) -> Iterator[str]:
        self._set("ALTER SYSTEM SET default_transaction_read_only = on", "on")
        try:
            yield self._refusal()
        finally:
            self._set("ALTER SYSTEM RESET default_transaction_read_only", "off")

    def _set(self, statement: str, wanted: str) -> None:
        """Change the setting with a session of its own, and wait until new ones have it."""
        self._stage.do("SET default_transaction_read_only = off", statement, "SELECT pg_reload_conf()")

        def there() -> None:
            if self._stage.ask("SHOW default_transaction_read_only") != wanted:
                raise Unavailable("the server was not reloaded yet", code="selftest-server")

        self._stage.wait(there)

    def _refusal(self) -> str:
        """Return how the server refuses a row, or nothing when it takes it."""
        try:
            self._stage.do(_WRITE)
        except psycopg.Error as error:
            return str(error).strip().splitlines()[0]
        return ""

    @contextmanager
    def _recovering(self) -> Iterator[str]:
        stage = self._stage
        signal = f"{self._good.target.postgres.pgdata}/standby.signal"
        stage.stop(stage.name)
        try:
            stage.on_volume(f"touch {signal}")
            stage.start(stage.name)
            yield "pg_is_in_recovery() is true" if stage.ask("SELECT pg_is_in_recovery()") == "True" else ""
        finally:
            stage.stop(stage.name)
            stage.on_volume(f"rm -f {signal}")
            stage.start(stage.name)

    @contextmanager
    def _open_fence(self) -> Iterator[str]:
        """Have rules that begin as the closed ones do and let everybody in."""
        hba = f"{self._good.target.postgres.pgdata}/pg_hba.conf"
        self._stage.inside('cp -p "$1" "$1.dr-kept" && printf "%s" "$2" >"$1"', hba, _OPEN)
        self._stage.do("SELECT pg_reload_conf()")
        try:
            with self._stage.sql.live(self._stage.target(), timeout_seconds=10) as connection:
                row = connection.execute(f"{_WRITE} RETURNING n".encode()).fetchone()
            yield f"over TCP it took row {row[0]}" if row else ""
        finally:
            self._stage.inside('test ! -f "$1.dr-kept" || mv "$1.dr-kept" "$1"', hba)
            self._stage.do("SELECT pg_reload_conf()")

    @contextmanager
    def _second(self) -> Iterator[str]:
        """Start a second server on the volume of the first one, which is stopped."""
        stage = self._stage
        other = f"{stage.name}-second"
        stage.stop(stage.name)
        try:
            stage.start(other)
            stage.do(_WRITE)
            yield f"{other} took a row, {stage.name} is stopped"
        finally:
            if stage.engine.look(other) is not None:
                stage.stop(other)
                stage.engine.remove(other, force=True)
            stage.start(stage.name)


_HOLLOW = "(SELECT count(*) FROM messages) = 0"
_BARE = "to_regclass('messages') IS NULL"


@contextmanager
def _seen(said: str) -> Iterator[str]:
    yield said


def _target(target: datetime, last: datetime) -> Check:
    return lambda: by_proofs([check_target(target, last)])
