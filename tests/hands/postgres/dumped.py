"""What the tests of dumps share."""

from collections.abc import Callable
from pathlib import Path

from activities import entries, stored
from activities.engine import ContainerState, Engine
from domain.contents import DatabaseState, TableState
from domain.dumps import DumpOrder
from domain.entries import Entry, files_sha256
from domain.names import LABEL_ROLE, LABEL_STACK
from tests.hands.postgres.conftest import Server


def wanted(server: Server, **other: object) -> DumpOrder:
    """Return the order for a dump."""
    return DumpOrder.model_validate({"target": server.target, "label": "nightly", **other})


def ours(engine: Engine, server: Server) -> list[ContainerState]:
    """Return the containers that hands of ours left of a stack."""
    found = engine.labelled(f"{LABEL_STACK}={server.target.stack}")
    return [container for container in found if LABEL_ROLE in container.labels]


def database(entry: Entry, name: str = "chat") -> DatabaseState:
    """Return what is recorded of a database."""
    return next(one for one in entry.contents.databases if one.name == name)


def table(entry: Entry, name: str) -> TableState:
    """Return what is recorded of a table of the first database."""
    return next(one for one in database(entry).tables if one.name == name)


def directory_of(server: Server, entry: Entry) -> Path:
    """Return where a dump lies."""
    return Path(server.target.shelf) / entry.path


def resealed(server: Server, entry: Entry) -> Entry:
    """Let the entry agree with files that were altered, as if they had been written so."""
    directory = directory_of(server, entry)
    files = stored.stored_files(directory)
    facts = {"files": files, "sha256": files_sha256(files), "bytes": sum(file.bytes for file in files)}
    changed = entry.model_copy(update=facts)
    entries.write_entry(directory, changed)
    return changed


def altered(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Change the content of a file."""
    path.write_bytes(change(path.read_bytes()))


def flipped(content: bytes) -> bytes:
    """Return a content with one byte in its middle changed."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]
