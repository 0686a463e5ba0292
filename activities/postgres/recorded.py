"""What a backup held, as a file of the backup: written before its entry, and read when the entry is lost."""

from pathlib import Path

from pydantic import ValidationError

from activities import plain_files, stored
from domain.backups import Backup
from domain.choice import major_version
from domain.dumps import Recorded
from domain.entries import BASE, RECORD, Entry, Source, StoredFile, files_sha256
from domain.errors import BackupUnusable
from domain.wal import parse_lsn

_LIMIT_BYTES = 16 * 1024 * 1024
_STORE = "postgres"
_LONGEST = 2000


def write_base(directory: Path, backup: Backup) -> Backup:
    """Write what a base backup held beside its data; return the backup, which knows that file."""
    source = Source(
        system_identifier=backup.system_identifier,
        version=backup.server_version,
        image_id=backup.image_id,
        timeline=backup.timeline,
    )
    file = _write(directory, _of(backup.id, BASE, backup.sha256, source, backup))
    return backup.model_copy(update={"record_sha256": file.sha256, "record_bytes": file.bytes})


def ensure_base_record(directory: Path, backup: Backup) -> Backup:
    """Write the record of a base backup again where it is gone or changed: its entry says the same."""
    try:
        whole = stored.stored_file(directory, RECORD).sha256 == backup.record_sha256
    except OSError:
        whole = False
    return backup if whole or not backup.record_sha256 else write_base(directory, backup)


def write_dump(directory: Path, entry: Entry) -> Entry:
    """Write what a dump held beside its dumps; return the entry, which lists that file with the others."""
    file = _write(directory, _of(entry.id, entry.kind, entry.sha256, entry.source, entry))
    files = tuple(sorted((*entry.files, file), key=lambda one: one.path))
    listed = {"files": files, "bytes": sum(one.bytes for one in files), "sha256": files_sha256(files)}
    return entry.model_copy(update=listed)


def with_base_record(directory: Path, backup: Backup) -> Backup:
    """Return a rebuilt base backup with what its record says; as it is where there is none.

    Raises ``BackupUnusable`` for a record that does not belong to it.
    """
    read = _read(directory, backup.id, BASE, backup.sha256)
    if read is None:
        return backup
    recorded, file = read
    source, at = recorded.source, recorded.contents.at_lsn
    try:
        parse_lsn(at or "0/0")
    except ValueError:
        raise _strange("it names no real position") from None
    same = (backup.system_identifier, backup.timeline, backup.server_version)
    if (source.system_identifier, source.timeline, major_version(source.version)) != same:
        raise _strange("it is of another server than the backup")
    said = {
        "stack": source.stack,
        "server_version": source.version,
        "image_id": source.image_id,
        "contents": recorded.contents,
        "record_sha256": file.sha256,
        "record_bytes": file.bytes,
    }
    return backup.model_copy(update=said)


def with_dump_record(directory: Path, entry: Entry) -> Entry:
    """Return a rebuilt dump with what its record says; as it is where there is none.

    What the dumps say themselves was read before, and must be no other. Raises ``BackupUnusable``.
    """
    others = files_sha256(file for file in entry.files if file.path != RECORD)
    read = _read(directory, entry.id, entry.kind, others)
    if read is None:
        return entry
    recorded, _ = read
    said = {(one.name, one.file): one for one in recorded.contents.databases}
    if said.keys() != {(one.name, one.file) for one in entry.contents.databases}:
        raise _strange("it names other databases than were dumped")
    for database in entry.contents.databases:
        before = {table.name: table.rows for table in said[database.name, database.file].tables}
        for table in database.tables:
            if before.get(table.name, table.rows) != table.rows:
                raise _strange(f"it says {before[table.name]} rows of {table.name}, {table.rows} were dumped")
    return entry.model_copy(update={"contents": recorded.contents, "source": recorded.source})


def _of(name: str, kind: str, sha256: str, source: Source, held: Backup | Entry) -> Recorded:
    return Recorded(id=name, store=_STORE, kind=kind, sha256=sha256, source=source, contents=held.contents)


def _write(directory: Path, recorded: Recorded) -> StoredFile:
    plain_files.replace(directory / RECORD, recorded.model_dump_json(indent=2).encode())
    return stored.stored_file(directory, RECORD)


def _read(directory: Path, name: str, kind: str, sha256: str) -> tuple[Recorded, StoredFile] | None:
    """Return the record of exactly this backup, or ``None`` where there is none."""
    try:
        recorded = Recorded.model_validate_json(plain_files.read(directory / RECORD, _LIMIT_BYTES))
        file = stored.stored_file(directory, RECORD)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _strange(f"it cannot be read: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise _strange(f"it is none: {first['msg']}") from None
    if (recorded.id, recorded.store, recorded.kind) != (name, _STORE, kind):
        raise _strange(f"it is that of {recorded.store} {recorded.kind} {recorded.id}")
    if recorded.sha256 != sha256:
        raise _strange("it was written of other files than these")
    if any(isinstance(value, str) and len(value) > _LONGEST for _, value in recorded.source):
        raise _strange("a text in it is too long")
    return recorded, file


def _strange(what: str) -> BackupUnusable:
    return BackupUnusable(f"its {RECORD} is not believed: {what}", code="record-strange")
