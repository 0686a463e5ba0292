"""Shows that a backup of Redis can be restored: loaded by a server of its own, compared with its record."""

import time
from datetime import UTC, datetime
from pathlib import Path

from temporalio import activity

from activities import entries, plain_files, stored
from activities.alone import alone
from activities.engine import Engine
from activities.redis_contents import compared
from activities.redis_copy import RedisCopy, copy_of
from activities.redis_files import RedisJobs
from activities.redis_server import service_of
from activities.room import refuse_without_room
from activities.tokens import Tokens
from domain.backups import Level
from domain.dumps import EntryTargetOrder, RestoreProven
from domain.entries import Entry, bare
from domain.errors import BackupUnusable, Refused, VerificationFailed
from domain.order import ServiceTarget, Target
from domain.recovery import Proof
from domain.redis_backups import (
    AOF,
    MANIFEST,
    RDB,
    SNAPSHOT,
    STORE,
    RedisFiles,
    aof_limitation,
    manifest_limitation,
)

RESTORED_BY = "loaded by a server of its own and compared with its record"
_IMAGE = "image"
_PURPOSE = "proof"
_MANIFEST_LIMIT_BYTES = 1024 * 1024


class RedisProof:
    """Loads backups of Redis to see whether that can be done."""

    def __init__(self, engine: Engine, tokens: Tokens, state: Path) -> None:
        """Act through these clients; ``state`` is DR_STATE."""
        self._engine = engine
        self._tokens = tokens
        self._state = state

    @activity.defn(no_thread_cancel_exception=True)
    def verify_redis_restored(self, order: EntryTargetOrder) -> RestoreProven:
        """Load a backup into a throwaway server without network, compare, and record how it went.

        Raises ``BackupUnusable`` for one that differs from its record, or that its own program does not
        read, before it is loaded; ``Refused`` without room or memory. What was made is always removed.
        """
        target, where = order.target, Path(order.target.shelf)
        self._tokens.admit(order, target.stack)
        entry = redis_entry(where, order.entry_id)
        service = service_of(target, "")
        directory = entries.directory_of(where, entry)
        with alone(self._state, f"redis-proof-{target.stack}"):
            return self._proven(target, service, entry, directory)

    def _proven(self, target: Target, service: ServiceTarget, entry: Entry, directory: Path) -> RestoreProven:
        where, jobs = Path(target.shelf), RedisJobs(self._engine, target, service, _PURPOSE)
        wrong = stored.what_differs(directory, entry.files) or what_is_wrong(jobs, directory, entry)
        if wrong:
            self._record(where, entry, Level.NONE)
            raise BackupUnusable(f"backup {entry.id}: {wrong}", where=str(directory), code="backup-damaged")
        refuse_without_room("for Redis' data", entry.bytes, self._engine.root())
        began = time.monotonic()
        copy = copy_of(self._engine, self._state, target, service, files_of(entry), entry.id, _PURPOSE)
        proofs = (*_loaded(copy, directory, entry), _image(service, entry))
        well = all(proof.passed is True for proof in proofs if proof.name != _IMAGE)
        # What was not shown takes nothing away; what was shown to be wrong does.
        if well or any(proof.passed is False for proof in proofs):
            entry = self._record(where, entry, Level.RESTORED if well else Level.NONE)
        return _told(entry, proofs, well=well, seconds=time.monotonic() - began)

    def _record(self, where: Path, entry: Entry, level: Level) -> Entry:
        return entries.record_verified(where, entry, level, datetime.now(UTC), RESTORED_BY)


def redis_entry(where: Path, entry_id: str) -> Entry:
    """Return a backup of Redis; ``Refused`` (``backup-no-redis``) for one of another store."""
    entry = entries.find_entry(where, entry_id)
    if entry.store != STORE:
        said = f"backup {entry.id} is not of Redis but {entry.store} {entry.kind}"
        raise Refused(said, code="backup-no-redis")
    return entry


def files_of(entry: Entry) -> RedisFiles:
    """Return how a backup names its files: append-only ones keep the names by which they are listed."""
    manifests = [file.path for file in entry.files if file.path.endswith(MANIFEST)]
    if entry.kind != AOF or len(manifests) != 1 or "/" not in manifests[0]:
        return RedisFiles()
    directory, _, name = manifests[0].rpartition("/")
    return RedisFiles(aof_directory=directory, aof_name=name.removesuffix(MANIFEST)).checked()


def what_is_wrong(jobs: RedisJobs, directory: Path, entry: Entry) -> str:
    """Return why a backup is not what its kind says, by its names and by Redis' own programs; or nothing."""
    names = [file.path for file in entry.files]
    if entry.kind == RDB:
        missing = "" if SNAPSHOT in names else f"{SNAPSHOT} is not among its files"
        return missing or jobs.check_snapshot(directory, SNAPSHOT)[0]
    wrong = aof_limitation(names)
    if wrong is None:
        files = files_of(entry)
        path = directory / files.aof_directory / files.manifest
        text = plain_files.read(path, _MANIFEST_LIMIT_BYTES).decode(errors="replace")
        there = [name.removeprefix(f"{files.aof_directory}/") for name in names]
        wrong = manifest_limitation(text, there)
        return wrong or jobs.check_append_only(directory, files)
    return wrong


def _loaded(copy: RedisCopy, directory: Path, entry: Entry) -> tuple[Proof, ...]:
    copy.remove()
    try:
        copy.load(directory, entry.kind)
        with copy.serving(entry.kind) as server:
            _, proofs = compared(server, entry.held)
    except VerificationFailed as failed:
        return (Proof(name="load", passed=False, evidence=failed.what),)
    finally:
        copy.remove()
    whole = Proof(name="load", passed=True, evidence="a server of its own loaded all of it")
    return (whole, *proofs)


def _image(service: ServiceTarget, entry: Entry) -> Proof:
    known = entry.source.image_id
    if known == service.image_id:
        return Proof(name=_IMAGE, passed=True, evidence="loaded by the image that it was taken from")
    said = "loaded by another image than it was taken from" if known else "its own image is not known"
    return Proof(name=_IMAGE, passed=None, evidence=said)


def _told(entry: Entry, proofs: tuple[Proof, ...], *, well: bool, seconds: float) -> RestoreProven:
    unproven = [proof for proof in proofs if proof.passed is False]
    unproven = unproven or [proof for proof in proofs if proof.passed is None]
    if well or not unproven:
        said = f"Backup {entry.id} of Redis was loaded in {seconds:.1f} s and holds what was recorded"
    else:
        said = f"Backup {entry.id} of Redis is not proven: {unproven[0].name}: {unproven[0].evidence}"
    return RestoreProven(entry=bare(entry), passed=well, proofs=proofs, sentence=said)
