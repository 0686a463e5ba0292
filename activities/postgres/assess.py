"""The diagnosis of a PostgreSQL server: several independent looks, then a verdict."""

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import LiteralString

import psycopg
from temporalio import activity

from activities.engine import ContainerState, Engine
from activities.postgres.cluster_files import look_at_cluster, look_from_beside
from activities.postgres.identity import look_at_identity
from activities.postgres.index_evidence import disagreeing_tables, look_at_collations
from activities.postgres.index_pages import look_at_index_pages
from activities.postgres.integrity_blocks import Located, locate
from activities.postgres.integrity_counts import Counted, count_rows
from activities.postgres.integrity_scans import Scan, amcheck, full_read, scan_seconds
from activities.postgres.live_place import live_place, strict
from activities.postgres.one_shot import prove
from activities.postgres.relation_files import bytes_of_all, look_at_files
from activities.postgres.sql import Connection, Sql
from activities.postgres.witnesses import (
    ControlSeen,
    LogSeen,
    look_at_container,
    look_at_control_file,
    look_at_log,
)
from activities.pulse import beat
from activities.records import Records
from domain.diagnosis import (
    Assessment,
    DamagedBlock,
    DamagedIndex,
    Finding,
    Look,
    Trouble,
    Verdict,
    Witness,
)
from domain.errors import Unavailable
from domain.order import Target, TargetOrder
from domain.weighing import diagnose

SCAN_SECONDS = 120
"""Least time box of one scan; a scan that is cut off is not measured."""
REPAIRED = "reindexed"
"""Record of a stack whose indexes were rebuilt: what its log said before is explained by it."""
_CONNECT_SECONDS = 6
_DATABASES: LiteralString = (
    "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate AND datconnlimit <> -2"
    " ORDER BY datname <> %s, datname"
)


class _Looks:
    """What was seen so far, in the order in which it was looked at."""

    def __init__(self) -> None:
        self.witnesses: list[Witness] = []
        self.blocks: set[tuple[str, int]] = set()
        self.tables: set[str] = set()
        self.indexes: set[tuple[str, str]] = set()
        """Database and name."""
        self.damaged: list[DamagedBlock] = []
        self.current_lsn: str | None = None
        self.timeline: int | None = None
        self.system_identifier: str | None = None

    def scan(self, look: Look, name: str, seen: Scan, database: str) -> None:
        trouble = Trouble.SETTINGS if seen.not_installed else Trouble.NONE
        self.saw(look, f"{name} {database}", seen.finding, seen.evidence, trouble)
        self.blocks |= set(seen.blocks)
        self.tables |= set(seen.tables)
        self.indexes |= {(database, index) for index in seen.indexes}

    def saw(
        self, look: Look, name: str, finding: Finding, evidence: str, trouble: Trouble = Trouble.NONE
    ) -> None:
        self.witnesses.append(
            Witness(name=name, look=look, finding=finding, evidence=evidence[:300], trouble=trouble)
        )

    def counts(self, database: str, seen: Counted) -> None:
        self.saw(Look.COUNTS, f"heap against index {database}", seen.finding, seen.evidence)
        self.tables |= set(seen.damaged)
        self.indexes |= {(database, index) for index in seen.indexes}

    def located(self, found: Located, database: str) -> None:
        self.damaged += found.blocks
        self.tables |= found.tables
        self.indexes |= {(database, index) for index in found.indexes}

    def proven(self) -> bool:
        """Tell whether two looks at the data agree that it is damaged."""
        direct = {Look.AMCHECK, Look.FULL_READ, Look.COUNTS, Look.FILES}
        return len({w.look for w in self.witnesses if w.finding is Finding.DAMAGED and w.look in direct}) > 1


class Diagnosis:
    """Tells corruption from everything that merely looks like it."""

    def __init__(self, engine: Engine, sql: Sql, state: Path) -> None:
        """Look through these clients; ``state`` is DR_STATE."""
        self._engine = engine
        self._sql = sql
        self._records = Records(state)

    @activity.defn(no_thread_cancel_exception=True)
    def assess_corruption(self, order: TargetOrder) -> Assessment:
        """Look at the server with all witnesses that can be had, and change nothing.

        Raises ``Refused`` when the container is not the one of the target.
        """
        state = prove(self._engine, order.target)
        began = datetime.now(UTC)
        looks = _Looks()
        refusal = self._refusal(order.target) if state.running else "it does not run"
        answers = not refusal
        state = self._engine.look(state.id) or state
        looks.witnesses.append(look_at_container(state, order.target.postgres, answers=answers))
        since = self._repaired_at(order.target)
        log = look_at_log(self._engine, order, state, answers=answers, since=since)
        control = look_at_control_file(self._engine, order, state)
        looks.witnesses += [log.witness, control.witness]
        looks.witnesses += look_at_identity(order.target, control.system_identifier)
        looks.blocks |= set(log.blocks)
        looks.timeline, looks.system_identifier = control.timeline, control.system_identifier
        if answers:
            self._look_inside(order.target, looks)
        elif state.running:
            looks.saw(Look.CONTAINER, "connection", Finding.NOT_MEASURED, refusal)
            looks.witnesses += look_from_beside(self._sql, order.target)
        return self._conclude(
            order.target, state, answers=answers, looks=looks, log=log, control=control, began=began
        )

    def _repaired_at(self, target: Target) -> datetime | None:
        """Return when the server's indexes were last rebuilt and all was found sound, if they were."""
        record = self._records.read(REPAIRED, target.stack)
        if record is None or record["container"] != target.postgres.container_id:
            return None
        return datetime.fromisoformat(record["at"])

    def _refusal(self, target: Target) -> str:
        """Try for a few seconds, for a server that starts is not one that is down; return why it fails."""
        deadline = time.monotonic() + _CONNECT_SECONDS
        while True:
            beat("connecting to the server")
            try:
                with self._sql.live(target, timeout_seconds=5) as connection:
                    connection.execute("SELECT 1")
            except (Unavailable, psycopg.Error) as error:
                found = self._engine.look(target.postgres.container_id)
                if time.monotonic() > deadline or found is None or not found.running:
                    return str(error).strip() or type(error).__name__
                time.sleep(0.3)
            else:
                return ""

    def _look_inside(self, target: Target, looks: _Looks) -> None:
        main = target.postgres.database
        try:
            with self._sql.live(target, timeout_seconds=SCAN_SECONDS) as connection:
                self._ask_server(connection, looks)
                looks.witnesses += look_at_cluster(connection)
                databases = [str(row[0]) for row in connection.execute(_DATABASES, [main]).fetchall()]
        except (Unavailable, psycopg.Error) as error:
            looks.scan(Look.AMCHECK, "pg_amcheck", Scan(Finding.NOT_MEASURED, str(error).strip()), main)
            return
        limit = scan_seconds(self._bytes(target), SCAN_SECONDS)
        for database in databases:
            self._scan(target, database, looks, limit)
        for database in databases:
            try:
                with self._sql.live(target, database=database, timeout_seconds=30) as connection:
                    looks.located(locate(connection, looks.blocks), database)
            except (Unavailable, psycopg.Error):
                continue

    def _ask_server(self, connection: Connection, looks: _Looks) -> None:
        row = connection.execute(
            "SELECT CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_current_wal_lsn()::text END,"
            " CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_walfile_name(pg_current_wal_lsn()) END,"
            " current_setting('data_checksums'),"
            " (SELECT sum(coalesce(checksum_failures, 0)) FROM pg_stat_database)"
        ).fetchone()
        if row is None:
            return
        if row[0] is not None:
            looks.current_lsn, looks.timeline = str(row[0]), int(str(row[1])[:8], 16)
        failures = int(str(row[3] or 0))
        finding, said = Finding.NOT_MEASURED, "data checksums are off"
        if row[2] == "on":
            finding = Finding.DAMAGED if failures else Finding.SOUND
            said = f"{failures} checksum failures counted"
        looks.witnesses.append(
            Witness(name="checksum failures", look=Look.CHECKSUMS, finding=finding, evidence=said)
        )

    def _scan(self, target: Target, database: str, looks: _Looks, limit: int) -> None:
        """Run the costly looks at one database; of one that is not protected only what needs no extension."""
        main = database == target.postgres.database
        self._files(target, database, looks, limit)
        place = live_place(self._sql, target, database)
        checked = amcheck(self._engine, place, limit_seconds=limit)
        if main or checked.finding is not Finding.NOT_MEASURED:
            looks.scan(Look.AMCHECK, "pg_amcheck", checked, database)
        read = full_read(self._engine, place, limit_seconds=limit)
        # A database without tables has nothing that could be read.
        if main or read.finding is not Finding.NOT_MEASURED:
            looks.scan(Look.FULL_READ, "full read", read, database)
        if looks.proven():
            return
        try:
            with self._sql.live(target, database=database, timeout_seconds=limit) as connection:
                strict(connection)
                table = disagreeing_tables(connection, checked.disagreeing)
                if table is not None:
                    looks.saw(Look.COUNTS, f"indexes against each other {database}", Finding.DAMAGED, table)
                counted = count_rows(connection)
        except (Unavailable, psycopg.Error) as error:
            counted = Counted(Finding.NOT_MEASURED, str(error).strip(), {})
        if main or counted.finding is not Finding.NOT_MEASURED:
            looks.counts(database, counted)

    def _bytes(self, target: Target) -> int:
        """Return the size of all databases, 0 when even that cannot be read."""
        try:
            with self._sql.live(target, timeout_seconds=30) as connection:
                return bytes_of_all(connection)
        except (Unavailable, psycopg.Error):
            return 0

    def _files(self, target: Target, database: str, looks: _Looks, limit: int) -> None:
        """Look at the files of a database, and at what orders its text."""
        try:
            with self._sql.live(target, database=database, timeout_seconds=30) as connection:
                looks.scan(Look.FILES, "files", look_at_files(connection), database)
                looks.witnesses.append(look_at_collations(connection, database))
                pages = look_at_index_pages(connection, limit_seconds=limit)
                if pages is not None:
                    looks.scan(Look.FILES, "index pages", pages, database)
        except Unavailable as error:
            looks.saw(Look.FILES, f"files {database}", Finding.NOT_MEASURED, str(error))

    def _conclude(
        self,
        target: Target,
        state: ContainerState,
        *,
        answers: bool,
        looks: _Looks,
        log: LogSeen,
        control: ControlSeen,
        began: datetime,
    ) -> Assessment:
        meaning = diagnose(
            looks.witnesses, running=state.running, answers=answers, others_run=self._others_run(target)
        )
        bad = meaning.verdict in {Verdict.CORRUPT, Verdict.INDEX_ONLY}
        first = (log.first_at or began) if bad else None
        before = first is not None and control.checkpoint_at is not None and control.checkpoint_at < first
        return Assessment(
            sentence=_sentence(meaning.verdict, meaning.because, looks.witnesses),
            verdict=meaning.verdict,
            because=meaning.because,
            fitting_scenario=meaning.fitting_scenario,
            witnesses=tuple(looks.witnesses),
            running=state.running,
            answers=answers,
            damaged_blocks=tuple(looks.damaged),
            damaged_indexes=tuple(sorted({name for _, name in looks.indexes})),
            indexes=tuple(DamagedIndex(database=d, name=n) for d, n in sorted(looks.indexes)),
            damaged_tables=tuple(sorted(looks.tables)),
            first_evidence_at=first,
            first_evidence_lsn=control.redo_lsn if before else None,
            timeline=looks.timeline,
            system_identifier=looks.system_identifier,
            current_lsn=looks.current_lsn,
            data_checksums=control.checksums,
        )

    def _others_run(self, target: Target) -> bool:
        found: Iterable[ContainerState] = self._engine.find(target.project)
        return any(c.running for c in found if c.id != target.postgres.container_id)


def _sentence(verdict: Verdict, because: str, witnesses: list[Witness]) -> str:
    measured = sum(w.finding is not Finding.NOT_MEASURED for w in witnesses)
    said = {
        Verdict.CORRUPT: "The database is corrupt",
        Verdict.INDEX_ONLY: "Only indexes are damaged",
        Verdict.SOUND: "The database is sound",
        Verdict.OTHER_TROUBLE: "Not corruption",
        Verdict.UNKNOWN: "Cannot tell",
    }[verdict]
    return f"{said} ({measured} of {len(witnesses)} witnesses measured): {because}"[:160]
