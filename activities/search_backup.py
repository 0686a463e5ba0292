"""Backups of the search engine: a snapshot for the same version, a dump for any, with what was in both."""

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from temporalio import activity

from activities import entries, stored
from activities.alone import alone
from activities.engine import Engine
from activities.open_recovery import refuse_while_recovering
from activities.records import Records
from activities.room import ON_SHELF, refuse_without_room
from activities.search_contents import (
    at,
    changed_since,
    indexes_in,
    moment,
    read_index,
    still_the_same,
)
from activities.search_files import DUMP, FILES, SNAPSHOT, fetch, read_through
from activities.search_place import SearchPlace, place_of_search, search_client, search_of
from activities.search_tasks import SearchServer
from activities.secrets import Secrets
from activities.shelf_place import begin, clear, prepare
from activities.tokens import Tokens
from domain.backups import Level, spoken_bytes
from domain.entries import Entry, Source, bare, files_sha256, place_of
from domain.errors import BackupUnusable, Refused
from domain.holdings import Holding
from domain.order import ServiceTarget, Target
from domain.store_backups import StoreBackupOrder, StoreBackups

STORE = "meilisearch"
KINDS = (SNAPSHOT, DUMP)
READ_BY = "sizes, SHA-256, and reading all of it"
JOURNAL = "search-dumps"
"""What is asked of an engine and stays in its volume until it is fetched: numbers of tasks."""
_SPARE = 2
_UID = re.compile(r"[0-9A-Za-z-]{1,100}")


@dataclass(frozen=True)
class _Taken:
    """What the engine made, and what it held at that moment."""

    files: dict[str, str]
    began: datetime
    held: tuple[Holding, ...]
    version: str
    dumps: tuple[str, ...]
    """Every dump that was asked for, by attempts that died too."""


class SearchBackups:
    """Has the search engine write its own backups, and keeps them on the shelf."""

    def __init__(self, engine: Engine, secrets: Secrets, tokens: Tokens, state: Path) -> None:
        """Act through these clients; ``state`` is DR_STATE."""
        self._engine = engine
        self._secrets = secrets
        self._tokens = tokens
        self._state = state
        self._records = Records(state)

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_search_backup(self, order: StoreBackupOrder) -> StoreBackups:
        """Take a snapshot and a dump, or return those that have this label.

        Raises ``Refused`` without search in the stack, without room, and while a recovery is open;
        ``Unavailable``, and ``BackupUnusable`` when what it wrote cannot be read.
        """
        target = order.target
        self._tokens.admit(order, target.stack)
        refuse_while_recovering(self._state, target.stack, order)
        with alone(self._state, f"{STORE}-{target.stack}"):
            made = self._ensured(order)
        said = "; ".join(entry.sentence for entry in made)
        return StoreBackups(entries=tuple(bare(entry) for entry in made), sentence=said)

    def _ensured(self, order: StoreBackupOrder) -> list[Entry]:
        where = Path(order.target.shelf)
        directories = {kind: prepare(where, STORE, kind) for kind in KINDS}
        for directory in directories.values():
            clear(directory)
        listed = entries.read_entries(where)[0]
        known = {one.kind: one for one in listed if (one.store, one.label) == (STORE, order.label)}
        missing = [kind for kind in KINDS if kind not in known]
        if missing:
            service = search_of(order.target, order.service)
            place = place_of_search(self._engine, order.target, service)
            with search_client(self._engine, self._secrets, order.target, service) as client:
                server = SearchServer(client)
                needed = server.size_bytes() * _SPARE
                refuse_without_room("for backups of search", needed, order.target.shelf, hint=ON_SHELF)
                taken = self._taken(server, place, _journal(order.target, service))
            try:
                known |= {kind: self._shelved(order, place, kind, taken) for kind in missing}
            finally:
                for directory in directories.values():
                    clear(directory)
            self._records.remove(JOURNAL, _journal(order.target, service))
        return [known[kind] for kind in KINDS]

    def _taken(self, server: SearchServer, place: SearchPlace, journal: str) -> _Taken:
        """Have both written; once more when somebody wrote in the middle, and then say which index it was."""
        taken, moved = self._tried(server, place, journal)
        if moved:
            taken, moved = self._tried(server, place, journal)
        exact = [one for one in taken.held if one.name not in moved]
        loose = [still_the_same(server.get, one) for one in taken.held if one.name in moved]
        return replace(taken, held=(*exact, *loose))

    def _tried(self, server: SearchServer, place: SearchPlace, journal: str) -> tuple[_Taken, frozenset[str]]:
        """Return what was written, and the indexes that were changed since they had been read."""
        began, since = datetime.now(UTC), moment(server.get)
        read = (read_index(server.get, uid) for uid in indexes_in(server.get))
        held = tuple(one for one in read if one is not None)
        asked = list((self._records.read(JOURNAL, journal) or {}).get("tasks") or [])

        def note(number: int) -> None:
            self._records.write(JOURNAL, journal, {"tasks": [*asked, number]})

        tasks = [server.do("/snapshots", "the snapshot"), server.do("/dumps", "the dump", note)]
        changed = changed_since(server.get, since, max(at(task["startedAt"]) for task in tasks))
        dumps = [_dump_of(task, place) for task in (*map(server.task, asked), tasks[1])]
        names = frozenset(one.name for one in held)
        taken = _Taken(
            files={SNAPSHOT: place.snapshot, DUMP: dumps[-1]},
            began=began,
            held=held,
            version=server.version(),
            dumps=tuple(one for one in dumps if one),
        )
        return taken, names if changed is None else changed & names

    def _shelved(self, order: StoreBackupOrder, place: SearchPlace, kind: str, taken: _Taken) -> Entry:
        where = Path(order.target.shelf)
        entry_id = entries.new_id(where / STORE / kind, kind)
        partial = entries.partial_of(where, STORE, kind, entry_id)
        begin(partial)
        done_with = taken.dumps if kind == DUMP else ()
        fetch(self._engine, order.target, place, partial, kind, taken.files[kind], done_with)
        version = read_through(partial / FILES[kind], kind)
        if version and version != taken.version:
            said = f"the {kind} is of version {version}, the engine of {taken.version}"
            raise BackupUnusable(said, where=str(partial), code="backup-damaged")
        files = stored.stored_files(partial)
        size = sum(file.bytes for file in files)
        documents = sum(one.count for one in taken.held)
        entry = Entry(
            sentence=f"Search {kind} {entry_id}: {spoken_bytes(size)}, {len(taken.held)} indexes,"
            f" {documents:,} documents, version {taken.version}, read to its end",
            id=entry_id,
            store=STORE,
            kind=kind,
            path=place_of(STORE, kind, entry_id),
            started_at=taken.began,
            ended_at=datetime.now(UTC),
            bytes=size,
            sha256=files_sha256(files),
            files=files,
            source=Source(stack=order.target.stack, version=taken.version, image_id=place.container.image_id),
            held=taken.held,
            verified=Level.MANIFEST,
            verified_at=datetime.now(UTC),
            verified_by=READ_BY,
            label=order.label,
            reason=order.reason,
            scheduled_for=order.scheduled_for,
        )
        return entries.publish(partial, entry)


def search_entry(target: Target, entry_id: str) -> Entry:
    """Return a backup of the search engine; ``Refused`` (``backup-other-kind``) for another one."""
    entry = entries.find_entry(Path(target.shelf), entry_id)
    if entry.store != STORE:
        said = f"backup {entry.id} is not of search but of {entry.store} {entry.kind}"
        raise Refused(said, code="backup-other-kind")
    return entry


def _journal(target: Target, service: ServiceTarget) -> str:
    return f"{target.stack}-{service.name}"


def _dump_of(task: dict[str, Any], place: SearchPlace) -> str:
    """Return the file of a dump, or nothing for a task that made none or is forgotten by now."""
    uid = str((task.get("details") or {}).get("dumpUid") or "")
    return f"{place.dumps}/{uid}.dump" if _UID.fullmatch(uid) and task.get("type") == "dumpCreation" else ""
