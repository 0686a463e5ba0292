"""The files of a search engine's backups: fetched out of its volume, and read to their end once."""

import gzip
import json
import os
import posixpath
import tarfile
import zlib
from collections.abc import Iterable
from pathlib import Path

from activities import plain_files
from activities.engine import Engine, Job
from activities.offsite_progress import Progress
from activities.reading import Reading
from activities.search_place import SearchPlace
from domain.errors import BackupUnusable, Unavailable
from domain.names import LABEL_ROLE, LABEL_STACK
from domain.order import Target

SNAPSHOT = "snapshot"
DUMP = "dump"
FILES = {SNAPSHOT: "search.snapshot", DUMP: "search.dump"}
ROLE = "search-fetch"
_SECONDS = 4 * 3600.0
_CHUNK_BYTES = 1 << 20
_SMALL_BYTES = 64 * 1024
_MEMBERS = 2_000_000
_VERSION_FILES = {SNAPSHOT: "VERSION", DUMP: "metadata.json"}
# A dump has a name of its own and stays for ever; a snapshot is replaced by the next one.
_FETCH = """
set -eu
cp -- "$1" "/out/$2"
chmod 0600 "/out/$2"
chown "$(stat -c %u:%g /out)" "/out/$2"
shift 2
for done in "$@"; do rm -f -- "$done"; done
"""


def fetch(
    engine: Engine,
    target: Target,
    place: SearchPlace,
    partial: Path,
    kind: str,
    file: str,
    done_with: Iterable[str] = (),
) -> None:
    """Copy a file of the engine's volume into a directory of the shelf, and remove others in the volume.

    Raises ``Unavailable`` (``search-fetch``).
    """
    job = Job(
        name=f"dr-{target.stack}-search-{kind}",
        image_id=place.container.image_id,
        entrypoint=("sh",),
        command=("-c", _FETCH, "dr", file, FILES[kind], *done_with),
        user="0:0",
        binds={place.volume: f"{place.mount}:rw", str(partial): "/out:rw"},
        labels={LABEL_STACK: target.stack, LABEL_ROLE: ROLE},
        # It reads what another user owns, and gives the copy to the owner of the shelf.
        capabilities=("DAC_OVERRIDE", "CHOWN", "FOWNER"),
    )
    engine.remove(job.name, force=True)
    reading = Reading(engine, job.name, f"search: copying the {kind}", None)
    state, said, _ = engine.follow(job, reading, limit_seconds=_SECONDS)
    engine.remove(job.name, force=True)
    if state.exit_code != 0:
        raise Unavailable(
            f"the {kind} {posixpath.basename(file)} cannot be copied: {said.strip()[-200:]}",
            where=place.volume,
            code="search-fetch",
        )


def read_through(path: Path, kind: str) -> str:
    """Read a snapshot or dump to its end and return the version it states, or an empty text.

    Raises ``BackupUnusable`` (``backup-damaged``) for one that is cut off or is no such file.
    """
    version, read, members = "", 0, 0
    try:
        with (
            plain_files.opened(path) as handle,
            open(handle, "rb", closefd=False) as file,
            # tarfile's own reader of gzip takes no notice of its checksum.
            gzip.GzipFile(fileobj=file) as plain,
            tarfile.open(fileobj=plain, mode="r|") as archive,
        ):
            progress = Progress(f"search: reading the {kind}", os.fstat(handle).st_size)
            for entry in archive:
                members += 1
                held = archive.extractfile(entry) if entry.isreg() else None
                if held is None:
                    continue
                first = held.read(_SMALL_BYTES)
                if entry.name.removeprefix("./") == _VERSION_FILES[kind]:
                    version = _version_in(first, kind)
                read += len(first)
                while piece := held.read(_CHUNK_BYTES):
                    read += len(piece)
                    progress.tell(file.tell())
                progress.tell(file.tell())
                if members > _MEMBERS:
                    raise _damaged(kind, "it has members without end")
            while plain.read(_CHUNK_BYTES):
                progress.tell(file.tell())
    except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError) as error:
        raise _damaged(kind, f"{type(error).__name__}: {error}") from None
    if not read:
        raise _damaged(kind, "there is nothing in it")
    return version


def _version_in(content: bytes, kind: str) -> str:
    text = content.decode("ascii", errors="replace").strip()
    if kind == SNAPSHOT:
        return text[:40]
    said = json.loads(text)
    return str(said.get("dbVersion") or "")[:40] if isinstance(said, dict) else ""


def _damaged(kind: str, why: str) -> BackupUnusable:
    return BackupUnusable(f"the {kind} cannot be read to its end: {why}", code="backup-damaged")
