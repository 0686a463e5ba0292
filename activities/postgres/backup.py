"""Base backups: taken by a detached job, verified by their manifest, then put on the shelf."""

import hashlib
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

from temporalio import activity

from activities import catalogue, entries, plain_files
from activities.engine import ContainerState, Engine, Job
from activities.open_recovery import refuse_while_recovering
from activities.postgres import manifest, shelf
from activities.postgres.backup_progress import telling
from activities.postgres.contents import BESIDE, read_beside, read_contents
from activities.postgres.recorded import ensure_base_record, write_base
from activities.postgres.sql import Connection, Sql
from activities.room import ON_SHELF, refuse_without_room
from activities.taken import note_taken
from activities.tokens import Tokens
from domain.backups import Backup, BackupOrder, Level, VerifyBackupOrder, spoken_bytes
from domain.contents import Contents
from domain.errors import BackupUnusable, Refused, Unavailable
from domain.names import LABEL_ROLE, LABEL_STACK
from domain.order import Target, Value
from domain.paths import path_under
from domain.wal import parse_lsn, segment_name

ROLE = "base-backup"
_LABEL_BACKUP = "dr.backup"
_LABEL_LABEL = "dr.backup-label"
_LIMIT_SECONDS = 24 * 3600.0
_SEEN = "seen.json"
_SPARE = 1.1
_FACTS = """
SELECT (SELECT system_identifier::text FROM pg_control_system()), current_setting('server_version'),
       (SELECT setting::bigint FROM pg_settings WHERE name = 'wal_segment_size'),
       (SELECT sum(pg_database_size(oid))::bigint FROM pg_database),
       (SELECT count(*) FROM pg_tablespace WHERE spcname NOT IN ('pg_default', 'pg_global'))
"""


class _Seen(Value):
    """What the live server said while the backup ran; kept beside it for a later attempt."""

    system_identifier: str
    server_version: str
    wal_segment_bytes: int
    database_bytes: int
    tablespaces: int
    contents: Contents = Contents()


class Backups:
    """Takes and verifies base backups of a running server."""

    def __init__(self, engine: Engine, sql: Sql, tokens: Tokens, state: Path) -> None:
        """Act through these clients; ``state`` is DR_STATE."""
        self._engine = engine
        self._sql = sql
        self._tokens = tokens
        self._state = state

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_base_backup(self, order: BackupOrder) -> Backup:
        """Take the backup of this label, or return the one that has it.

        A job that an earlier attempt left running or finished is followed. Raises ``Refused``
        without room, with tablespaces or while a recovery is open, ``Unavailable`` when the job
        failed, ``BackupUnusable`` when what it made does not agree with its manifest.
        """
        target = order.target
        self._tokens.admit(order, target.stack)
        self._stand_back(order)
        name = _job_name(order)
        known = [b for b in catalogue.list_backups(Path(target.shelf)) if b.label == order.label]
        if known:
            note_taken(self._state, target.stack, known[0])
            (Path(target.shelf) / known[0].path).with_name(_SEEN).unlink(missing_ok=True)
            self._engine.remove(name, force=True)
            return known[0]
        root = shelf.prepare(target)
        job = self._job(order, root, name)
        partial = _partial(root, job.labels[_LABEL_BACKUP])
        seen = self._begin(target, job, partial)
        tell = telling(lambda: self._stand_back(order))
        state, log, _ = self._engine.follow(job, tell, limit_seconds=_LIMIT_SECONDS)
        if state.exit_code != 0:
            self._discard(state, partial)
            raise Unavailable(
                f"pg_basebackup failed: {_last_line(log)}", where=state.name, code="backup-failed"
            )
        backup = self._finish(order, state, partial, seen)
        note_taken(self._state, target.stack, backup)
        self._engine.remove(state.id, force=True)
        return backup

    @activity.defn(no_thread_cancel_exception=True)
    def verify_backup(self, order: VerifyBackupOrder) -> Backup:
        """Verify a backup against its manifest and record level and date.

        A backup that was restored keeps that level and its date. Raises ``BackupUnusable`` for a
        damaged one, after its level was taken away.
        """
        target = order.target
        self._tokens.admit(order, target.stack)
        where = Path(target.shelf)
        entry = catalogue.find_backup(where, order.backup_id)
        name = f"dr-{target.stack}-verify-{entry.id}"
        wrong = manifest.what_is_wrong(self._engine, target, entry, name=name, labels=_labels(target))
        if wrong:
            catalogue.record_level(where, entry.id, Level.NONE, datetime.now(UTC))
            raise BackupUnusable(
                f"backup {entry.id}: {wrong}", where=str(where / entry.path), code="backup-damaged"
            )
        again = ensure_base_record(where / catalogue.BASE / entry.id, entry)
        if again != entry:
            catalogue.record(where, again)
        if entry.verified is not Level.RESTORED:
            entry = catalogue.record_level(where, entry.id, Level.MANIFEST, datetime.now(UTC))
        size = spoken_bytes(entry.bytes)
        return entry.model_copy(update={"sentence": f"Backup {entry.id} agrees with its manifest: {size}."})

    def _job(self, order: BackupOrder, root: Path, name: str) -> Job:
        """Return the job of this label; a failed one is cleared away, any other one is continued."""
        target, server = order.target, order.target.postgres
        found = self._engine.look(name)
        if found is not None and found.exit_code not in {None, 0}:
            self._discard(found, _partial(root, found.labels.get(_LABEL_BACKUP, "none")))
            found = None
        backup_id = found.labels.get(_LABEL_BACKUP) if found is not None else None
        backup_id = backup_id or entries.new_id(root / "base", "base")
        rate = () if order.max_rate_bytes is None else (f"--max-rate={order.max_rate_bytes // 1024}k",)
        return Job(
            name=name,
            image_id=server.image_id,
            entrypoint=("pg_basebackup",),
            command=(
                *("-h", "127.0.0.1", "-p", str(server.port), "-U", server.user, "-w"),
                *("-D", f"{shelf.MOUNT}/base/.{backup_id}.partial/{catalogue.DATA}", "-X", "stream"),
                *("-c", "fast", "--manifest-checksums=SHA256", "--progress", f"--label={backup_id}", *rate),
            ),
            user=f"{server.uid}:{server.gid}",
            binds={str(root): f"{shelf.MOUNT}:rw"},
            environment=shelf.connection_environment(self._sql, target),
            labels={**_labels(target), _LABEL_BACKUP: backup_id, _LABEL_LABEL: order.label},
            network=f"container:{server.container_id}",
        )

    def _begin(self, target: Target, job: Job, partial: Path) -> _Seen:
        """Start the job, then record what the server holds at about that time."""
        file = partial / _SEEN
        if file.is_file():
            self._engine.ensure_job(job)
            return _Seen.model_validate_json(file.read_text())
        with shelf.asking(target.postgres.container_name), self._sql.live(target) as connection:
            row = connection.execute(_FACTS).fetchone()
            seen = _Seen.model_validate(dict(zip(_Seen.model_fields, row or (), strict=False)))
            _refuse_what_cannot_be(target, seen)
            self._refuse_wal_elsewhere(target)
            # The container comes before its directory: without one, a directory is a leftover.
            self._engine.ensure_job(job, start=False)
            self._clear_leftovers(partial)
            shelf.own(partial, target)
            seen = seen.model_copy(update={"contents": self._started_beside(connection, job)})
        plain_files.replace(file, seen.model_dump_json().encode())
        return seen

    def _started_beside(self, connection: Connection, job: Job) -> Contents:
        """Start the job, and return what the server held just before: a copy at its end is never older.

        A job that an attempt before this one has started may be over; where the server stood tells that.
        """
        beside = read_beside(connection)
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            # The snapshot is taken now.
            (at_lsn,) = connection.execute("SELECT pg_current_wal_lsn()::text").fetchone() or ("",)
            self._engine.ensure_job(job)
            held = read_contents(connection)
        found = {name: getattr(beside, name) for name in BESIDE}
        return held.model_copy(update={**found, "at_lsn": str(at_lsn)})

    def _refuse_wal_elsewhere(self, target: Target) -> None:
        """Refuse a ``pg_wal`` that is a link: a dead server's last WAL would not be in its volume."""
        server = target.postgres
        if self._engine.run(server.container_id, ("test", "-L", f"{server.pgdata}/pg_wal")).exit_code == 0:
            raise Refused(
                "the server's pg_wal is a link to a place outside its data directory",
                where=server.container_name,
                hint="it is not supported: move it back into the data directory",
                code="pg-wal-elsewhere",
            )

    def _clear_leftovers(self, mine: Path) -> None:
        """Remove unfinished backups that no job belongs to any more."""
        for path in mine.parent.glob(".*.partial"):
            backup_id = path.name.removeprefix(".").removesuffix(".partial")
            doubtful = path != mine and not path.is_symlink()
            if doubtful and not self._engine.labelled(f"{_LABEL_BACKUP}={backup_id}"):
                shutil.rmtree(path)

    def _finish(self, order: BackupOrder, state: ContainerState, partial: Path, seen: _Seen) -> Backup:
        """Verify what the job made, write its entry, and give it its name."""
        target = order.target
        data = partial / catalogue.DATA
        backup_id = state.labels[_LABEL_BACKUP]
        name = f"dr-{target.stack}-verify-{backup_id}"
        wrong = manifest.verify_manifest(self._engine, target, data, name=name, labels=_labels(target))
        facts = None if wrong else manifest.read_facts(data)
        if facts is not None and facts.system_identifier != seen.system_identifier:
            wrong = f"it is of system {facts.system_identifier}, the server is {seen.system_identifier}"
        if facts is None or wrong:
            self._discard(state, partial)
            raise BackupUnusable(f"the backup just taken: {wrong}", where=state.name, code="backup-damaged")
        started, ended = (datetime.fromisoformat(state.raw["State"][k]) for k in ("StartedAt", "FinishedAt"))
        seconds = (ended - started).total_seconds()
        backup = Backup(
            sentence=f"Base backup {backup_id}: {spoken_bytes(facts.bytes)} in {seconds:.1f} s,"
            f" {len(seen.contents.tables)} tables, manifest verified.",
            id=backup_id,
            path=str(catalogue.BASE / backup_id / catalogue.DATA),
            started_at=started,
            ended_at=ended,
            bytes=facts.bytes,
            sha256=facts.sha256,
            stack=target.stack,
            system_identifier=facts.system_identifier,
            server_version=seen.server_version,
            image_id=state.image_id,
            timeline=facts.timeline,
            start_lsn=facts.start_lsn,
            stop_lsn=facts.stop_lsn,
            start_segment=segment_name(facts.timeline, parse_lsn(facts.start_lsn), seen.wal_segment_bytes),
            verified=Level.MANIFEST,
            verified_at=datetime.now(UTC),
            contents=seen.contents,
            label=order.label,
            reason=order.reason,
            scheduled_for=order.scheduled_for,
            wal_segment_bytes=seen.wal_segment_bytes,
        )
        return _publish(partial, backup)

    def _stand_back(self, order: BackupOrder) -> None:
        """Refuse once a recovery is open; what this label's job does, or did for a killed attempt, ends."""
        try:
            refuse_while_recovering(self._state, order.target.stack, order)
        except Refused:
            found = self._engine.look(_job_name(order))
            if found is not None:
                root = Path(order.target.shelf) / "postgres"
                self._discard(found, _partial(root, found.labels.get(_LABEL_BACKUP, "none")))
            raise

    def _discard(self, state: ContainerState, partial: Path) -> None:
        self._engine.remove(state.id, force=True)
        if partial.is_dir():
            shutil.rmtree(partial)


def _publish(partial: Path, backup: Backup) -> Backup:
    """Write what it held, the entry last, then give the directory its name."""
    backup = write_base(partial, backup)
    catalogue.write_entry(partial, backup)
    final = partial.rename(partial.with_name(backup.id))
    with plain_files.directory(partial.parent) as directory:
        os.fsync(directory)
    (final / _SEEN).unlink(missing_ok=True)
    return backup


def _refuse_what_cannot_be(target: Target, seen: _Seen) -> None:
    if seen.tablespaces:
        raise Refused(
            f"the server has {seen.tablespaces} tablespaces outside its data directory",
            where=target.postgres.container_name,
            hint="they are not supported: move their tables into pg_default",
            code="tablespaces-unsupported",
        )
    refuse_without_room("for a backup", int(seen.database_bytes * _SPARE), target.shelf, hint=ON_SHELF)


def _labels(target: Target) -> dict[str, str]:
    return {LABEL_STACK: target.stack, LABEL_ROLE: ROLE}


def _job_name(order: BackupOrder) -> str:
    digest = hashlib.sha256(order.label.encode()).hexdigest()[:12]
    return f"dr-{order.target.stack}-backup-{digest}"


def _partial(root: Path, backup_id: str) -> Path:
    return Path(path_under(str(root), f"base/.{backup_id}.partial"))


def _last_line(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if "error" in line] or log.strip().splitlines()
    return lines[-1] if lines else "it said nothing"
