"""Snapshots and dumps of the search stand-in: what is in them, and how they are refused."""

from __future__ import annotations

import io
import json
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .search_store import SearchStore, now

VERSION_FILE = "VERSION"
_BATCH = 1_000


class ImportRefused(Exception):
    """The program does not start with these data; the text is what it says."""


def require_version(folder: Path, version: str) -> None:
    """Write the version into new data; data of another one are refused."""
    folder.mkdir(parents=True, exist_ok=True)
    there = folder / VERSION_FILE
    known = there.read_text().strip() if there.exists() else version
    if known != version:
        raise _incompatible(known, version)
    there.write_text(version)


def write_snapshot(store: SearchStore, target: Path, version: str) -> None:
    """Write one read-only file with everything; it replaces the one before."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        copy = Path(scratch) / "documents.db"
        store.copy_to(copy)
        packed = Path(scratch) / "packed"
        with tarfile.open(packed, "w:gz") as archive:
            _add(archive, VERSION_FILE, version.encode())
            archive.add(copy, arcname="documents.db")
        packed.chmod(0o444)
        packed.replace(target)


def write_dump(store: SearchStore, target: Path, version: str) -> None:
    """Write indexes and documents in a form that other versions read."""
    target.parent.mkdir(parents=True, exist_ok=True)
    about = {"dumpVersion": "V6", "dbVersion": version, "dumpDate": now()}
    draft = target.with_suffix(".unfinished")
    with tarfile.open(draft, "w:gz") as archive:
        _add(archive, "metadata.json", json.dumps(about).encode())
        for index in store.indexes():
            folder, facts = (
                f"indexes/{index['uid']}",
                {"uid": index["uid"], "primaryKey": index["primary_key"]},
            )
            _add(archive, f"{folder}/metadata.json", json.dumps(facts).encode())
            _add(archive, f"{folder}/settings.json", str(index["settings"]).encode())
            lines = "".join(f"{body}\n" for body in store.bodies(index["uid"]))
            _add(archive, f"{folder}/documents.jsonl", lines.encode())
    draft.replace(target)


def import_snapshot(source: Path, folder: Path, version: str) -> None:
    """Unpack a snapshot of this version into an empty data directory."""
    _require_new(source, folder, "snapshot")
    with tarfile.open(source) as archive:
        held = archive.extractfile(VERSION_FILE) if VERSION_FILE in archive.getnames() else None
        known = held.read().decode().strip() if held is not None else version
        if known != version:
            raise _incompatible(known, version)
        archive.extractall(folder, filter="data")


def import_dump(source: Path, folder: Path) -> None:
    """Fill an empty data directory with what a dump of any version says."""
    _require_new(source, folder, "dump")
    store = SearchStore(folder)
    try:
        for uid, facts, settings, documents in _indexes_in(source):
            store.ensure_index(uid, facts.get("primaryKey"))
            store.change_settings(uid, settings)
            for start in range(0, len(documents), _BATCH):
                store.add(uid, facts.get("primaryKey"), documents[start : start + _BATCH], merge=False)
    finally:
        store.close()


def _indexes_in(
    source: Path,
) -> Iterator[tuple[str, dict[str, Any], dict[str, Any], list[dict[str, Any]]]]:
    with tarfile.open(source) as archive:
        parts: dict[str, dict[str, bytes]] = {}
        for member in archive:
            held = archive.extractfile(member)
            names = member.name.split("/")
            if held is not None and names[0] == "indexes":
                parts.setdefault(names[1], {})[names[2]] = held.read()
    for uid, files in parts.items():
        lines = files.get("documents.jsonl", b"").decode().splitlines()
        documents = [json.loads(line) for line in lines]
        yield uid, json.loads(files["metadata.json"]), json.loads(files["settings.json"]), documents


def _require_new(source: Path, folder: Path, what: str) -> None:
    if folder.is_dir() and any(folder.iterdir()):
        raise ImportRefused(f'database already exists at "{folder}", try to delete it or rename it')
    if not source.is_file():
        raise ImportRefused(f'{what} doesn\'t exist at "{source}"')
    folder.mkdir(parents=True, exist_ok=True)


def _incompatible(known: str, version: str) -> ImportRefused:
    said = f"Your database version ({known}) is incompatible with your current engine version ({version})."
    return ImportRefused(said)


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


UNUSABLE = (ImportRefused, OSError, tarfile.TarError, EOFError, ValueError, KeyError, sqlite3.Error)
"""What a start with data that cannot be used ends with."""
