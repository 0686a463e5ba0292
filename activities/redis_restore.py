"""Restores Redis: a volume is prepared and compared first, then exchanged with the live one.

A server whose append-only file is on ignores a snapshot beside it, starts with nothing and says nothing
(F-J1). So a server of ours loads the snapshot with the append-only file off, switches it on, and waits for
the rewrite. What it leaves can be loaded either way.
"""

import time
from pathlib import Path

from temporalio import activity

from activities import entries, stored
from activities.alone import alone
from activities.belonging import refuse_foreign
from activities.engine import ContainerState, Engine
from activities.pulse import beat
from activities.records import Records
from activities.redis_carry import carried_over
from activities.redis_contents import compared, keys_in, keyspace, lasting_in
from activities.redis_copy import RedisCopy
from activities.redis_files import Place, RedisJobs, last_warnings, place_of, proven
from activities.redis_proof import files_of, redis_entry, what_is_wrong
from activities.redis_saving import how_far, rewrites, saving
from activities.redis_server import FORBIDDEN, LOADING, RedisServer, live, service_of
from activities.redis_settings import files_as_told
from activities.room import refuse_without_room
from activities.secrets import Secrets
from activities.tokens import Tokens
from activities.volume_exchange import VolumeExchange
from domain.entries import Entry
from domain.errors import BackupUnusable, Refused, Unavailable, VerificationFailed
from domain.names import LABEL_RECOVERY, LABEL_ROLE, LABEL_STACK, container_name, volume_name
from domain.order import ServiceTarget
from domain.recovery import Proof
from domain.redis_backups import AOF, RDB, RedisFiles, aof_limitation, refuse, version_limitation
from domain.redis_restore import RedisPrepared, RedisRestored, RedisRestoreOrder

KIND = "redis-prepared"
_LIMIT_SECONDS = 3600.0
_POLL_SECONDS = 0.1
_STOP_SECONDS = 120
_TWICE = 2
"""The snapshot and the append-only files made of it lie side by side."""


class RedisRestoring:
    """Puts a backup of Redis in the place of its data; the old data stays until it is released."""

    def __init__(
        self, engine: Engine, secrets: Secrets, tokens: Tokens, state: Path, tools_image: str
    ) -> None:
        """Act through these clients; ``tools_image`` has ``mv --exchange``; ``state`` is DR_STATE."""
        self._engine = engine
        self._secrets = secrets
        self._tokens = tokens
        self._state = state
        self._records = Records(state)
        self._tools_image = tools_image

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_redis_prepared(self, order: RedisRestoreOrder) -> RedisPrepared:
        """Have a volume that holds the backup, loaded once and compared; nothing that runs is touched.

        Raises ``Refused`` for a single ``appendonly.aof``, a backup of a newer Redis, or without room;
        ``BackupUnusable`` for a damaged one; ``VerificationFailed`` when it holds something else.
        """
        target = order.target
        self._tokens.admit(order, target.stack)
        service = service_of(target, order.service)
        with alone(self._state, f"redis-restore-{target.stack}-{service.name}"):
            return self._prepared(order, service)

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_redis_restored(self, order: RedisRestoreOrder) -> RedisRestored:
        """Have the server serve the backup, with the old data in the other volume.

        What can be refused is refused before anything stops. Raises what ``ensure_redis_prepared``
        raises, ``Unavailable`` when the server does not come up, and ``VerificationFailed`` when it
        comes up with nothing.
        """
        target = order.target
        self._tokens.admit(order, target.stack)
        service = service_of(target, order.service)
        with alone(self._state, f"redis-restore-{target.stack}-{service.name}"):
            return self._restored(order, service)

    def _restored(self, order: RedisRestoreOrder, service: ServiceTarget) -> RedisRestored:
        exchange = VolumeExchange(self._engine, self._records, self._tools_image, order, service)
        container = proven(self._engine, order.target, service)
        known = exchange.done()
        entry = redis_entry(Path(order.target.shelf), order.entry_id)
        if known is None:
            prepared = self._prepared(order, service)
            files = self._files(order, service, container)
            place = _volume_of(container, files)
            known = exchange.ensure_exchanged(place.source, prepared.volume, carried_over(place, files))
        keys = self._serve(order, service, exchange, entry)
        kept, size = str(known["restored_volume"]), int(known["kept_bytes"])
        return RedisRestored(
            kept_volume=kept,
            kept_bytes=size,
            keeper=exchange.keeper,
            keys=keys,
            sentence=f"Redis serves backup {entry.id} with {keys:,} keys; the old data"
            f" ({size / 1e6:,.0f} MB) is kept in {kept}",
        )

    def _prepared(self, order: RedisRestoreOrder, service: ServiceTarget) -> RedisPrepared:
        key = f"{order.recovery_id}-{service.name}-{order.attempt}"
        record = self._records.read(KIND, key)
        if record is not None and self._engine.volume(str(record["volume"])) is not None:
            known = RedisPrepared.model_validate(record)
            if known.entry_id == order.entry_id:
                return known
        container = proven(self._engine, order.target, service)
        entry = self._usable(order, service)
        files = self._files(order, service, container)
        place = _volume_of(container, files)
        _refuse_other_names(entry, files)
        refuse_without_room("for Redis' data", entry.bytes * _TWICE, self._engine.root())
        owner = RedisJobs(self._engine, order.target, service, "restore").owner(place)
        copy = self._copy(order, service, files, place, owner)
        copy.remove()
        try:
            made = self._made(order, entry, copy)
        except BaseException:
            copy.remove()
            raise
        self._records.write(KIND, key, made.model_dump(mode="json"))
        return made

    def _usable(self, order: RedisRestoreOrder, service: ServiceTarget) -> Entry:
        """Return the entry when it can be restored here; else say why not before anything is made."""
        where = Path(order.target.shelf)
        entry = redis_entry(where, order.entry_id)
        refuse_foreign(entry, order.target.stack)
        if not order.recovery_id:
            raise Refused("no recovery is named", where=entry.id, code="no-recovery")
        if entry.kind == AOF:
            refuse(aof_limitation(file.path for file in entry.files), entry.id, "backup-torn")
        jobs = RedisJobs(self._engine, order.target, service, "restore")
        refuse(version_limitation(entry.source.version, jobs.version()), entry.id, "backup-newer")
        directory = entries.directory_of(where, entry)
        wrong = stored.what_differs(directory, entry.files) or what_is_wrong(jobs, directory, entry)
        if wrong:
            raise BackupUnusable(f"backup {entry.id}: {wrong}", where=str(directory), code="backup-damaged")
        return entry

    def _files(
        self, order: RedisRestoreOrder, service: ServiceTarget, container: ContainerState
    ) -> RedisFiles:
        """Return how the server names its files: as it says, else as it is started."""
        if order.files is not None:
            return order.files.checked()
        if container.running:
            try:
                with live(self._engine, self._secrets, order.target, service) as server:
                    return server.files()
            except Unavailable:
                pass
            except Refused as refused:
                if refused.code != FORBIDDEN:
                    raise  # with a wrong password we could not see it come up either
        return files_as_told(self._engine, container, service)

    def _copy(
        self,
        order: RedisRestoreOrder,
        service: ServiceTarget,
        files: RedisFiles,
        place: Place,
        owner: tuple[int, int],
    ) -> RedisCopy:
        rid = order.recovery_id
        return RedisCopy(
            engine=self._engine,
            state=self._state,
            image_id=service.image_id,
            name=container_name(rid, f"{service.name}-copy"),
            volume=volume_name(rid, service.name, order.attempt),
            labels={LABEL_RECOVERY: rid, LABEL_STACK: order.target.stack, LABEL_ROLE: "redis-copy"},
            files=files,
            inside=place.inside,
            uid=owner[0],
            gid=owner[1],
        )

    def _made(self, order: RedisRestoreOrder, entry: Entry, copy: RedisCopy) -> RedisPrepared:
        """Load the backup with a server of ours, compare, and leave what a server loads either way."""
        copy.load(entries.directory_of(Path(order.target.shelf), entry), entry.kind)
        with copy.serving(entry.kind) as server:
            held, proofs = compared(server, entry.held)
            wrong = next((proof for proof in proofs if proof.passed is False), None)
            if wrong is not None:
                raise VerificationFailed(
                    f"{wrong.name}: {wrong.evidence}", where=entry.id, code="restore-differs"
                )
            _complete(server, entry.kind)
            self._end(copy)
        keys = keys_in(held)
        return RedisPrepared(
            volume=copy.volume,
            entry_id=entry.id,
            keys=keys,
            proofs=(Proof(name="load", passed=True, evidence=f"{keys:,} keys"), *proofs),
            sentence=f"Backup {entry.id} is ready in {copy.volume}: {keys:,} keys, as recorded",
        )

    def _end(self, copy: RedisCopy) -> None:
        """Stop our server cleanly: what it wrote last is on the disk then."""
        self._engine.stop(copy.name, _STOP_SECONDS)
        found = self._engine.look(copy.name)
        if found is None or found.exit_code != 0:
            raise Unavailable("the copy did not end cleanly", where=copy.name, code="copy-unclean")

    def _serve(
        self, order: RedisRestoreOrder, service: ServiceTarget, exchange: VolumeExchange, entry: Entry
    ) -> int:
        """Start the server, wait until it has loaded, and see that it did not start with nothing (F-J1)."""
        keys = exchange.serve(
            lambda: self._keys(order, service), lambda _: self._not_up(service), limit_seconds=_LIMIT_SECONDS
        )
        if not keys and any(lasting_in(entry.held).values()):
            raise VerificationFailed(
                "Redis started with no key at all", where=service.container_name, code="restore-empty"
            )
        return keys

    def _keys(self, order: RedisRestoreOrder, service: ServiceTarget) -> int:
        """Return how many keys the server holds. Raises ``Unavailable`` while it is silent or still loads."""
        with live(self._engine, self._secrets, order.target, service) as server:
            if server.info("persistence").get("loading"):
                raise Unavailable("Redis still loads its files", where=server.where, code=LOADING)
            return sum(keyspace(server).values())

    def _not_up(self, service: ServiceTarget) -> Unavailable:
        log = self._engine.logs(service.container_id).splitlines()
        return Unavailable(
            f"Redis does not come up: {last_warnings(log) or 'its log does not say why'}",
            where=service.container_name,
            code="redis-not-up",
        )


def _complete(server: RedisServer, kind: str) -> None:
    """Make of a loaded snapshot the append-only files too, or of those a snapshot."""
    if kind != RDB:
        server.ask("SAVE")
        return
    server.set("appendonly", "yes")
    deadline = time.monotonic() + _LIMIT_SECONDS
    progress = saving("the copy writes its append-only files")
    while rewrites(server):
        if time.monotonic() > deadline:
            raise Unavailable("the rewrite does not end", where=server.where, code="redis-save-slow")
        beat(how_far(progress, server.info("persistence")))
        time.sleep(_POLL_SECONDS)
    state = server.info("persistence")
    if not state.get("aof_enabled") or state.get("aof_last_bgrewrite_status") != "ok":
        raise Unavailable(
            "the copy could not write its append-only files", where=server.where, code="redis-save-failed"
        )


def _refuse_other_names(entry: Entry, files: RedisFiles) -> None:
    """Refuse append-only files under another name than the server's: it would not see their manifest."""
    name = files_of(entry).aof_name
    if entry.kind == AOF and name != files.aof_name:
        reason = f"its files are named {name}, and those of the server {files.aof_name}"
        refuse(reason, entry.id, "backup-names")


def _volume_of(container: ContainerState, files: RedisFiles) -> Place:
    place = place_of(container, files.directory)
    if not place.is_volume:
        raise Refused(
            "the data of Redis is no volume but a directory of the host",
            where=place.source,
            hint="two volumes are exchanged in one step; keep the data in one",
            code="data-not-in-volume",
        )
    return place
