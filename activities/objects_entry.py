"""The copies of the object store on the shelf: found, read, and told from what only looks like one."""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from activities import entries, plain_files, stored
from activities.objects_blobs import Blobs
from domain.entries import Entry, place_of
from domain.errors import BackupUnusable, Refused
from domain.objects_copy import KIND, LISTING, PLACE, STORE, ObjectVersion
from domain.paths import path_under

_DRIVE_SIGNS = {".minio.sys", "xl.meta"}
_LOOKED_AT = 10_000
_PLACE_LIMIT_BYTES = 64 * 1024


class _Place(BaseModel):
    """Where the contents of a copy lie."""

    model_config = ConfigDict(extra="ignore")
    place: str
    unreadable: int = 0
    """So many of the store's own versions could not be read, and are in no copy."""


def copy_named(shelf: Path, entry_id: str) -> Entry:
    """Return a copy of the shelf, whose files are what they were when it was made.

    Raises ``Refused`` for a live drive that was copied as files (F-J8) and for another kind of backup,
    ``BackupUnusable`` for one that is not there; its files are for ``whole_listing``.
    """
    if entry_id:
        refuse_drive(shelf, entry_id)
    entry = entries.find_entry(shelf, entry_id)
    if (entry.store, entry.kind) != (STORE, KIND):
        raise Refused(
            f"backup {entry.id} is no copy of objects but {entry.store} {entry.kind}", code="backup-no-copy"
        )
    if not entry_id:
        refuse_drive(shelf, entry.id)
    return entry


def whole_listing(shelf: Path, entry: Entry) -> list[ObjectVersion]:
    """Return the listing of a copy; ``BackupUnusable`` when a file of it differs from its record."""
    directory = entries.directory_of(shelf, entry)
    wrong = stored.what_differs(directory, entry.files)
    if wrong:
        raise damaged(entry, wrong, directory)
    return read_listing(directory / LISTING)


def require_place(shelf: Path, entry: Entry, blobs: Blobs) -> None:
    """Return when the contents of a copy lie where ``blobs`` looks for them; else raise ``Refused``."""
    directory = entries.directory_of(shelf, entry)
    try:
        place = place_in(directory)
    except BackupUnusable as error:
        raise damaged(entry, error.what, directory) from None
    if place != blobs.place:
        raise Refused(
            f"the contents of {entry.id} lie elsewhere: {place}",
            where=blobs.place,
            hint="name that place under backup.second_store, or take a newer copy",
            code="second-store-other",
        )


def place_in(directory: Path) -> str:
    """Return where the contents of a copy lie, as it says itself; ``BackupUnusable`` when it does not."""
    return _placed(directory).place


def unreadable_in(shelf: Path, entry: Entry) -> int:
    """Return how many versions the store listed and could not give when a copy was made."""
    directory = entries.directory_of(shelf, entry)
    try:
        return _placed(directory).unreadable
    except BackupUnusable as error:
        raise damaged(entry, error.what, directory) from None


def _placed(directory: Path) -> _Place:
    path = directory / PLACE
    try:
        return _Place.model_validate_json(plain_files.read(path, _PLACE_LIMIT_BYTES))
    except (OSError, ValidationError):
        raise BackupUnusable(f"{PLACE} cannot be read", where=str(path), code="backup-damaged") from None


def read_listing(path: Path, *, cut_off: bool = False) -> list[ObjectVersion]:
    """Return the lines of a listing; with ``cut_off`` up to the one that a killed worker had not ended."""
    found = []
    try:
        with plain_files.opened(path) as handle, os.fdopen(handle, "rb", closefd=False) as file:
            for number, line in enumerate(file, 1):
                try:
                    found.append(ObjectVersion.model_validate_json(line))
                except ValidationError:
                    if cut_off:
                        break
                    raise _unreadable(path, f"line {number} is none") from None
    except OSError as error:
        raise _unreadable(path, error.strerror or "it cannot be read") from None
    return found


def lines_of(blocks: Iterable[bytes]) -> Iterator[ObjectVersion]:
    """Yield the lines of a listing, however its bytes are cut; ``BackupUnusable`` for one that is none."""
    held = b""
    for block in blocks:
        *whole, held = (held + block).split(b"\n")
        yield from map(_line, whole)
    if held:
        yield _line(held)


def _line(text: bytes) -> ObjectVersion:
    try:
        return ObjectVersion.model_validate_json(text)
    except ValidationError:
        raise BackupUnusable("a line of its listing is none", code="backup-damaged") from None


def write_listing(path: Path, versions: Iterable[ObjectVersion]) -> None:
    """Write a listing, one line a version."""
    with plain_files.written(path) as file:
        for one in versions:
            file.write(line_of(one))


def line_of(one: ObjectVersion) -> bytes:
    """Return a version as a line of a listing."""
    return one.model_dump_json(exclude_defaults=True).encode() + b"\n"


def write_place(directory: Path, blobs: Blobs, *, unreadable: int = 0) -> None:
    """Write down where the contents lie, and how many could not be brought there."""
    said = {"place": blobs.place, **({"unreadable": unreadable} if unreadable else {})}
    plain_files.replace(directory / PLACE, json.dumps(said).encode() + b"\n")


def damaged(entry: Entry, what: str, where: Path, *, hint: str = "") -> BackupUnusable:
    """Return the error for a copy that is not what it was."""
    return BackupUnusable(f"backup {entry.id}: {what}", where=str(where), hint=hint, code="backup-damaged")


def refuse_drive(shelf: Path, entry_id: str) -> None:
    """Refuse the files of a drive: copied under a running server they agree with no moment of it."""
    looked = 0
    for folder, folders, names in os.walk(path_under(str(shelf), place_of(STORE, KIND, entry_id))):
        looked += 1 + len(names)
        if _DRIVE_SIGNS & {*folders, *names}:
            raise Refused(
                f"{entry_id} holds the files of the server's drive (xl.meta, .minio.sys), not its objects",
                where=folder,
                hint="copied while the server runs they agree with no moment of it, and only the same server"
                " could read them; take a copy through S3: dr backup now minio",
                code="objects-drive-copied",
            )
        if looked > _LOOKED_AT:
            return


def _unreadable(path: Path, why: str) -> BackupUnusable:
    return BackupUnusable(f"its {path.name} cannot be used: {why}", where=str(path), code="backup-damaged")
