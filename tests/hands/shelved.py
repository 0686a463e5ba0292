"""Backups of any store on a shelf, as their hands publish them."""

from datetime import UTC, datetime
from pathlib import Path

from activities import entries, stored
from domain.entries import Entry, files_sha256, place_of

AT = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
DAILY = "20261122T020000Z-daily"


def partial(shelf: Path, name: str = DAILY, store: str = "postgres", **files: bytes) -> Path:
    """Make what a job has written before its backup is finished; a file's name is given without suffix."""
    made = entries.partial_of(shelf, store, name.rpartition("-")[2], name)
    made.mkdir(parents=True)
    for file, content in (files or {"chat": b"PGDMP of chat", "globals": b"-- roles"}).items():
        (made / f"{file}.dump").write_bytes(content)
    return made


def entry(made: Path, store: str = "postgres", **other: object) -> Entry:
    """Return the entry of an unfinished backup."""
    name = made.name.removeprefix(".").removesuffix(entries.PARTIAL)
    kind = name.rpartition("-")[2]
    files = stored.stored_files(made)
    values: dict[str, object] = {
        "id": name,
        "store": store,
        "kind": kind,
        "path": place_of(store, kind, name),
        "started_at": AT,
        "ended_at": AT,
        "bytes": sum(file.bytes for file in files),
        "sha256": files_sha256(files),
        "files": files,
    }
    return Entry.model_validate(values | other)


def shelved(shelf: Path, name: str = DAILY, store: str = "postgres", **other: object) -> Entry:
    """Put a finished backup on the shelf."""
    made = partial(shelf, name, store)
    return entries.publish(made, entry(made, store, **other))
