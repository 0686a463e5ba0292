"""Shows that a dump can be restored: into a server of its own, compared with what was recorded at it."""

import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from temporalio import activity

from activities import entries, stored
from activities.alone import alone
from activities.engine import Engine
from activities.postgres import shelf
from activities.postgres.dump import MEMBERSHIPS, ROLES, dump_named
from activities.postgres.dump_contents import Budget, read_database, read_sequences, settle
from activities.postgres.dump_jobs import what_is_wrong
from activities.postgres.dump_load import Loading
from activities.postgres.integrity_counts import check_foreign_keys, check_indexes_valid
from activities.postgres.integrity_sql import CrashedError, guarded
from activities.postgres.restore_base_isolated import require_isolated
from activities.postgres.restore_shown import shown
from activities.postgres.sql import Connection, Sql
from activities.postgres.throwaway import MAINTENANCE, Throwaway
from activities.room import refuse_without_room
from activities.tokens import Tokens
from domain.backups import Level
from domain.comparison import compare, passed
from domain.contents import Contents, DatabaseState
from domain.dumps import EntryTargetOrder, RestoreProven
from domain.entries import Entry
from domain.errors import BackupUnusable, VerificationFailed
from domain.order import Target
from domain.recovery import FOREIGN_KEYS, Copy, Proof

RESTORED_BY = "restored into a server of its own and compared with its record"
_DIGEST_SECONDS = 12 * 3600.0
_SPARE = 1.2
_UNPACKED = 6
"""A dump whose databases' sizes are not known is taken to need so many times its own."""


class DumpChecks:
    """Restores dumps to see whether that can be done."""

    def __init__(self, engine: Engine, sql: Sql, tokens: Tokens, state: Path) -> None:
        """Act through these clients; ``state`` is DR_STATE."""
        self._engine = engine
        self._sql = sql
        self._tokens = tokens
        self._state = state

    @activity.defn(no_thread_cancel_exception=True)
    def verify_restored(self, order: EntryTargetOrder) -> RestoreProven:
        """Restore a dump into a throwaway server without network, compare, and record how it went.

        Raises ``BackupUnusable`` for a dump that differs from its record before it is restored, and
        ``Refused`` without room or memory for the server. What was made is always removed.
        """
        target, where = order.target, Path(order.target.shelf)
        self._tokens.admit(order, target.stack)
        entry = dump_named(where, order.entry_id)
        directory = entries.directory_of(where, entry)
        wrong = stored.what_differs(directory, entry.files)
        wrong = wrong or what_is_wrong(self._engine, target, directory, entry)
        if wrong:
            self._record(where, entry, Level.NONE)
            raise BackupUnusable(f"backup {entry.id}: {wrong}", where=str(directory), code="backup-damaged")
        refuse_without_room(f"to restore {entry.id}", _needed(entry), target.postgres.volumes_root)
        began = time.monotonic()
        server = Throwaway(self._engine, self._sql, self._state, target, entry.id)
        bootstrap = entry.contents.bootstrap or target.postgres.user
        with alone(self._state, server.name), server.running(bootstrap, entry.contents.preloaded) as copy:
            require_isolated(self._engine, self._sql, target, copy)
            proofs = self._restored(target, server, copy, entry)
        well = passed(proofs)
        # What was not shown takes nothing away; what was shown to be wrong does.
        if well or any(proof.passed is False for proof in proofs):
            entry = self._record(where, entry, Level.RESTORED if well else Level.NONE)
        return shown("Dump", entry, proofs, well=well, seconds=time.monotonic() - began)

    def _record(self, where: Path, entry: Entry, level: Level) -> Entry:
        return entries.record_verified(where, entry, level, datetime.now(UTC), RESTORED_BY)

    def _restored(self, target: Target, server: Throwaway, copy: Copy, entry: Entry) -> tuple[Proof, ...]:
        """Restore globals and databases, then compare; the first that cannot be restored ends it."""
        try:
            Loading(self._engine, self._sql, target, entry, server, copy).load()
        except VerificationFailed as failed:
            return (Proof(name="restore", passed=False, evidence=failed.what),)
        whole = Proof(name="restore", passed=True, evidence="globals and databases, without an error")
        names = [database.name for database in entry.contents.databases]
        now, checks = self.look(copy, names)
        return (whole, *compare(entry.contents, now), *checks, _image(target, entry))

    def look(self, copy: Copy, names: list[str]) -> tuple[Contents, list[Proof]]:
        """Return what a restored server holds in these databases, and what its own checks say."""
        budget = Budget(_DIGEST_SECONDS)
        states: list[DatabaseState] = []
        proofs: list[Proof] = []
        for name in names:
            with shelf.asking(copy.container), self._sql.copy(copy, database=name) as connection:
                settle(connection)
                with connection.transaction():
                    connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                    states.append(read_database(connection, name, read_sequences(connection), budget))
                proofs += _checks(connection, name)
        with shelf.asking(copy.container), self._sql.copy(copy, database=MAINTENANCE) as connection:
            roles = connection.execute(ROLES.encode()).fetchall()
            members = connection.execute(MEMBERSHIPS.encode()).fetchall()
        contents = Contents(
            databases=tuple(states),
            roles=tuple(str(row[0]) for row in roles),
            memberships=tuple(str(row[0]) for row in members),
        )
        return contents, proofs


def _checks(connection: Connection, name: str) -> list[Proof]:
    """Follow the foreign keys and look at the indexes of one restored database."""
    proofs: list[Proof] = []
    for said, check in ((FOREIGN_KEYS, check_foreign_keys), ("indexes valid", check_indexes_valid)):
        try:
            found = guarded(connection, said, partial(check, connection))
        except CrashedError as crash:
            return [*proofs, crash.proof]
        proofs.append(found.model_copy(update={"name": f"{said} of {name}"}))
    return proofs


def _image(target: Target, entry: Entry) -> Proof:
    """Say whether the programs were those that had made the dump."""
    known = entry.source.image_id
    if known == target.postgres.image_id:
        return Proof(name="image", passed=True, evidence="restored by the image that it was dumped by")
    said = "restored by another image than it was dumped by" if known else "it is not known what dumped it"
    return Proof(name="image", passed=None, evidence=said)


def _needed(entry: Entry) -> int:
    """Return how much the restored databases take at most."""
    known = sum(database.bytes for database in entry.contents.databases)
    return int((known or entry.bytes * _UNPACKED) * _SPARE)
