"""Dumps of every database and of the globals, each at one snapshot, with what it held at that snapshot."""

import errno
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from temporalio import activity

from activities import entries, stored
from activities.alone import alone
from activities.engine import Engine
from activities.postgres import shelf
from activities.postgres.dump_contents import Budget, read_database, read_sequences, settle
from activities.postgres.dump_jobs import (
    LABEL_BACKUP,
    READ_ROLE,
    DumpJobs,
    dump_labels,
    file_for,
    stand_back,
    what_is_wrong,
)
from activities.postgres.recorded import write_dump
from activities.postgres.sql import Connection, Sql
from activities.room import ON_SHELF, no_room, refuse_without_room
from activities.shelf_place import id_in, unfinished
from activities.tokens import Tokens
from domain.backups import Level, spoken_bytes
from domain.contents import Contents, DatabaseState, TableState
from domain.dumps import GLOBALS, DumpKind, DumpOrder, EntryTargetOrder
from domain.entries import Entry, Source, files_sha256, place_of, shown
from domain.errors import BackupUnusable, Refused
from domain.order import Target

STORE = "postgres"
READ_BY = "sizes, SHA-256, and pg_restore reading all of it"
_SPARE = 2
_FACTS = """
SELECT (SELECT system_identifier::text FROM pg_control_system()), current_setting('server_version'),
       (SELECT timeline_id FROM pg_control_checkpoint()),
       (SELECT rolname::text FROM pg_authid WHERE oid = 10), current_setting('shared_preload_libraries')
"""
_MAY = """
SELECT rolsuper OR (rolbypassrls AND has_table_privilege('pg_authid', 'SELECT'))
  FROM pg_roles WHERE rolname = current_user
"""
_DATABASES = """
SELECT oid::int8, datname::text, pg_database_size(oid)::int8, datallowconn AND datconnlimit <> -2
  FROM pg_database WHERE NOT datistemplate ORDER BY datname
"""
ROLES = "SELECT rolname::text FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY 1"
MEMBERSHIPS = """
SELECT DISTINCT m.rolname || ' in ' || r.rolname FROM pg_auth_members a
  JOIN pg_roles m ON m.oid = a.member JOIN pg_roles r ON r.oid = a.roleid ORDER BY 1
"""


@dataclass(frozen=True)
class _Database:
    name: str
    file: str
    bytes: int


@dataclass(frozen=True)
class _Server:
    """What the server said before anything was made."""

    source: Source
    bootstrap: str
    preloaded: str
    databases: tuple[_Database, ...]
    closed: tuple[str, ...]
    roles: frozenset[str]
    memberships: frozenset[str]


class Dumps:
    """Dumps a running server, and verifies what was dumped."""

    def __init__(self, engine: Engine, sql: Sql, tokens: Tokens, state: Path) -> None:
        """Act through these clients; ``state`` is DR_STATE."""
        self._engine = engine
        self._sql = sql
        self._tokens = tokens
        self._state = state

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_dump(self, order: DumpOrder) -> Entry:
        """Dump all databases and the globals, or return the dump that has this label.

        A snapshot lives no longer than the worker that exported it, so that a dump which was cut off
        is begun anew. Raises ``Refused`` without room, without the right to see every row, or while a
        recovery is open, ``Unavailable`` when a program failed, ``BackupUnusable`` when what it wrote
        cannot be read.
        """
        target = order.target
        self._tokens.admit(order, target.stack)
        with alone(self._state, f"dump-{target.stack}-{order.kind}"):
            stand_back(self._engine, self._state, order)
            return shown(self._ensured(order))

    @activity.defn(no_thread_cancel_exception=True)
    def verify_dump(self, order: EntryTargetOrder) -> Entry:
        """Compare a dump with its record, read all of it, and record level and date.

        A dump that was restored keeps that level and its date. Raises ``BackupUnusable`` for a damaged
        one, after its level was taken away.
        """
        target, where = order.target, Path(order.target.shelf)
        self._tokens.admit(order, target.stack)
        entry = dump_named(where, order.entry_id)
        directory = entries.directory_of(where, entry)
        wrong = stored.what_differs(directory, entry.files)
        wrong = wrong or what_is_wrong(self._engine, target, directory, entry)
        if wrong:
            entries.record_verified(where, entry, Level.NONE, datetime.now(UTC), READ_BY)
            raise BackupUnusable(f"backup {entry.id}: {wrong}", where=str(directory), code="backup-damaged")
        if entry.verified is not Level.RESTORED:
            entry = entries.record_verified(where, entry, Level.MANIFEST, datetime.now(UTC), READ_BY)
        said = f"Dump {entry.id} was read to its end and agrees with its record: {spoken_bytes(entry.bytes)}."
        return shown(entry.model_copy(update={"sentence": said}))

    def _ensured(self, order: DumpOrder) -> Entry:
        target, where = order.target, Path(order.target.shelf)
        directory = shelf.prepare(target) / order.kind
        shelf.own(directory, target)
        self._clear(target, order.kind, directory)
        for known in entries.read_entries(where)[0]:
            if (known.store, known.kind, known.label) == (STORE, order.kind, order.label):
                return known
        server = self._look(target)
        self._refuse_without_room(target, order.kind, server)
        partial = entries.partial_of(where, STORE, order.kind, entries.new_id(directory, order.kind))
        shelf.own(partial, target)
        try:
            return self._dump(order, partial, server)
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                raise
            raise no_room("the disk is full: the dump could not be finished", target.shelf) from None
        finally:
            self._clear(target, order.kind, directory)

    def _clear(self, target: Target, kind: DumpKind, directory: Path) -> None:
        """Remove what an attempt left that ended in the middle: its jobs first, then what they wrote."""
        left = unfinished(directory)
        wanted = [dump_labels(target, kind)]
        wanted += [{**dump_labels(target, kind, READ_ROLE), LABEL_BACKUP: id_in(path)} for path in left]
        for labels in wanted:
            for job in self._engine.labelled(*(f"{key}={value}" for key, value in labels.items())):
                self._engine.remove(job.id, force=True)
        for path in left:
            shutil.rmtree(path)

    def _look(self, target: Target) -> _Server:
        with shelf.asking(target.postgres.container_name), self._sql.live(target) as connection:
            if connection.execute(_MAY.encode()).fetchone() != (True,):
                raise Refused(
                    f"the account {target.postgres.user} may not read every row and the roles' passwords",
                    where=target.postgres.container_name,
                    hint="name a superuser as the user of the database in the stack file",
                    code="account-too-weak",
                )
            row = connection.execute(_FACTS.encode()).fetchone() or (None,) * 5
            found = connection.execute(_DATABASES.encode()).fetchall()
            roles, memberships = _roles(connection)
        identifier, version, timeline, bootstrap, preloaded = row
        return _Server(
            source=Source(
                stack=target.stack,
                system_identifier=str(identifier),
                version=str(version),
                image_id=target.postgres.image_id,
                timeline=int(str(timeline)),
            ),
            bootstrap=str(bootstrap),
            preloaded=str(preloaded),
            databases=tuple(
                _Database(str(name), file_for(int(str(oid)), str(name)), int(str(size)))
                for oid, name, size, is_open in found
                if is_open
            ),
            closed=tuple(str(name) for _, name, _, is_open in found if not is_open),
            roles=roles,
            memberships=memberships,
        )

    def _refuse_without_room(self, target: Target, kind: DumpKind, server: _Server) -> None:
        """Refuse when the databases would not fit; the last dump says how much less a dump is."""
        needed = sum(database.bytes for database in server.databases)
        known = entries.read_entries(Path(target.shelf))[0]
        last = next((e for e in known if e.store == STORE and e.kind == kind), None)
        if last is not None:
            needed = min(needed, last.bytes * _SPARE)
        refuse_without_room("for a dump", needed, target.shelf, hint=ON_SHELF)

    def _dump(self, order: DumpOrder, partial: Path, server: _Server) -> Entry:
        target = order.target
        began = datetime.now(UTC)
        environment = shelf.connection_environment(self._sql, target)
        jobs = DumpJobs(
            self._engine, target, partial, environment, lambda: stand_back(self._engine, self._state, order)
        )
        budget = Budget(order.digest_seconds)
        databases = tuple(self._dump_one(order, jobs, one, budget) for one in server.databases)
        self._engine.ensure_job(jobs.globals())
        jobs.follow(jobs.globals(), GLOBALS, "the dump of the globals")
        with shelf.asking(target.postgres.container_name), self._sql.live(target) as connection:
            roles, memberships = _roles(connection)
        contents = Contents(
            databases=databases,
            # Only what was there before and after was there all the time that the globals were read.
            roles=tuple(sorted(roles & server.roles)),
            memberships=tuple(sorted(memberships & server.memberships)),
            bootstrap=server.bootstrap,
            preloaded=server.preloaded,
        )
        return self._finish(order, partial, server, contents, began)

    def _dump_one(
        self, order: DumpOrder, jobs: DumpJobs, database: _Database, budget: Budget
    ) -> DatabaseState:
        """Dump one database at a snapshot of ours, and read at the same snapshot what it holds."""
        target, what = order.target, f"the dump of {database.name}"
        with (
            shelf.asking(target.postgres.container_name),
            self._sql.live(target, database=database.name) as connection,
        ):
            settle(connection)
            with connection.transaction():
                connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                sequences = read_sequences(connection)
                (snapshot,) = connection.execute("SELECT pg_export_snapshot()").fetchone() or ("",)
                job = jobs.database(database.name, database.file, str(snapshot), compressed=order.compressed)
                self._engine.ensure_job(job)
                state = read_database(connection, database.name, sequences, budget)
                jobs.follow(job, database.file, what, database.bytes)
        return state.model_copy(update={"file": database.file, "bytes": database.bytes})

    def _finish(
        self, order: DumpOrder, partial: Path, server: _Server, contents: Contents, began: datetime
    ) -> Entry:
        """Read all of it once, write its entry, and give it its name."""
        ended = datetime.now(UTC)
        files = stored.stored_files(partial)
        entry_id = id_in(partial)
        size = sum(file.bytes for file in files)
        tables = [table for database in contents.databases for table in database.tables]
        rows = sum(table.rows for table in tables)
        notes = "".join(f"; {one}" for one in _notes(tables, server))
        seconds = (ended - began).total_seconds()
        entry = Entry(
            sentence=f"Dump {entry_id}: {spoken_bytes(size)} in {seconds:.1f} s, {len(contents.databases)}"
            f" databases, {len(tables)} tables, {rows:,} rows, read to its end{notes}",
            id=entry_id,
            store=STORE,
            kind=order.kind.value,
            path=place_of(STORE, order.kind.value, entry_id),
            started_at=began,
            ended_at=ended,
            bytes=size,
            sha256=files_sha256(files),
            files=files,
            source=server.source,
            contents=contents,
            label=order.label,
            reason=order.reason,
            scheduled_for=order.scheduled_for,
        )
        wrong = what_is_wrong(self._engine, order.target, partial, entry)
        if wrong:
            raise BackupUnusable(f"the dump just taken: {wrong}", where=entry.path, code="backup-damaged")
        proven = {"verified": Level.MANIFEST, "verified_at": datetime.now(UTC), "verified_by": READ_BY}
        return entries.publish(partial, write_dump(partial, entry.model_copy(update=proven)))


def dump_named(where: Path, entry_id: str) -> Entry:
    """Return a dump of the shelf; ``Refused`` for a backup that is none."""
    entry = entries.find_entry(where, entry_id)
    if entry.store != STORE or entry.kind not in set(DumpKind):
        raise Refused(f"backup {entry.id} is no dump but {entry.store} {entry.kind}", code="backup-no-dump")
    return entry


def _notes(tables: list[TableState], server: _Server) -> list[str]:
    undigested = sum(not table.digest for table in tables)
    notes = [f"no time for the digests of {undigested} tables"] if undigested else []
    closed = ", ".join(server.closed)
    return [*notes, f"not dumped, for they let nobody in: {closed}"] if closed else notes


def _roles(connection: Connection) -> tuple[frozenset[str], frozenset[str]]:
    roles, members = (connection.execute(query.encode()).fetchall() for query in (ROLES, MEMBERSHIPS))
    return frozenset(str(row[0]) for row in roles), frozenset(str(row[0]) for row in members)
