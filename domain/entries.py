"""What the shelf holds of every store: one entry for each backup that was finished. Pure."""

import hashlib
from collections.abc import Iterable
from datetime import datetime, timedelta

from domain.backups import Backup, Level, PassedOver
from domain.contents import Contents
from domain.holdings import Holding
from domain.order import Order, Outcome, Value

ENTRY = "dr.json"
"""The file in a backup's directory that says what it is; it is written last."""
RECORD = "contents.json"
"""The file of a backup of PostgreSQL that says what it held, for the day that its entry is lost."""
BASE = "base"
REBUILT = "rebuilt"
"""The reason of an entry that was made anew from the files; no hand took the backup with it."""
KINDS: dict[str, tuple[str, ...]] = {
    "postgres": (BASE, "daily", "weekly"),
    "redis": ("rdb", "aof"),
    "minio": ("copy",),
    "meilisearch": ("snapshot", "dump"),
    "hasura": ("metadata",),
    "stack": ("configuration",),
}
"""Store to its kinds; an entry lies at ``<shelf>/<store>/<kind>/<id>``."""

_LONGEST_START = timedelta(days=1)
"""More than any wait between the name that a backup gets and its beginning."""
_FILES_SHOWN = 100
_TABLES_SHOWN = 1000
_VERIFIED_BY = {Level.MANIFEST: "pg_verifybackup", Level.RESTORED: "a restored copy"}


class StoredFile(Value):
    """One file of a backup as it was when the backup was finished."""

    path: str
    """Relative to the entry's directory."""
    bytes: int
    sha256: str


class Source(Value):
    """Where a backup was taken from; what the store does not have stays empty."""

    stack: str = ""
    """Empty where it was not recorded: by an older version, or in an entry that was rebuilt."""
    system_identifier: str = ""
    version: str = ""
    image_id: str = ""
    timeline: int | None = None
    also: tuple[str, ...] = ()
    """Kinds that the store could give beside this one when it was taken: they are due then."""


class Entry(Outcome):
    """One finished backup of any store."""

    id: str
    store: str
    kind: str
    path: str
    """Its directory, relative to the shelf."""
    started_at: datetime
    ended_at: datetime
    bytes: int
    sha256: str
    """Over the list of its files, see ``files_sha256``; of a base backup: of its manifest."""
    files: tuple[StoredFile, ...] = ()
    """Empty for a base backup, whose own manifest lists them."""
    source: Source = Source()
    contents: Contents = Contents()
    held: tuple[Holding, ...] = ()
    """What was in the store, for stores other than PostgreSQL."""
    key_id: str = ""
    """The key that its files are encrypted with; empty when they are not."""
    verified: Level = Level.NONE
    verified_at: datetime | None = None
    verified_by: str = ""
    label: str = ""
    reason: str = ""
    scheduled_for: datetime | None = None
    start_segment: str = ""
    """Of a base backup: the oldest WAL that it needs."""

    @property
    def rebuilt(self) -> bool:
        """Tell whether the files alone said what is in it."""
        return self.reason == REBUILT and not self.label


class EntryList(Outcome):
    """What a shelf holds: entries newest first, and what is none."""

    entries: tuple[Entry, ...] = ()
    strangers: tuple[PassedOver, ...] = ()


class EntryOrder(Order):
    """Look at one entry of a shelf; an empty id is the newest."""

    shelf: str
    """Absolute path on the host."""
    entry_id: str = ""
    whole: bool = False
    """Return what it held and its files as well."""


def entry_of(backup: Backup) -> Entry:
    """Return a base backup seen as an entry."""
    return Entry(
        sentence=backup.sentence,
        id=backup.id,
        store=backup.store,
        kind=backup.kind,
        path=place_of(backup.store, backup.kind, backup.id),
        started_at=backup.started_at,
        ended_at=backup.ended_at,
        bytes=backup.bytes,
        sha256=backup.sha256,
        source=Source(
            stack=backup.stack,
            system_identifier=backup.system_identifier,
            version=backup.server_version,
            image_id=backup.image_id,
            timeline=backup.timeline,
        ),
        contents=backup.contents,
        verified=backup.verified,
        verified_at=backup.verified_at,
        verified_by=backup.verified_by or _VERIFIED_BY.get(backup.verified, ""),
        label=backup.label,
        reason=backup.reason,
        scheduled_for=backup.scheduled_for,
        start_segment=backup.start_segment,
    )


def place_of(store: str, kind: str, entry_id: str) -> str:
    """Return the directory of an entry, relative to the shelf."""
    return f"{store}/{kind}/{entry_id}"


def files_sha256(files: Iterable[StoredFile]) -> str:
    """Return the SHA-256 over the list of files: ``<sha256>  <bytes>  <path>`` a line, sorted by path."""
    whole = hashlib.sha256()
    for file in sorted(files, key=lambda one: one.path):
        whole.update(f"{file.sha256}  {file.bytes}  {file.path}\n".encode())
    return whole.hexdigest()


def newest_first(entries: Iterable[Entry]) -> list[Entry]:
    """Return the entries by their end, the youngest first; the id decides between equals."""
    return sorted(entries, key=lambda entry: (entry.ended_at, entry.id), reverse=True)


def bare(entry: Entry) -> Entry:
    """Return an entry without its files and what they held: of many entries those would be megabytes."""
    return entry.model_copy(update={"files": (), "contents": Contents(), "held": ()})


def shown(entry: Entry) -> Entry:
    """Return an entry that fits into an answer; what was left out of it is in its sentence."""
    room = _TABLES_SHOWN
    databases = []
    hidden = 0
    for database in entry.contents.databases:
        tables, sequences = database.tables[:room], database.sequences[:room]
        room = max(room - len(tables), 0)
        hidden += len(database.tables) - len(tables)
        databases.append(database.model_copy(update={"tables": tables, "sequences": sequences}))
    plain = entry.contents.tables[:room]
    hidden += len(entry.contents.tables) - len(plain)
    files = entry.files[:_FILES_SHOWN]
    left = [
        f"{count} more {what} are in its dr.json"
        for count, what in ((hidden, "tables"), (len(entry.files) - len(files), "files"))
        if count
    ]
    contents = entry.contents.model_copy(update={"tables": plain, "databases": tuple(databases)})
    sentence = "; ".join([entry.sentence, *left])
    return entry.model_copy(update={"files": files, "contents": contents, "sentence": sentence})


def misdated(entry: Entry, named: datetime | None) -> str:
    """Return how an entry's time differs from that in its name, or nothing: an old backup is no new one."""
    if named is None or abs(entry.started_at - named) <= _LONGEST_START:
        return ""
    return f"it says that it began {entry.started_at:%Y-%m-%d %H:%MZ}, and its name {named:%Y-%m-%d %H:%MZ}"
