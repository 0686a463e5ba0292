"""Shows that a base backup can be restored: on a server of its own, checked, compared with its record."""

import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import psycopg
from temporalio import activity

from activities import catalogue, entries
from activities.alone import alone
from activities.engine import Engine
from activities.postgres import manifest, shelf
from activities.postgres.contents import read_beside
from activities.postgres.integrity import Integrity, judge
from activities.postgres.integrity_counts import count_orphans
from activities.postgres.integrity_sql import CrashedError, guarded
from activities.postgres.restore_base_isolated import require_isolated
from activities.postgres.restore_base_server import BaseThrowaway
from activities.postgres.restore_dump import RESTORED_BY
from activities.postgres.restore_shown import shown
from activities.postgres.sql import Sql
from activities.room import refuse_without_room
from activities.tokens import Tokens
from domain.backups import Backup, Level
from domain.contents import Contents
from domain.dumps import RestoreProven
from domain.entries import Entry, entry_of
from domain.errors import BackupUnusable, Unavailable, VerificationFailed
from domain.recovery import Copy, Proof, VerifyOrder
from domain.verification_base import (
    OrphansOf,
    ProveBaseOrder,
    comparable,
    compare_beside,
    lacking,
    told_of_indexes,
    told_of_orphans,
)

_SPARE = 1.2


class BaseChecks:
    """Restores base backups to see whether that can be done."""

    def __init__(self, engine: Engine, sql: Sql, tokens: Tokens, state: Path) -> None:
        """Act through these clients; ``state`` is DR_STATE."""
        self._engine = engine
        self._sql = sql
        self._tokens = tokens
        self._state = state

    @activity.defn(no_thread_cancel_exception=True)
    def verify_base_restored(self, order: ProveBaseOrder) -> RestoreProven:
        """Restore a base backup with its WAL into a throwaway server without network, check and compare.

        The checks are those of a recovery's copy. Raises ``BackupUnusable`` for a backup that differs from
        its record before it is restored, ``Refused`` without room or memory for the server, or when the
        server could be reached by anybody. What was made is always removed.
        """
        target, where = order.target, Path(order.target.shelf)
        self._tokens.admit(order, target.stack)
        backup = catalogue.find_backup(where, order.entry_id)
        server = BaseThrowaway(self._engine, self._sql, self._state, target, backup)
        with alone(self._state, server.name):
            wrong = manifest.what_is_wrong(
                self._engine, target, backup, name=f"{server.name}-read", labels=server.labels
            )
            if wrong:
                self._record(where, entry_of(backup), Level.NONE)
                raise BackupUnusable(
                    f"backup {backup.id}: {wrong}", where=str(where / backup.path), code="backup-damaged"
                )
            refuse_without_room(
                f"to restore {backup.id}", int(backup.bytes * _SPARE), target.postgres.volumes_root
            )
            began = time.monotonic()
            proofs = self._restored(order, server, backup)
        entry = entry_of(backup)
        well = judge(list(proofs), full=True) and not lacking(proofs)
        # What was not shown takes nothing away; what was shown to be wrong does.
        if well or any(proof.passed is False for proof in proofs):
            entry = self._record(where, entry, Level.RESTORED if well else Level.NONE)
        return shown("Base backup", entry, proofs, well=well, seconds=time.monotonic() - began)

    def _record(self, where: Path, entry: Entry, level: Level) -> Entry:
        return entries.record_verified(where, entry, level, datetime.now(UTC), RESTORED_BY)

    def _restored(self, order: ProveBaseOrder, server: BaseThrowaway, backup: Backup) -> tuple[Proof, ...]:
        """Restore and look; a server that does not come up on the files shows that they are no good."""
        target = order.target
        try:
            with server.running(target.postgres.user, "") as made:
                copy = made.model_copy(update={"database": target.postgres.database})
                isolated = require_isolated(self._engine, self._sql, target, made)
                if not self._holds(made, copy.database):
                    said = f"the backup holds no database {copy.database}"
                    return (isolated, Proof(name="restore", passed=False, evidence=said))
                return (isolated, *self._look(order, copy, backup))
        except BackupUnusable as unusable:
            return (Proof(name="restore", passed=False, evidence=unusable.what),)
        except VerificationFailed as failed:
            return (Proof(name="restore", passed=False, evidence=failed.what),)

    def _look(self, order: ProveBaseOrder, copy: Copy, backup: Backup) -> list[Proof]:
        recorded = comparable(backup)
        wanted = VerifyOrder(
            target=order.target,
            copy_=copy,
            checks=order.checks,
            baseline=recorded if recorded.tables else None,
        )
        proofs = [self._identity(copy, backup)]
        found, _ = Integrity(self._engine, self._sql, self._state).look_at_all(wanted)
        proofs += found
        if any(proof.evidence.startswith("a backend of the copy died") for proof in found):
            return proofs
        with shelf.asking(copy.container), self._sql.copy(copy) as connection:
            now = Contents()

            def beside() -> Proof:
                nonlocal now
                now = read_beside(connection)
                return Proof(name="catalog", passed=True, evidence="roles and sequences were read")

            try:
                proofs.append(guarded(connection, "catalog", partial(beside)))
            except CrashedError as crash:
                return [*proofs, crash.proof]
        proofs = told_of_orphans(proofs, lambda: self._orphans(order, copy))
        return [*told_of_indexes(proofs, recorded, now), *compare_beside(recorded, now)]

    def _holds(self, made: Copy, database: str) -> bool:
        with shelf.asking(made.container), self._sql.copy(made, timeout_seconds=10) as connection:
            row = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone()
        return row is not None

    def _orphans(self, order: ProveBaseOrder, copy: Copy) -> tuple[OrphansOf, OrphansOf] | None:
        """Return the rows without their referenced row on the copy, and of the same keys on the server.

        ``None`` when the server does not answer, or reads badly itself.
        """
        with shelf.asking(copy.container), self._sql.copy(copy) as connection:
            here = {key: one.rows for key, one in count_orphans(connection).items() if one.rows}
        try:
            with self._sql.live(order.target) as connection:
                there = {key: one.rows for key, one in count_orphans(connection, only=here).items()}
        except (Unavailable, psycopg.Error):
            return None
        return here, there

    def _identity(self, copy: Copy, backup: Backup) -> Proof:
        """Show that the server came up on this very backup, and past its end."""
        with shelf.asking(copy.container), self._sql.copy(copy, timeout_seconds=10) as connection:
            row = connection.execute(
                "SELECT pg_is_in_recovery(), (SELECT system_identifier::text FROM pg_control_system()),"
                " pg_current_wal_lsn() >= %s::pg_lsn",
                [backup.stop_lsn],
            ).fetchone() or (True, "", False)
        wrong = []
        if row[0]:
            wrong.append("it is still in recovery")
        if str(row[1]) != backup.system_identifier:
            wrong.append(f"it is of system {row[1]}")
        if not row[2]:
            wrong.append(f"it did not reach {backup.stop_lsn}, the end of the backup")
        said = f"system {row[1]}, replayed past {backup.stop_lsn}"
        return Proof(name="restore", passed=not wrong, evidence="; ".join(wrong) or said)
