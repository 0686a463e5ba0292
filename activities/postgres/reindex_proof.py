"""Proves that rebuilt indexes are right, and that the database around them is."""

from datetime import UTC, datetime
from pathlib import Path

import psycopg
from temporalio import activity

from activities.engine import Engine
from activities.postgres.assess import REPAIRED
from activities.postgres.index_check import check_index, find_index
from activities.postgres.integrity_counts import check_foreign_keys, check_indexes_valid
from activities.postgres.integrity_scans import Scan, amcheck, full_read, watched
from activities.postgres.integrity_sql import CrashedError, check_rows, guarded, stack_checks
from activities.postgres.live_place import live_place, strict
from activities.postgres.one_shot import prove
from activities.postgres.relation_files import look_at_files
from activities.postgres.sql import Connection, Sql
from activities.records import Records
from domain.diagnosis import Finding
from domain.recovery import FOREIGN_KEYS, Judged, Proof
from domain.reindexing import VerifyReindexedOrder

_SCAN_SECONDS = 900
_NEEDED = {"amcheck", "full read", "rows observed"}


class ReindexProof:
    """Looks at the server that users are on; changes nothing in it."""

    def __init__(self, engine: Engine, sql: Sql, state: Path) -> None:
        """Look through these clients; ``state`` is DR_STATE."""
        self._engine = engine
        self._sql = sql
        self._records = Records(state)

    @activity.defn(no_thread_cancel_exception=True)
    def verify_reindexed(self, order: VerifyReindexedOrder) -> Judged:
        """Hold each rebuilt index against its table, then read every table in all ways there are.

        When all is well it is written down, so that what the server's log said before is not taken for
        damage of today. Raises ``Unavailable`` when the server cannot be reached.
        """
        prove(self._engine, order.target)
        began = datetime.now(UTC)
        proofs: list[Proof] = []
        main = order.target.postgres.database
        for database in sorted({index.database for index in order.indexes} | {main}):
            names = [index.name for index in order.indexes if index.database == database]
            with self._sql.live(order.target, database=database, timeout_seconds=_SCAN_SECONDS) as connection:
                try:
                    strict(connection)
                    proofs += _indexes(connection, names)
                    proofs += self._scans(order, database)
                    proofs += _in_sql(connection, order, main=database == main)
                except CrashedError as crash:
                    proofs.append(crash.proof)
                except psycopg.Error as error:
                    proofs.append(Proof(name="server survived", passed=False, evidence=str(error).strip()))
        failed = [proof for proof in proofs if proof.passed is False]
        made = {proof.name for proof in proofs if proof.passed}
        passed = not failed and made >= _NEEDED
        if passed:
            record = {"container": order.target.postgres.container_id, "at": began.isoformat()}
            self._records.write(REPAIRED, order.target.stack, record)
        return Judged(sentence=_sentence(proofs, passed=passed), passed=passed, proofs=tuple(proofs))

    def _scans(self, order: VerifyReindexedOrder, database: str) -> list[Proof]:
        place = live_place(self._sql, order.target, database)
        mark = "" if database == order.target.postgres.database else f" {database}"
        return [
            _proof(f"amcheck{mark}", amcheck(self._engine, place, limit_seconds=_SCAN_SECONDS)),
            _proof(f"full read{mark}", full_read(self._engine, place, limit_seconds=_SCAN_SECONDS)),
        ]


def _indexes(connection: Connection, names: list[str]) -> list[Proof]:
    proofs = []
    for name in names:
        index = find_index(connection, name)
        if index is not None:
            proofs.append(check_index(connection, index))
    return proofs


def _in_sql(connection: Connection, order: VerifyReindexedOrder, *, main: bool) -> list[Proof]:
    files = _proof("files", look_at_files(connection))
    if not main:
        return [files]
    proofs = [files, *watched(lambda: check_rows(connection), "counting rows")]
    proofs.append(guarded(connection, FOREIGN_KEYS, lambda: check_foreign_keys(connection)))
    proofs.append(guarded(connection, "indexes valid", lambda: check_indexes_valid(connection)))
    return proofs + stack_checks(connection, order.checks)


def _proof(name: str, scan: Scan) -> Proof:
    passed = {Finding.SOUND: True, Finding.NOT_MEASURED: None}.get(scan.finding, False)
    return Proof(name=name, passed=False if scan.crashed else passed, evidence=scan.evidence[:300])


def _sentence(proofs: list[Proof], *, passed: bool) -> str:
    failed = next((proof for proof in proofs if proof.passed is False), None)
    if failed is not None:
        return f"Not right yet: {failed.name}: {failed.evidence}"[:160]
    unmade = [proof.name for proof in proofs if proof.passed is None]
    if not passed:
        return f"Could not be verified; not measured: {', '.join(unmade)}"[:160]
    rebuilt = sum(proof.name.startswith("index ") for proof in proofs)
    return (
        f"{rebuilt} rebuilt indexes hold every row of their tables; {len(proofs) - len(unmade)} checks passed"
    )
