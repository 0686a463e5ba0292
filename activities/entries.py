"""The catalogue of every store: one ``dr.json`` beside each backup of the shelf, written last."""

import errno
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import ValidationError

from activities import catalogue, plain_files, stored
from domain.backups import Level, PassedOver
from domain.entries import BASE, ENTRY, KINDS, Entry, entry_of, files_sha256, misdated, newest_first, place_of
from domain.errors import BackupUnusable, Refused
from domain.objects_copy import CONTENTS
from domain.paths import path_under

PARTIAL = ".partial"
GONE = ".gone-"
_STAMP = r"\d{8}T\d{6}Z"
_BESIDE = {"postgres": {"wal"}, "minio": {CONTENTS}}
"""What a store keeps beside its backups."""
_NOT_READ = {"emergency"}
"""What people put aside by hand."""
_STRANGERS_NAMED = 50
_LONGEST = 2000
_LONGEST_PATH = 1024
_ENTRY_LIMIT_BYTES = 64 * 1024 * 1024
_SHA256 = re.compile(r"[0-9a-f]{64}")


def read_entries(shelf: Path) -> tuple[list[Entry], list[PassedOver]]:
    """Return the entries of all stores, newest first, and what is no usable entry with the reason.

    What does not belong there is reported and left alone; symbolic links are not followed. Raises
    ``Refused`` when this process may not look at the shelf at all.
    """
    entries: list[Entry] = []
    strangers: list[PassedOver] = []
    for name in _names(shelf):
        if name not in KINDS:
            strangers += _stranger(name, name in _NOT_READ or name.startswith("."), "it is no store")
        elif _is_link(shelf / name):
            strangers.append(PassedOver(id=name, reason="a symbolic link, which is not followed"))
        else:
            _read_store(shelf, name, entries, strangers)
    more = len(strangers) - _STRANGERS_NAMED
    if more > 0:
        strangers[_STRANGERS_NAMED:] = [PassedOver(id="…", reason=f"{more} more that are no backups")]
    return newest_first(entries), strangers


def find_entry(shelf: Path, entry_id: str) -> Entry:
    """Return one entry, the newest for an empty id; raises ``BackupUnusable`` when there is none."""
    entries, strangers = read_entries(shelf)
    if not entry_id and entries:
        return entries[0]
    for entry in entries:
        if entry.id == entry_id:
            return entry
    reason = next((known.reason for known in strangers if known.id == entry_id), "it is not there")
    raise BackupUnusable(
        f"backup {entry_id}: {reason}" if entry_id else "the shelf holds no backup",
        where=str(shelf),
        hint="`dr backup list` shows what the shelf holds",
        code="backup-unknown",
    )


def directory_of(shelf: Path, entry: Entry) -> Path:
    """Return where an entry lies on the host; ``Refused`` when its words could lead elsewhere."""
    return Path(path_under(str(shelf), place_of(entry.store, entry.kind, entry.id)))


def partial_of(shelf: Path, store: str, kind: str, entry_id: str) -> Path:
    """Return where a backup is made before it has its name."""
    return shelf / store / kind / f".{entry_id}{PARTIAL}"


def new_id(directory: Path, kind: str) -> str:
    """Return an id of this second, or of the next one that is free in the kind's directory."""
    at = datetime.now(UTC)
    while True:
        entry_id = f"{at:%Y%m%dT%H%M%SZ}-{kind}"
        if not any((directory / taken).exists() for taken in (entry_id, f".{entry_id}{PARTIAL}")):
            return entry_id
        at += timedelta(seconds=1)


def taken_at(entry_id: str) -> datetime | None:
    """Return the time that an id states, or ``None`` when it states none."""
    try:
        return datetime.strptime(entry_id.partition("-")[0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None


def is_id(name: str, kind: str) -> bool:
    """Tell whether a directory has the name of a backup of this kind."""
    return re.fullmatch(f"{_STAMP}-{kind}", name) is not None and taken_at(name) is not None


def publish(partial: Path, entry: Entry) -> Entry:
    """Put all of a finished backup on disk, its entry last, and give it its name.

    Raises ``Refused`` for an entry that a reader would not believe, and when the name is taken.
    """
    shelf = partial.parents[2]
    final = directory_of(shelf, entry)
    wrong = _implausible(entry) or ("" if partial == _partial_for(shelf, entry) else "it lies elsewhere")
    if wrong:
        raise Refused(f"backup {entry.id} cannot be published: {wrong}", code="entry-implausible")
    stored.sync_tree(partial)
    plain_files.replace(partial / ENTRY, entry.model_dump_json(indent=2).encode())
    with plain_files.directory(partial.parent) as above:
        try:
            os.rename(partial.name, final.name, src_dir_fd=above, dst_dir_fd=above)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
                raise
            raise Refused(
                f"a backup {entry.id} is there already", where=str(final), code="name-taken"
            ) from None
        os.fsync(above)
    return entry


def write_entry(directory: Path, entry: Entry) -> None:
    """Write an entry into the directory of a finished backup that has lost its own.

    Raises ``BackupUnusable`` for an entry that a reader would not believe.
    """
    wrong = _implausible(entry)
    if wrong:
        raise _unusable(wrong)
    plain_files.replace(directory / ENTRY, entry.model_dump_json(indent=2).encode())


def record_verified(shelf: Path, entry: Entry, level: Level, at: datetime, by: str) -> Entry:
    """Record how far a backup was proven, when and by what; return the new entry.

    Raises ``BackupUnusable`` when it is no longer there, or another one has its name by now, and
    ``Refused`` where the shelf takes no writing.
    """
    try:
        return _recorded(shelf, entry, level, at, by)
    except OSError as error:
        raise Refused(
            f"what was shown of backup {entry.id} cannot be recorded: {error.strerror}",
            where=str(directory_of(shelf, entry)),
            hint="make the shelf writable for the worker of the host, then verify it again",
            code="shelf-unusable",
        ) from None


def _recorded(shelf: Path, entry: Entry, level: Level, at: datetime, by: str) -> Entry:
    if entry.store == "postgres" and entry.kind == BASE:
        proven = {"verified": level, "verified_at": at, "verified_by": by}
        found = catalogue.find_backup(shelf, entry.id)
        _require_same(found.sha256, entry)
        base = found.model_copy(update=proven)
        catalogue.record(shelf, base)
        return entry_of(base)
    known = _read(directory_of(shelf, entry), entry.store, entry.kind)
    _require_same(known.sha256, entry)
    known = known.model_copy(update={"verified": level, "verified_at": at, "verified_by": by})
    plain_files.replace(directory_of(shelf, known) / ENTRY, known.model_dump_json(indent=2).encode())
    return known


def _require_same(now: str, entry: Entry) -> None:
    """Refuse to say of one backup what was shown of another."""
    if now != entry.sha256:
        raise BackupUnusable(
            f"backup {entry.id}: another one has its name by now",
            hint="verify it again",
            code="backup-replaced",
        )


def _read_store(shelf: Path, store: str, entries: list[Entry], strangers: list[PassedOver]) -> None:
    for name in _names(shelf / store):
        place = f"{store}/{name}"
        if name not in KINDS[store]:
            usual = name.startswith(".") or name in _BESIDE.get(store, ())
            strangers += _stranger(place, usual, "it is no kind of backup")
        elif _is_link(shelf / store / name):
            strangers.append(PassedOver(id=place, reason="a symbolic link, which is not followed"))
        elif (store, name) == ("postgres", BASE):
            backups, passed = catalogue.read_catalogue(shelf)
            entries += [entry_of(backup) for backup in backups]
            strangers += passed
        else:
            _read_kind(shelf / store / name, store, name, entries, strangers)


def _read_kind(
    directory: Path, store: str, kind: str, entries: list[Entry], strangers: list[PassedOver]
) -> None:
    for name in _names(directory):
        try:
            entries.append(_read(directory / name, store, kind))
        except BackupUnusable as error:
            strangers.append(PassedOver(id=name, reason=error.what))


def _read(path: Path, store: str, kind: str) -> Entry:
    if _is_link(path):
        raise _unusable("a symbolic link, which is not followed")
    if path.name.startswith(GONE):
        raise _unusable("a backup whose removal was begun")
    if path.name.startswith("."):
        raise _unusable("an unfinished backup")
    if not is_id(path.name, kind):
        raise _unusable("its name is none that a backup has")
    if not path.is_dir():
        raise _unusable("not a backup's directory")
    entry = _parsed(path)
    place = (store, kind, path.name, place_of(store, kind, path.name))
    if (entry.store, entry.kind, entry.id, entry.path) != place:
        raise _unusable(f"its entry is that of {entry.id} at {entry.path}")
    wrong = _implausible(entry) or misdated(entry, taken_at(entry.id))
    if wrong:
        raise _unusable(f"its entry {ENTRY} is broken: {wrong}")
    return entry


def _parsed(path: Path) -> Entry:
    try:
        text = plain_files.read(path / ENTRY, _ENTRY_LIMIT_BYTES)
    except FileNotFoundError:
        raise _unusable(f"its entry {ENTRY} is missing: dr backup rebuild-catalogue") from None
    except OSError as error:
        raise _unusable(f"its entry {ENTRY} cannot be read: {error.strerror}") from None
    try:
        return Entry.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _unusable(f"its entry {ENTRY} is broken: {where} {first['msg']}".replace("  ", " ")) from None


def _implausible(entry: Entry) -> str:
    """Return why an entry cannot be believed, or nothing; the files themselves are not looked at."""
    times = (entry.started_at, entry.ended_at, entry.verified_at, entry.scheduled_for)
    if any(at is not None and at.tzinfo is None for at in times):
        return "it names no real times"
    # It goes into histories and reports, which take no megabytes of somebody's text.
    if any(isinstance(value, str) and len(value) > _LONGEST for _, value in entry):
        return "a text in it is too long"
    return _strange_list(entry)


def _strange_list(entry: Entry) -> str:
    paths = {file.path for file in entry.files}
    if not paths or len(paths) != len(entry.files):
        return "it lists no files, or one of them twice"
    if not all(_inside(path) for path in paths):
        return "it lists a file outside its directory"
    if any(file.bytes < 0 or _SHA256.fullmatch(file.sha256) is None for file in entry.files):
        return "a size or checksum in it is none"
    if entry.bytes != sum(file.bytes for file in entry.files) or entry.sha256 != files_sha256(entry.files):
        return "it does not agree with its own list of files"
    return ""


def _inside(path: str) -> bool:
    """Tell whether a path leads to a file below the directory that it is relative to."""
    parts = path.split("/")
    proper = all(part not in {"", ".", ".."} for part in parts) and path.isprintable()
    return proper and len(path) <= _LONGEST_PATH and path != ENTRY


def _partial_for(shelf: Path, entry: Entry) -> Path:
    return partial_of(shelf, entry.store, entry.kind, entry.id)


def _names(directory: Path) -> list[str]:
    try:
        return sorted(os.listdir(directory)) if directory.is_dir() else []  # noqa: PTH208 - names alone
    except PermissionError as error:
        raise Refused(
            f"the shelf cannot be read: {error.strerror}",
            where=str(directory),
            hint="the worker of the host needs to run as root, or the shelf to be given to it",
            code="shelf-unusable",
        ) from None


def _is_link(path: Path) -> bool:
    return path.is_symlink()


def _stranger(name: str, usual: bool, reason: str) -> list[PassedOver]:  # noqa: FBT001 - told by its name
    return [] if usual else [PassedOver(id=name, reason=reason)]


def _unusable(what: str) -> BackupUnusable:
    return BackupUnusable(what, code="backup-stranger")
