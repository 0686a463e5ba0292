"""What of a shelf goes off-site: finished entries with all their files, closed WAL segments; nothing else."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from activities import plain_files
from domain.backups import PassedOver
from domain.choice import of_another_stack
from domain.entries import ENTRY, RECORD
from domain.errors import BackupUnusable, Refused
from domain.objects_copy import CONTENTS
from domain.offsite_copies import STORES, WAL, stays_inside
from domain.paths import is_part
from domain.wal import history_of, is_segment

_PG_MANIFEST = "data/backup_manifest"
_ENTRY_LIMIT_BYTES = 16 * 1024 * 1024
_MANIFEST_LIMIT_BYTES = 256 * 1024 * 1024


class _Recorded(BaseModel):
    """A file that an entry lists; what else is written there is for others."""

    model_config = ConfigDict(extra="ignore")
    path: str
    bytes: int
    sha256: str = ""


class _Source(BaseModel):
    """Where a backup says that it is from."""

    model_config = ConfigDict(extra="ignore")
    stack: str = ""


class _Entry(BaseModel):
    """The part of an entry that says what it is."""

    model_config = ConfigDict(extra="ignore")
    id: str
    store: str
    kind: str
    stack: str = ""
    source: _Source = _Source()
    files: tuple[_Recorded, ...] = ()
    record_sha256: str = ""
    record_bytes: int = 0


@dataclass(frozen=True)
class Shelved:
    """One finished entry."""

    store: str
    kind: str
    id: str
    directory: Path


@dataclass(frozen=True)
class Inside:
    """What an entry consists of, as it lies there now."""

    entry: str
    """Content of the entry file."""
    directories: tuple[str, ...]
    files: dict[str, int]
    """Relative path to size."""
    recorded: dict[str, tuple[int, str]]
    """Relative path to size and SHA-256 in hex (or nothing), as written down when it was made."""
    uid: int
    gid: int


@dataclass(frozen=True)
class Segment:
    """A closed segment or a history file of the archive."""

    generation: str
    name: str
    path: Path
    bytes: int


def shelved(shelf: Path, stack: str) -> tuple[list[Shelved], list[PassedOver]]:
    """Return the finished entries of all stores, newest first, and what is none or another stack's.

    Raises ``Refused``.
    """
    found: list[Shelved] = []
    strangers: list[PassedOver] = []
    for store in STORES:
        for kind in _directories(shelf / store):
            if kind.name in {WAL, CONTENTS} or not is_part(kind.name):
                continue
            for path in _directories(kind):
                reason = _why_not(store, kind.name, path, stack)
                if reason:
                    strangers.append(PassedOver(id=f"{store}/{kind.name}/{path.name}", reason=reason))
                else:
                    found.append(Shelved(store, kind.name, path.name, path))
    return sorted(found, key=lambda one: (one.id, one.store), reverse=True), strangers


def look_inside(one: Shelved) -> Inside:
    """Return what an entry consists of; ``BackupUnusable`` for links, pipes and files that are missing."""
    strange = plain_files.strange_in(one.directory)
    if strange:
        raise _unusable(one, f"it holds {strange}")
    text = _text(one.directory / ENTRY, _ENTRY_LIMIT_BYTES)
    entry = _Entry.model_validate_json(text)
    recorded = {file.path: (file.bytes, file.sha256) for file in entry.files}
    if entry.record_sha256:
        recorded[RECORD] = (entry.record_bytes, entry.record_sha256)
    recorded |= _of_pg_manifest(one)
    directories: list[str] = []
    files: dict[str, int] = {}
    for folder, folders, names in os.walk(one.directory):
        inside = Path(folder).relative_to(one.directory)
        directories += [str(inside / name) for name in folders]
        files |= {str(inside / name): (Path(folder) / name).lstat().st_size for name in names}
    files.pop(ENTRY, None)
    for path in (*directories, *files):
        if not stays_inside(path) or not path.isprintable():
            raise _unusable(one, f"a file's name cannot be kept: {path[:200]!r}")
    for path, (size, _) in recorded.items():
        if files.get(path) != size:
            was = f"{files[path]} bytes" if path in files else "missing"
            raise _unusable(one, f"{path} is {was}, its entry says {size} bytes")
    owner = one.directory.lstat()
    return Inside(text, tuple(sorted(directories)), files, recorded, owner.st_uid, owner.st_gid)


def size_of(one: Shelved) -> int:
    """Return the bytes of all files of an entry, as they lie there now."""
    return sum(
        (Path(folder) / name).lstat().st_size for folder, _, names in os.walk(one.directory) for name in names
    )


def segments(shelf: Path) -> list[Segment]:
    """Return the closed segments and history files of every receiver generation, oldest first."""
    found = []
    for generation in _directories(shelf / "postgres" / WAL):
        for path in generation.iterdir() if is_part(generation.name) else ():
            if not is_segment(path.name) and history_of(path.name) is None:
                continue
            if path.is_symlink() or not path.is_file():
                continue
            found.append(Segment(generation.name, path.name, path, path.lstat().st_size))
    return sorted(found, key=lambda one: (one.name, one.generation))


def _directories(path: Path) -> Iterator[Path]:
    """Yield the directories in a directory; links are not followed, and hidden ones are unfinished."""
    try:
        inside = sorted(path.iterdir()) if path.is_dir() and not path.is_symlink() else []
    except PermissionError as error:
        raise Refused(
            f"the shelf cannot be read: {error.strerror}", where=str(path), code="shelf-unusable"
        ) from None
    for one in inside:
        if not one.name.startswith(".") and one.is_dir() and not one.is_symlink():
            yield one


def _why_not(store: str, kind: str, path: Path, stack: str) -> str:
    if not is_part(path.name):
        return "its name is none that an entry has"
    try:
        entry = _Entry.model_validate_json(_text(path / ENTRY, _ENTRY_LIMIT_BYTES))
    except OSError as error:
        return f"its entry {ENTRY} cannot be read: {error.strerror}"
    except (ValidationError, ValueError):
        return f"its entry {ENTRY} is broken"
    if (entry.store, entry.kind, entry.id) != (store, kind, path.name):
        return f"its entry is that of {entry.id}"
    # A base backup says it in the first place, others in the second.
    return of_another_stack(entry.stack or entry.source.stack, stack)


def _of_pg_manifest(one: Shelved) -> dict[str, tuple[int, str]]:
    """Return what PostgreSQL's own manifest states of a base backup's files."""
    try:
        listed = json.loads(_text(one.directory / _PG_MANIFEST, _MANIFEST_LIMIT_BYTES))["Files"]
        return {
            f"data/{file['Path']}": (
                int(file["Size"]),
                str(file["Checksum"]) if file.get("Checksum-Algorithm") == "SHA256" else "",
            )
            for file in listed
            if "Path" in file
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise _unusable(one, "its backup_manifest cannot be read") from None


def _text(path: Path, limit_bytes: int) -> str:
    return plain_files.read(path, limit_bytes).decode()


def _unusable(one: Shelved, what: str) -> BackupUnusable:
    return BackupUnusable(f"{one.id}: {what}", where=str(one.directory), code="backup-damaged")
