"""Entries that were lost, made anew from the files that they belonged to."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

from temporalio import activity

from activities import catalogue, entries, plain_files, stored
from activities.engine import Engine
from activities.postgres import manifest
from activities.postgres.dump_jobs import heading
from activities.tokens import Tokens
from domain.backups import Backup
from domain.contents import Contents, DatabaseState
from domain.dumps import GLOBALS, Rebuilt
from domain.entries import BASE, ENTRY, KINDS, Entry, Source, files_sha256, place_of
from domain.errors import BackupUnusable
from domain.order import Target, TargetOrder
from domain.wal import SEGMENT_BYTES, is_segment, parse_lsn, segment_name

REASON = "rebuilt"
_LIMIT_BYTES = 256 * 1024 * 1024
_VERSION_BYTES = 100
_NAME = re.compile(r"^; +dbname: (.*)$", re.MULTILINE)
_VERSION = re.compile(r"^; +Dumped from database version: (.*)$", re.MULTILINE)
# Their files do not say with which key they were encrypted.
_NOT_REBUILT = {"stack", "hasura"}


class Rebuilding:
    """Reads backups to say again what their lost entries said."""

    def __init__(self, engine: Engine, tokens: Tokens) -> None:
        """Act through these clients."""
        self._engine = engine
        self._tokens = tokens

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_catalogue_rebuilt(self, order: TargetOrder) -> Rebuilt:
        """Give every backup without an entry one, as far as its own files say; no other one is touched.

        A new entry has no level, knows nothing of what was held, and says ``rebuilt`` for its reason.
        """
        target, shelf = order.target, Path(order.target.shelf)
        self._tokens.admit(order, target.stack)
        rebuilt: list[str] = []
        problems: list[str] = []
        for store, kind, directory in _without_entry(shelf):
            try:
                self._rebuild(target, shelf, store, kind, directory)
                rebuilt.append(directory.name)
            except BackupUnusable as error:
                problems.append(f"{directory.name}: {error.what}")
        left = f", {len(problems)} stay without: {problems[0]}" if problems else ""
        return Rebuilt(
            sentence=f"{len(rebuilt)} entries were rebuilt{left}",
            rebuilt=tuple(rebuilt),
            problems=tuple(problems),
        )

    def _rebuild(self, target: Target, shelf: Path, store: str, kind: str, directory: Path) -> None:
        strange = plain_files.strange_in(directory)
        if strange:
            raise _unusable(f"it holds {strange}")
        if store in _NOT_REBUILT:
            raise _unusable("an entry of this store is not rebuilt: its files do not name their key")
        if (store, kind) == ("postgres", BASE):
            catalogue.write_entry(directory, base_entry(shelf, directory.name))
            return
        entry = _plain_entry(store, kind, directory)
        if store == "postgres":
            entry = self._dump_entry(target, directory, entry)
        entries.write_entry(directory, entry)

    def _dump_entry(self, target: Target, directory: Path, entry: Entry) -> Entry:
        """Add what the dumps say of themselves: which database each is of, and the server's version."""
        databases: list[DatabaseState] = []
        version = ""
        for file in entry.files:
            if file.path == GLOBALS:
                continue
            said = heading(self._engine, target, directory, file.path)
            name, of = _NAME.search(said), _VERSION.search(said)
            if name is None:
                raise _unusable(f"{file.path} does not say which database it is of")
            databases.append(DatabaseState(name=name[1], file=file.path))
            version = of[1] if of is not None else version
        if not databases:
            raise _unusable("it holds no dump")
        known = {"contents": Contents(databases=tuple(databases)), "source": Source(version=version)}
        return entry.model_copy(update=known)


def base_entry(shelf: Path, backup_id: str) -> Backup:
    """Return the entry of a base backup as manifest, control file and version file state it.

    Raises ``BackupUnusable`` when they do not.
    """
    data = catalogue.data_directory(shelf, backup_id)
    facts = manifest.read_facts(data)
    try:
        version = plain_files.read(data / "PG_VERSION", _VERSION_BYTES).decode().strip()
        ended = max(
            _newest_in(data), datetime.fromtimestamp((data / "backup_manifest").lstat().st_mtime, UTC)
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unusable(f"its files do not say when and by what it was taken: {error}") from None
    size = _segment_bytes(data)
    return Backup(
        sentence=f"Base backup {backup_id}, its entry rebuilt from its files",
        id=backup_id,
        path=str(catalogue.BASE / backup_id / catalogue.DATA),
        started_at=_started(backup_id),
        ended_at=ended,
        bytes=facts.bytes,
        sha256=facts.sha256,
        system_identifier=facts.system_identifier,
        server_version=version,
        # Not known; the major version is, and a copy is checked before anybody relies on it.
        image_id="",
        timeline=facts.timeline,
        start_lsn=facts.start_lsn,
        stop_lsn=facts.stop_lsn,
        start_segment=segment_name(facts.timeline, parse_lsn(facts.start_lsn), size),
        reason=REASON,
        wal_segment_bytes=size,
    )


def _newest_in(data: Path) -> datetime:
    """Return the newest time that the manifest states of a file; the backup ended no earlier."""
    found = json.loads(plain_files.read(data / "backup_manifest", _LIMIT_BYTES))["Files"]
    newest = max(str(file["Last-Modified"]) for file in found)
    return datetime.strptime(newest, "%Y-%m-%d %H:%M:%S GMT").replace(tzinfo=UTC)


def _segment_bytes(data: Path) -> int:
    """Return the size of the WAL segments that the backup brings itself."""
    wal = data / "pg_wal"
    sizes = {p.lstat().st_size for p in wal.iterdir() if is_segment(p.name)} if wal.is_dir() else set()
    return max((size for size in sizes if size in catalogue.SEGMENT_SIZES), default=SEGMENT_BYTES)


def _plain_entry(store: str, kind: str, directory: Path) -> Entry:
    """Return the entry of a backup that is no more than its files."""
    files = stored.stored_files(directory)
    if not files:
        raise _unusable("it holds no file")
    newest = max((directory / file.path).lstat().st_mtime for file in files)
    return Entry(
        sentence=f"Backup {directory.name}, its entry rebuilt from its files",
        id=directory.name,
        store=store,
        kind=kind,
        path=place_of(store, kind, directory.name),
        started_at=_started(directory.name),
        # A copied file may be younger than the backup, never older: a later end excludes rather than admits.
        ended_at=max(_started(directory.name), datetime.fromtimestamp(newest, UTC)),
        bytes=sum(file.bytes for file in files),
        sha256=files_sha256(files),
        files=files,
        reason=REASON,
    )


def _started(backup_id: str) -> datetime:
    at = entries.taken_at(backup_id)
    if at is None:
        raise _unusable("its name states no time")
    return at


def _without_entry(shelf: Path) -> list[tuple[str, str, Path]]:
    """Return the directories that have the name of a backup and no entry; links are not followed."""
    found = []
    for store, kind in ((store, kind) for store, kinds in KINDS.items() for kind in kinds):
        directory = shelf / store / kind
        if directory.is_symlink() or directory.parent.is_symlink() or not directory.is_dir():
            continue
        for path in sorted(directory.iterdir()):
            lost = not path.is_symlink() and path.is_dir() and not (path / ENTRY).exists()
            if lost and not (path / ENTRY).is_symlink() and entries.is_id(path.name, kind):
                found.append((store, kind, path))
    return found


def _unusable(what: str) -> BackupUnusable:
    return BackupUnusable(what, code="backup-stranger")
