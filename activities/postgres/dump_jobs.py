"""The programs that write and read dumps, each a job of the server's own image."""

import os
import re
import stat
from collections.abc import Callable
from datetime import UTC, timedelta
from pathlib import Path

from psycopg.conninfo import make_conninfo

from activities import entries, plain_files
from activities.engine import Engine, Job
from activities.offsite_progress import Progress
from activities.open_recovery import refuse_while_recovering
from activities.postgres import shelf
from activities.postgres.one_shot import shell
from activities.postgres.unreadable import refuse_unreadable
from activities.reading import Reading
from activities.room import no_room
from activities.shelf_place import id_in
from domain.dump_header import HEADER_BYTES, made_at
from domain.dumps import GLOBALS, DumpOrder
from domain.entries import RECORD, Entry
from domain.errors import BackupUnusable, Refused, Unavailable
from domain.names import LABEL_ROLE, LABEL_STACK
from domain.order import Target
from domain.paths import host_path

ROLE = "dump"
READ_ROLE = "dump-read"
LABEL_KIND = "dr.backup-kind"
LABEL_BACKUP = "dr.backup"
DUMPS = "/dumps"
"""Where containers that only read see the directory of one kind."""
# The heading comes first, and of a long list only the end would be kept.
_HEADING = 'pg_restore --list "$1" >/dev/shm/list && head -n 20 /dev/shm/list'
_LIMIT_SECONDS = 24 * 3600.0
_COMPLETE = b"PostgreSQL database cluster dump complete"
_GLOBALS_LIMIT_BYTES = 64 * 1024 * 1024
_LEAST_BYTES = 100
_ZONES = timedelta(hours=16)
_PLAIN = re.compile(r"[a-z0-9_]{1,63}")


def dump_labels(target: Target, kind: str, role: str = ROLE) -> dict[str, str]:
    """Return the labels of the jobs that make dumps of one kind."""
    return {LABEL_STACK: target.stack, LABEL_ROLE: role, LABEL_KIND: kind}


def file_for(oid: int, name: str) -> str:
    """Return the name of a database's dump: its own where that is a plain word, else by its number."""
    return f"{name}.dump" if _PLAIN.fullmatch(name) else f"oid-{oid}.dump"


class DumpJobs:
    """The jobs of one dump that is being made."""

    def __init__(
        self,
        engine: Engine,
        target: Target,
        partial: Path,
        environment: dict[str, str],
        stand_back: Callable[[], None],
    ) -> None:
        """``partial`` is its directory on the host, ``environment`` how its programs connect.

        ``stand_back`` is asked at each look at a job, and raises when this dump must not go on.
        """
        self._stand_back = stand_back
        self._engine = engine
        self._target = target
        self._partial = partial
        self._environment = environment
        self._id = id_in(partial)
        self._before = _last_sizes(target, partial.parent.name)

    def database(self, name: str, file: str, snapshot: str, *, compressed: bool) -> Job:
        """Return the job that dumps one database at an exported snapshot."""
        return self._job(
            "pg_dump",
            file,
            "--format=custom",
            f"--snapshot={snapshot}",
            "--lock-wait-timeout=60s",
            *(() if compressed else ("--compress=0",)),
            # As a connection string, in which no name can be read as another address.
            f"--dbname={make_conninfo(dbname=name)}",
        )

    def globals(self) -> Job:
        """Return the job that dumps roles, their passwords and memberships."""
        return self._job("pg_dumpall", GLOBALS, "--globals-only")

    def _job(self, program: str, file: str, *options: str) -> Job:
        server = self._target.postgres
        kind = self._partial.parent.name
        inside = f"{shelf.MOUNT}/{kind}/{self._partial.name}/{file}"
        return Job(
            name=f"dr-{self._target.stack}-dump-{self._id}-{file.partition('.')[0]}",
            image_id=server.image_id,
            entrypoint=(program,),
            command=(
                *("-h", "127.0.0.1", "-p", str(server.port), "-U", server.user, "-w"),
                f"--file={inside}",
                *options,
            ),
            user=f"{server.uid}:{server.gid}",
            binds={str(self._partial.parents[1]): f"{shelf.MOUNT}:rw"},
            environment=self._environment,
            labels={**dump_labels(self._target, kind), LABEL_BACKUP: self._id},
            network=f"container:{server.container_id}",
        )

    def follow(self, job: Job, file: str, what: str, database_bytes: int = 0) -> None:
        """Watch a job to its end and check what it made; its container is gone afterwards.

        It is expected to be as large as in the last dump of the kind, else as its database at most.
        Raises ``Refused`` (``no-room``) when the disk is full and ``Unavailable`` (``dump-failed``) else.
        """
        path = self._partial / file
        progress = Progress(what, self._before.get(file, 0) or database_bytes, about=True)

        def look(_: str) -> None:
            self._stand_back()
            progress.tell(path.lstat().st_size if path.exists() else 0)

        state, log, _ = self._engine.follow(job, look, limit_seconds=_LIMIT_SECONDS)
        self._engine.remove(state.id, force=True)
        if "No space left" in log:
            raise no_room(f"the disk is full: {what} could not be written", self._target.shelf)
        size = path.lstat().st_size if path.is_file() else 0
        progress.tell(size)
        if state.exit_code != 0 or size < _LEAST_BYTES:
            said = last_line(log) or f"it ended with {state.exit_code} and {size} bytes"
            raise Unavailable(f"{what} failed: {said}", where=state.name, code="dump-failed")
        make_private(self._partial, file)


def stand_back(engine: Engine, state: Path, order: DumpOrder) -> None:
    """Refuse once a recovery is open; what dumps this kind, perhaps for a killed attempt, ends."""
    try:
        refuse_while_recovering(state, order.target.stack, order)
    except Refused:
        labels = dump_labels(order.target, order.kind).items()
        for job in engine.labelled(*(f"{key}={value}" for key, value in labels)):
            engine.remove(job.id, force=True)
        raise


def make_private(directory: Path, name: str) -> None:
    """Let only its owner read a file that a job just made: it holds people's data, or passwords."""
    with plain_files.directory(directory) as above:
        handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=above)
        try:
            if stat.S_ISREG(os.fstat(handle).st_mode):
                os.fchmod(handle, 0o600)
        finally:
            os.close(handle)


def mounted_kind(target: Target, kind: str) -> dict[str, str]:
    """Return the mount of one kind's directory for a container that only reads; no link is followed."""
    path = Path(host_path(target.shelf, "the shelf")) / "postgres" / kind
    try:
        with plain_files.directory(path):
            return {str(path): f"{DUMPS}:ro"}
    except OSError as error:
        raise Refused(
            f"the dumps cannot be mounted: {error.strerror}", where=str(path), code="shelf-unusable"
        ) from None


def what_is_wrong(engine: Engine, target: Target, directory: Path, entry: Entry) -> str:
    """Read all of a dump, in containers without network; return the first complaint, or nothing.

    A full read finds what a list of the contents does not: a truncated dump, an altered compressed one.
    """
    paths = [file.path for file in entry.files]
    names = [path for path in paths if path not in {GLOBALS, RECORD}]
    if GLOBALS not in paths:
        return f"{GLOBALS} is not among its files"
    for database in entry.contents.databases:
        if database.file not in names:
            return f"the dump of {database.name} is not among its files"
    try:
        text = plain_files.read(directory / GLOBALS, _GLOBALS_LIMIT_BYTES)
    except OSError as error:
        return f"{GLOBALS} cannot be read: {error.strerror}"
    if _COMPLETE not in text[-2000:]:
        return f"{GLOBALS} has no end"
    stale = next((said for name in names if (said := _older(directory, name, entry))), "")
    if stale:
        return stale
    complaints = (read_through(engine, target, directory, name) for name in names)
    return next((said for said in complaints if said), "")


def _older(directory: Path, name: str, entry: Entry) -> str:
    """Return that a dump says itself that it is older than its entry does, or nothing.

    It states the local time of whoever wrote it, so that only what no zone explains counts.
    """
    try:
        with plain_files.opened(directory / name) as handle:
            made = made_at(os.read(handle, HEADER_BYTES))
    except OSError:
        return ""
    if made is None or entry.started_at.astimezone(UTC).replace(tzinfo=None) - made < _ZONES:
        return ""
    return f"{name} is older than its entry says: it was made at {made}, not after {entry.started_at}"


def read_through(engine: Engine, target: Target, directory: Path, name: str) -> str:
    """Have ``pg_restore`` read one dump to its end; return its complaint, or nothing."""
    code, log = run_on(engine, target, directory, name, 'exec pg_restore --file=/dev/null "$1"')
    said = "" if code == 0 else f"{name} cannot be read to its end: {last_line(log) or f'status {code}'}"
    refuse_unreadable(said, target.postgres, directory)
    return said


def heading(engine: Engine, target: Target, directory: Path, name: str) -> str:
    """Return how ``pg_restore`` describes one dump; ``BackupUnusable`` when it is none."""
    code, log = run_on(engine, target, directory, name, _HEADING)
    if code != 0:
        raise BackupUnusable(f"{name} is no dump: {last_line(log)}", code="backup-damaged")
    return log


def run_on(engine: Engine, target: Target, directory: Path, name: str, script: str) -> tuple[int, str]:
    """Run a script on one file of the shelf without network; return its status and its output."""
    kind = directory.parent.name
    job = shell(
        target.postgres,
        f"dr-{target.stack}-read-{id_in(directory)}-{name.partition('.')[0]}",
        script,
        f"{DUMPS}/{directory.name}/{name}",
        binds=mounted_kind(target, kind),
        labelled={**dump_labels(target, kind, READ_ROLE), LABEL_BACKUP: id_in(directory)},
    )
    # The answer of an earlier attempt may be stale.
    engine.remove(job.name, force=True)
    path = directory / name
    size = path.lstat().st_size if path.is_file() else 0
    state, log, _ = engine.follow(
        job, Reading(engine, job.name, f"reading {name}", size), limit_seconds=_LIMIT_SECONDS
    )
    engine.remove(state.id, force=True)
    return state.exit_code or 0, log


def last_line(log: str) -> str:
    """Return the first error that a program told, else its last line."""
    lines = [line.strip() for line in log.splitlines() if "error" in line.lower()]
    return next(iter(lines), "") or next((line.strip() for line in reversed(log.splitlines()) if line), "")


def _last_sizes(target: Target, kind: str) -> dict[str, int]:
    """Return how large each file of the last dump of a kind is; nothing where there is none."""
    known = entries.read_entries(Path(target.shelf))[0]
    last = next((one for one in known if (one.store, one.kind) == ("postgres", kind)), None)
    return {file.path: file.bytes for file in last.files} if last is not None else {}
