"""Entries that were lost, made anew from the files that they belonged to: of every store and kind."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from temporalio import activity

from activities import catalogue, entries, plain_files, stored
from activities.alone import alone
from activities.engine import Engine
from activities.objects_reread import read_copy
from activities.postgres.dump_reread import DumpRereading
from activities.postgres.rebuild import base_entry
from activities.postgres.recorded import with_base_record, with_dump_record
from activities.pulse import beat
from activities.redis_reread import RedisRereading
from activities.sealed_reread import SealedRereading
from activities.search_reread import SearchRereading
from activities.tokens import Tokens
from domain.backups import Backup
from domain.dumps import Rebuilt
from domain.entries import BASE, ENTRY, KINDS, REBUILT, Entry, files_sha256, place_of
from domain.errors import BackupUnusable, Refused
from domain.order import Target, TargetOrder

Reread = Callable[[Target, Path, Entry], Entry]
"""Takes a target, the directory of a backup and an entry that says no more than its files are; returns it
with what those files hold. Raises ``BackupUnusable`` and ``Refused`` for what cannot be said."""
B = TypeVar("B", Backup, Entry)
_POSTGRES = "postgres"
_TOLD = 200


class Rebuilding:
    """Reads backups to say again what their lost entries said."""

    def __init__(self, engine: Engine, tokens: Tokens, state: Path) -> None:
        """Act through these clients; ``state`` is DR_STATE."""
        self._tokens = tokens
        self._state = state
        self._reread = rereading(engine, state)

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_catalogue_rebuilt(self, order: TargetOrder) -> Rebuilt:
        """Give every backup without an entry one, as far as its own files say; no other one is touched.

        A new entry has no level and says ``rebuilt`` for its reason. What it held is read from the files,
        by loading them into a server of its own where no other way tells. What cannot be said stays without
        an entry, and is told with the reason: so does a sealed one whose key is not here.
        """
        target, shelf = order.target, Path(order.target.shelf)
        self._tokens.admit(order, target.stack)
        rebuilt: list[str] = []
        problems: list[str] = []
        disbelieved: list[str] = []
        with alone(self._state, f"rebuild-{target.stack}"):
            lost = _without_entry(shelf)
            for number, (store, kind, directory) in enumerate(lost, 1):
                beat(f"rebuilding the catalogue: {directory.name}, {number} of {len(lost)}")
                try:
                    strange = self._rebuild(target, shelf, store, kind, directory)
                    rebuilt.append(directory.name)
                    disbelieved += [f"{directory.name}: {strange}"] if strange else []
                except (BackupUnusable, Refused) as error:
                    hint = f": {error.hint}" if error.hint else ""
                    problems.append(f"{directory.name}: {error.what}{hint}")
        left = f", {len(problems)} stay without: {problems[0]}" if problems else ""
        left += f", {len(disbelieved)} say less than they did: {disbelieved[0]}" if disbelieved else ""
        return Rebuilt(
            sentence=f"{len(rebuilt)} entries were rebuilt{left}",
            rebuilt=tuple(rebuilt),
            problems=tuple(problems[:_TOLD]),
            disbelieved=tuple(disbelieved[:_TOLD]),
        )

    def _rebuild(self, target: Target, shelf: Path, store: str, kind: str, directory: Path) -> str:
        """Write the entry; return why the record of what it held is not believed, or nothing."""
        strange = plain_files.strange_in(directory)
        if strange:
            raise _unusable(f"it holds {strange}")
        if (store, kind) == (_POSTGRES, BASE):
            base, strange = _with_record(with_base_record, directory, base_entry(shelf, directory.name))
            catalogue.write_entry(directory, base)
            return strange
        plain = _plain_entry(store, kind, directory)
        entry, strange = self._reread[store, kind](target, directory, plain), ""
        if store == _POSTGRES:
            entry, strange = _with_record(with_dump_record, directory, entry)
        entries.write_entry(directory, entry)
        return strange


def rereading(engine: Engine, state: Path) -> Mapping[tuple[str, str], Reread]:
    """Return what says again what a backup holds, by store and kind; a base backup's entry holds nothing."""
    dumps, redis = DumpRereading(engine), RedisRereading(engine, state)
    search, sealed = SearchRereading(engine, state), SealedRereading(state)
    return {
        (_POSTGRES, "daily"): dumps.read_again,
        (_POSTGRES, "weekly"): dumps.read_again,
        ("redis", "rdb"): redis.read_again,
        ("redis", "aof"): redis.read_again,
        ("minio", "copy"): read_copy,
        ("meilisearch", "snapshot"): search.read_again,
        ("meilisearch", "dump"): search.read_again,
        ("hasura", "metadata"): sealed.read_metadata,
        ("stack", "configuration"): sealed.read_configuration,
    }


def _with_record(add: Callable[[Path, B], B], directory: Path, rebuilt: B) -> tuple[B, str]:
    """Return a rebuilt backup with its record; without it, and why, when it is not to be believed."""
    try:
        return add(directory, rebuilt), ""
    except BackupUnusable as error:
        said = f"{rebuilt.sentence}; {error.what}"
        return rebuilt.model_copy(update={"sentence": said}), error.what


def _plain_entry(store: str, kind: str, directory: Path) -> Entry:
    """Return the entry of a backup that is no more than its files."""
    files = stored.stored_files(directory)
    began = entries.taken_at(directory.name)
    if not files or began is None:
        raise _unusable("it holds no file" if began else "its name states no time")
    newest = max((directory / file.path).lstat().st_mtime for file in files)
    return Entry(
        sentence=f"Backup {directory.name}, its entry rebuilt from its files",
        id=directory.name,
        store=store,
        kind=kind,
        path=place_of(store, kind, directory.name),
        started_at=began,
        # A copied file may be younger than the backup, never older: a later end excludes rather than admits.
        ended_at=max(began, datetime.fromtimestamp(newest, UTC)),
        bytes=sum(file.bytes for file in files),
        sha256=files_sha256(files),
        files=files,
        reason=REBUILT,
    )


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
