"""Verification of a restored copy before anybody relies on it, and of the server after the swap."""

import time
from pathlib import Path

import psycopg
from temporalio import activity

from activities.engine import Engine
from activities.postgres.cluster_files import look_at_cluster
from activities.postgres.integrity_explained import lost_on_copy, told_of
from activities.postgres.integrity_others import check_others
from activities.postgres.integrity_pause import paused_replay
from activities.postgres.integrity_scans import Place, Scan, amcheck, full_read, scan_seconds, watched
from activities.postgres.integrity_sql import (
    CrashedError,
    check_objects,
    check_prepared,
    check_rows,
    check_what_stays_behind,
    last_marker,
)
from activities.postgres.integrity_touched import check_touched
from activities.postgres.last_wal import KIND as LAST_WAL
from activities.postgres.one_shot import prove
from activities.postgres.quiet import check_autovacuum
from activities.postgres.relation_files import bytes_of_all
from activities.postgres.slots import slot_of
from activities.postgres.slots_left import check_slots_left
from activities.postgres.sql import Connection, Sql
from activities.records import Records
from domain.diagnosis import Finding, Witness
from domain.errors import Refused, Unavailable, VerificationFailed
from domain.names import LABEL_RECOVERY
from domain.order import TargetOrder
from domain.recovery import Judged, Proof, Verified, VerifyOrder

KIND = "verified"
_SCAN_SECONDS = 900
"""Least time box of one scan."""
_PASSED = {Finding.SOUND: True, Finding.NOT_MEASURED: None}
_DATA_CHECKS = {"amcheck", "full read", "heap against index"}


class VerifyServerOrder(TargetOrder):
    """Verify the live server after the swap; what is not given is not compared."""

    expected_timeline: int | None = None
    expected_system_identifier: str | None = None


class Integrity:
    """Shows that the data is right, or says what could not be shown."""

    def __init__(self, engine: Engine, sql: Sql, state: Path) -> None:
        """Act through these clients; ``state`` is DR_STATE."""
        self._engine = engine
        self._sql = sql
        self._records = Records(state)

    @activity.defn(no_thread_cancel_exception=True)
    def verify_copy(self, order: VerifyOrder) -> Verified:
        """Verify the copy while its replay stands still at one LSN, and let it go on afterwards.

        ``full=False`` looks only at the tables written since ``since_lsn``, else since the last full
        verification of this recovery; it is on the way of the downtime. Raises ``Refused`` for a
        container of another recovery, ``VerificationFailed`` when replay cannot be paused or resumed.
        """
        self._prove_copy(order)
        began = time.monotonic()
        log_since = int(time.time())
        marker: int | None = None
        with paused_replay(self._sql, order.copy_, ended=self._ended(order)) as lsn:
            try:
                proofs, marker = self.look_at_all(order) if order.full else self._touched(order, lsn)
            except CrashedError as crash:
                proofs = [crash.proof]
        proofs += self._died(order, log_since)
        proofs = told_of(proofs, (lambda: lost_on_copy(self._sql, order)) if order.full else None)
        passed = judge(proofs, full=order.full)
        if passed and order.full and order.recovery_id:
            self._records.write(KIND, order.recovery_id, {"lsn": lsn, "volume": order.copy_.volume})
        return Verified(
            sentence=_sentence(proofs, passed=passed, lsn=lsn, seconds=time.monotonic() - began),
            passed=passed,
            lsn=lsn,
            proofs=tuple(proofs),
            last_marker=marker,
        )

    @activity.defn(no_thread_cancel_exception=True)
    def verify_server(self, order: VerifyServerOrder) -> Judged:
        """Check that the live server is out of recovery, writable, vacuuming, and the expected one."""
        prove(self._engine, order.target)
        with self._sql.live(order.target, timeout_seconds=15) as connection:
            proofs = (
                _out_of_recovery(connection),
                _identity(connection, order),
                _write_probe(connection),
                check_autovacuum(connection),
                *check_prepared(connection),
                *check_slots_left(self._engine, order.target, order.recovery_id, connection),
            )
        failed = [p for p in proofs if p.passed is False]
        said = f"{failed[0].name}: {failed[0].evidence}" if failed else proofs[1].evidence
        begin = "The server is not right" if failed else "The server is writable and vacuums"
        return Judged(sentence=f"{begin}: {said}"[:160], passed=not failed, proofs=proofs)

    def _prove_copy(self, order: VerifyOrder) -> None:
        state = self._engine.look(order.copy_.container)
        if state is None or not state.running:
            raise VerificationFailed(
                "the restored copy does not run", where=order.copy_.container, code="copy-down"
            )
        if order.recovery_id and state.labels.get(LABEL_RECOVERY) != order.recovery_id:
            raise Refused("the copy is of another recovery", where=state.name, code="copy-foreign")

    def _ended(self, order: VerifyOrder) -> str:
        """Return the slot for a promotion when the stopped server's last WAL was replayed, else nothing."""
        drained = self._records.read(LAST_WAL, order.recovery_id) if order.recovery_id else None
        server = self._engine.look(order.target.postgres.container_id)
        gone = server is not None and server.status in {"exited", "dead", "created"}
        return slot_of(order.recovery_id) if gone and drained is not None and "from" in drained else ""

    def _place(self, order: VerifyOrder) -> Place:
        server = order.target.postgres
        return Place(
            container=order.copy_.container,
            owner=f"{server.uid}:{server.gid}",
            user=order.copy_.user,
            database=order.copy_.database,
            environment={"PGHOST": "/sock", "PGPORT": "5432"},
        )

    def _bytes(self, order: VerifyOrder) -> int:
        """Return the size of the copy's databases, 0 when it cannot be read."""
        try:
            with self._sql.copy(order.copy_, timeout_seconds=30) as connection:
                return bytes_of_all(connection)
        except (Unavailable, psycopg.Error):
            return 0

    def look_at_all(self, order: VerifyOrder) -> tuple[list[Proof], int | None]:
        """Return every proof of a copy that stands still, and the highest marker of the ledger on it."""
        place = self._place(order)
        limit = scan_seconds(self._bytes(order), _SCAN_SECONDS)
        checked = amcheck(self._engine, place, limit_seconds=limit)
        proofs = [_proof("amcheck", checked)]
        if checked.crashed:
            # It restarts now, and would look as if it merely did not answer.
            return proofs, None
        read = full_read(self._engine, place, limit_seconds=limit, unlogged=False)
        proofs.append(_proof("full read", read))
        if read.crashed:
            return proofs, None
        proofs += check_others(self._engine, self._sql, order.copy_, place, _proof, limit_seconds=limit)

        def in_sql() -> tuple[list[Proof], int | None]:
            with self._sql.copy(order.copy_, timeout_seconds=limit) as connection:
                more = [*check_rows(connection), *(_as_proof(w) for w in look_at_cluster(connection))]
                more += check_objects(connection, order.baseline, order.checks)
                more += check_what_stays_behind(connection)
                proof, marker = last_marker(connection)
                return [*more, proof], marker

        try:
            more, marker = watched(in_sql, "checking rows and keys")
        except CrashedError as crash:
            return [*proofs, crash.proof], None
        return [*proofs, *more], marker

    def _touched(self, order: VerifyOrder, lsn: str) -> tuple[list[Proof], int | None]:
        """Verify again what WAL wrote to since the last full verification; without one, everything."""
        record = self._records.read(KIND, order.recovery_id) if order.recovery_id else None
        of_this = record is not None and record["volume"] == order.copy_.volume
        since = order.since_lsn or (str(record["lsn"]) if record is not None and of_this else None)
        place = self._place(order)
        return check_touched(self._engine, self._sql, order, place, _proof, since=since, until=lsn)

    def _died(self, order: VerifyOrder, since: int) -> list[Proof]:
        """A process of the copy that was ended by a signal meanwhile is a failure, whatever it was doing."""
        log = self._engine.logs(order.copy_.container, tail=400, since=since)
        line = next((text for text in log.splitlines() if "was terminated by signal" in text), None)
        return [Proof(name="copy survived", passed=False, evidence=line.strip())] if line else []


def judge(proofs: list[Proof], *, full: bool) -> bool:
    """Tell whether the copy may be relied on: nothing failed, and its data was really looked at.

    A full verification needs every table read in two ways; not measured is not good enough.
    """
    made = {proof.name for proof in proofs if proof.passed}
    if any(proof.passed is False for proof in proofs):
        return False
    if not full:
        return bool(made & {"touched tables", "amcheck", "heap against index"})
    return "rows observed" in made and len(made & _DATA_CHECKS) > 1


def _as_proof(seen: Witness) -> Proof:
    return Proof(name=seen.name, passed=_PASSED.get(seen.finding, False), evidence=seen.evidence)


def _proof(name: str, scan: Scan) -> Proof:
    passed = _PASSED.get(scan.finding, False)
    said = f"a backend of the copy died: {scan.evidence}" if scan.crashed else scan.evidence
    return Proof(name=name, passed=False if scan.crashed else passed, evidence=said[:300])


def _sentence(proofs: list[Proof], *, passed: bool, lsn: str, seconds: float) -> str:
    failed = [p for p in proofs if p.passed is False]
    unmade = [p.name for p in proofs if p.passed is None]
    if failed:
        return f"The copy is not right at {lsn}: {failed[0].name}: {failed[0].evidence}"[:160]
    if not passed:
        return f"The copy could not be verified at {lsn}: not measured: {', '.join(unmade)}"[:160]
    more = f", not measured: {', '.join(unmade)}" if unmade else ""
    return f"The copy passed {len(proofs) - len(unmade)} checks at {lsn} in {seconds:.1f} s{more}"[:160]


def _out_of_recovery(connection: Connection) -> Proof:
    row = connection.execute(
        "SELECT pg_is_in_recovery(), (SELECT count(*) FROM pg_ls_dir('.') AS f(name)"
        " WHERE name IN ('standby.signal', 'recovery.signal'))"
    ).fetchone()
    recovering, signals = (bool(row[0]), int(str(row[1]))) if row is not None else (True, 0)
    said = "in recovery" if recovering else "not in recovery"
    return Proof(
        name="out of recovery",
        passed=not recovering and not signals,
        evidence=f"{said}, {signals} recovery signal files",
    )


def _identity(connection: Connection, order: VerifyServerOrder) -> Proof:
    """Timeline and system identifier; the WAL's own name is right at once, the control file is not."""
    row = connection.execute(
        "SELECT CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_walfile_name(pg_current_wal_lsn()) END,"
        " (SELECT system_identifier::text FROM pg_control_system())"
    ).fetchone()
    timeline = int(str(row[0])[:8], 16) if row is not None and row[0] is not None else None
    system = str(row[1]) if row is not None else ""
    wanted, expected = order.expected_timeline, order.expected_system_identifier
    passed = timeline is not None and wanted in {None, timeline} and expected in {None, system}
    said = f"timeline {timeline}" + (f", expected {wanted}" if wanted not in {None, timeline} else "")
    return Proof(name="identity", passed=passed, evidence=f"{said}, system {system}")


def _write_probe(connection: Connection) -> Proof:
    """Commit one row of our own and read it back; without our schema, commit a WAL message."""
    try:
        schema = connection.execute("SELECT to_regnamespace('dr')::text").fetchone()
        limited = connection.execute("SELECT current_setting('transaction_read_only')").fetchone()
        if limited == ("on",):
            return Proof(name="write probe", passed=False, evidence="sessions of the server are read-only")
        if schema is None or schema[0] is None:
            connection.execute("SELECT pg_logical_emit_message(true, 'dr', 'probe')")
            return Proof(name="write probe", passed=True, evidence="a transaction was committed")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS dr.probe (one boolean PRIMARY KEY DEFAULT true CHECK (one),"
            " n bigint NOT NULL)"
        )
        row = connection.execute(
            "INSERT INTO dr.probe (n) VALUES (1)"
            " ON CONFLICT (one) DO UPDATE SET n = dr.probe.n + 1 RETURNING n"
        ).fetchone()
        back = connection.execute("SELECT n FROM dr.probe").fetchone()
    except psycopg.Error as error:
        return Proof(name="write probe", passed=False, evidence=str(error).strip().splitlines()[0])
    return Proof(name="write probe", passed=row == back, evidence="a row was written and read back")
