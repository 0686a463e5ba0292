"""Backups of Redis: a snapshot of its own making, and its append-only files as one directory."""

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from temporalio import activity

from activities import entries, stored
from activities.alone import alone
from activities.engine import Engine
from activities.open_recovery import refuse_while_recovering
from activities.records import Records
from activities.redis_contents import census, keys_in, read_held
from activities.redis_copy import RedisCopy, copy_labels, copy_of
from activities.redis_files import Place, RedisJobs, last_warnings, place_of, proven
from activities.redis_saving import ensure_saved, rewrites, rewrites_held_back, settle_rewrites
from activities.redis_server import RedisServer, live, service_of
from activities.room import refuse_without_room
from activities.secrets import Secrets
from activities.shelf_place import begin, clear, id_in, prepare
from activities.tokens import Tokens
from domain.backups import Level, spoken_bytes
from domain.entries import Entry, Source, bare, files_sha256
from domain.entries import place_of as entry_place
from domain.errors import BackupUnusable, Unavailable, VerificationFailed
from domain.holdings import Holding
from domain.order import ServiceTarget, Target
from domain.redis_backups import (
    AOF,
    AOF_SINCE,
    RDB,
    SNAPSHOT,
    STORE,
    RedisFiles,
    count_limitation,
    version_of,
)
from domain.store_backups import StoreBackupOrder, StoreBackups

READ_BY = {
    RDB: "sizes, SHA-256, redis-check-rdb, and a server of its own that loaded it",
    AOF: "sizes, SHA-256, redis-check-aof, and a server of its own that loaded it",
}
_TORN_TIMES = 5
_PURPOSE = "backup"
_SPARE = 2


@dataclass(frozen=True)
class _Source:
    """The live server, and what it said before anything was made."""

    server: RedisServer
    service: ServiceTarget
    files: RedisFiles
    place: Place
    version: str
    bytes: dict[str, int]
    """About how large a backup of each kind will be."""


class RedisBackups:
    """Backs up a running Redis."""

    def __init__(self, engine: Engine, secrets: Secrets, tokens: Tokens, state: Path) -> None:
        """Act through these clients; ``state`` is DR_STATE."""
        self._engine = engine
        self._secrets = secrets
        self._tokens = tokens
        self._state = state
        self._records = Records(state)

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_redis_backup(self, order: StoreBackupOrder) -> StoreBackups:
        """Take a snapshot and the append-only files, or return those that have this label.

        Where the append-only file is off, or older than Redis 7, it is left out, and that is said. What
        is held is read from a server of its own that loaded the very files. Raises ``Refused`` without
        room, right or password, or while a recovery is open; ``Unavailable`` when the server could not
        save; ``BackupUnusable`` when what was copied cannot be loaded.
        """
        target = order.target
        self._tokens.admit(order, target.stack)
        refuse_while_recovering(self._state, target.stack, order)
        service = service_of(target, order.service)
        with alone(self._state, f"redis-{target.stack}"):
            return self._ensured(order, service)

    def _ensured(self, order: StoreBackupOrder, service: ServiceTarget) -> StoreBackups:
        target = order.target
        container = proven(self._engine, target, service)
        self._clear(target, service)
        with live(self._engine, self._secrets, target, service) as server:
            settle_rewrites(server, self._records, _journal(target, service))
            files = server.files()
            memory, persistence = server.info("memory"), server.info("persistence")
            source = _Source(
                server=server,
                service=service,
                files=files,
                place=place_of(container, files.directory),
                version=str(server.info("server").get("redis_version", "")),
                bytes={
                    RDB: int(memory.get("used_memory", 0)),
                    AOF: int(persistence.get("aof_current_size", 0))
                    + int(persistence.get("aof_base_size", 0)),
                },
            )
            left_out = _left_out(files, source.version)
            made = [self._one(order, source, RDB)]
            if not left_out:
                made.append(self._one(order, source, AOF))
        said = "; ".join(entry.sentence for entry in made)
        return StoreBackups(
            entries=tuple(bare(entry) for entry in made),
            sentence=f"{said}; {left_out}" if left_out else said,
        )

    def _clear(self, target: Target, service: ServiceTarget) -> None:
        """Remove what an attempt left that ended in the middle: jobs and copies first, then their files."""
        RedisJobs(self._engine, target, service, _PURPOSE).clear()
        marks = [f"{key}={value}" for key, value in copy_labels(target, _PURPOSE).items()]
        for container in self._engine.labelled(*marks):
            self._engine.remove(container.id, force=True)
        for volume in self._engine.volumes(*marks):
            # It goes last of all that a copy has, so that it tells whose directory of sockets to remove.
            name = str(volume["Name"])
            RedisCopy(self._engine, self._state, service.image_id, name, name, volume["Labels"]).remove()
        for kind in (RDB, AOF):
            clear(Path(target.shelf) / STORE / kind)

    def _copy(self, target: Target, service: ServiceTarget, files: RedisFiles, entry_id: str) -> RedisCopy:
        return copy_of(self._engine, self._state, target, service, files, entry_id, _PURPOSE)

    def _one(self, order: StoreBackupOrder, source: _Source, kind: str) -> Entry:
        """Make the backup of one kind, or return the one that has the order's label."""
        where = Path(order.target.shelf)
        found = [e for e in entries.read_entries(where)[0] if (e.store, e.kind) == (STORE, kind)]
        known = next((entry for entry in found if entry.label == order.label), None)
        if known is not None:
            return known
        directory = prepare(where, STORE, kind, as_shelf=True)
        needed = source.bytes[kind]
        if kind == RDB and found:
            needed = min(needed, found[0].bytes * _SPARE)
        refuse_without_room("for Redis' data", needed, str(where), self._engine.root())
        partial = entries.partial_of(where, STORE, kind, entries.new_id(directory, kind))
        begin(partial)
        copy = self._copy(order.target, source.service, source.files, id_in(partial))
        try:
            began, before = datetime.now(UTC), census(source.server)
            take = self._snapshot if kind == RDB else self._append_only
            take(order.target, source, partial, found[0].bytes if found else source.bytes[kind])
            after, held = census(source.server), self._held(copy, partial, kind)
            wrong = count_limitation(before, after, keys_in(held))
            if wrong is not None:
                raise _unusable(f"the copy of kind {kind}: {wrong}", source)
            return self._finish(order, source, partial, began, held)
        finally:
            copy.remove()
            if partial.is_dir():
                shutil.rmtree(partial)

    def _snapshot(self, target: Target, source: _Source, partial: Path, expected: int) -> None:
        """Have the server save, copy what it saved, and see that it is what was asked for."""
        since = int(datetime.now(UTC).timestamp())

        def why_not() -> str:
            log = self._engine.logs(source.service.container_id, since=since, tail=50)
            return last_warnings(log.splitlines())

        asked = ensure_saved(source.server, why_not)
        jobs = RedisJobs(self._engine, target, source.service, _PURPOSE)
        jobs.copy_snapshot(source.place, source.files, partial, SNAPSHOT, expected)
        wrong, begun = jobs.check_snapshot(partial, SNAPSHOT)
        if not wrong and (begun is None or begun < asked):
            wrong = "it is older than the snapshot that was asked for"
        if wrong:
            raise _unusable(f"the snapshot of Redis: {wrong}", source)

    def _append_only(self, target: Target, source: _Source, partial: Path, expected: int) -> None:
        """Copy the append-only files until what was copied ends with a whole command, as it mostly does."""
        jobs = RedisJobs(self._engine, target, source.service, _PURPOSE)
        wrong = ""
        with rewrites_held_back(source.server, self._records, _journal(target, source.service)):
            for _ in range(_TORN_TIMES):
                whole = jobs.copy_append_only(source.place, source.files, partial, expected)
                if not whole or rewrites(source.server):
                    wrong = "somebody rewrote them while they were copied"
                    continue
                wrong = jobs.check_append_only(partial, source.files)
                if not wrong:
                    return
        raise _unusable(f"the append-only files of Redis: {wrong}", source)

    def _held(self, copy: RedisCopy, partial: Path, kind: str) -> tuple[Holding, ...]:
        """Load the copied files into a server of our own, and read what they hold."""
        copy.remove()
        copy.load(partial, kind)
        try:
            with copy.serving(kind) as server:
                return read_held(server)
        except VerificationFailed as failed:
            raise BackupUnusable(
                f"the backup just taken: {failed.what}", where=partial.name, code="backup-damaged"
            ) from None

    def _finish(
        self,
        order: StoreBackupOrder,
        source: _Source,
        partial: Path,
        began: datetime,
        held: tuple[Holding, ...],
    ) -> Entry:
        entry_id, kind, ended = id_in(partial), partial.parent.name, datetime.now(UTC)
        files = stored.stored_files(partial)
        size = sum(file.bytes for file in files)
        what = "Snapshot" if kind == RDB else "Append-only files"
        entry = Entry(
            sentence=f"{what} {entry_id}: {spoken_bytes(size)}, {keys_in(held):,} keys, loaded and read",
            id=entry_id,
            store=STORE,
            kind=kind,
            path=entry_place(STORE, kind, entry_id),
            started_at=began,
            ended_at=ended,
            bytes=size,
            sha256=files_sha256(files),
            files=files,
            source=Source(
                stack=order.target.stack,
                version=source.version,
                image_id=source.service.image_id,
                also=() if kind != RDB or _left_out(source.files, source.version) else (AOF,),
            ),
            held=held,
            verified=Level.MANIFEST,
            verified_at=ended,
            verified_by=READ_BY[kind],
            label=order.label,
            reason=order.reason,
            scheduled_for=order.scheduled_for,
        )
        return entries.publish(partial, entry)


def _journal(target: Target, service: ServiceTarget) -> str:
    return f"{target.stack}-{service.name}"


def _left_out(files: RedisFiles, version: str) -> str:
    """Return why there is no backup of append-only files, or nothing."""
    if not files.append_only:
        return "the append-only file is off, so there is no backup of kind aof"
    if (version_of(version) or (0, 0)) < AOF_SINCE:
        return f"Redis {version} keeps one append-only file, which is rewritten under a copy: no kind aof"
    return ""


def _unusable(what: str, source: _Source) -> Unavailable:
    return Unavailable(
        what,
        where=source.service.container_name,
        hint="nothing of it was put on the shelf; if it stays so, the server's own file is damaged",
        code="redis-copy-unusable",
    )
