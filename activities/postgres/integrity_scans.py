"""The two scans made by PostgreSQL's own programs: ``pg_amcheck`` and a full logical read."""

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import TypeVar

from activities.engine import Engine, Executed
from activities.postgres.witnesses import block_in, damage_in, file_in
from activities.pulse import beat
from domain.diagnosis import Finding
from domain.errors import Unavailable

_Answer = TypeVar("_Answer")
_SLOWEST_BYTES_A_SECOND = 10_000_000
_OVERDUE = {124, 137, 143}
_SECTION = re.compile(r'^(heap table|btree index) "(.+?)"(?:, block [^"\n]*)?:$', re.MULTILINE | re.DOTALL)
"""Of the complaints about one relation, whose name may hold quotes and newlines."""
_PROGRESS = re.compile(r"^\s*(\d+)/\d+ relations .*?(\d+)/\d+ pages")
_NOT_INSTALLED = re.compile(
    r'could not (access|load) (file|library) "(?!base/|global/|pg_)|could not find function "[^"]*" in file'
)
"""What the image lacks: neither a table nor an index is damaged by that."""
_HARMLESS = re.compile(
    r"permission denied|canceling statement|lock timeout|could not obtain lock|deadlock detected"
    r"|conflict with recovery|[Oo]ut of memory|No space left|DETAIL:|HINT:|CONTEXT:"
    rf"|{_NOT_INSTALLED.pattern}"
)
_CRASHED = re.compile(
    r"server closed the connection|crash of another server process|connection to server was lost"
)


@dataclass(frozen=True)
class Place:
    """Where the programs run: in a container of the server's image, through its Unix socket."""

    container: str
    owner: str
    """``uid:gid`` of the server's files."""
    user: str
    database: str
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    lenient: tuple[str, ...] = ()
    """Settings of the server that hide damage, and are to be off for the programs."""

    @property
    def named(self) -> str:
        """The database as the programs take it.

        They read a bare name such as ``host=elsewhere`` as an address, and would go there with the
        password (F-K5).
        """
        escaped = self.database.replace("\\", "\\\\").replace("'", "\\'")
        return f"dbname='{escaped}'"


@dataclass(frozen=True)
class Scan:
    """What one scan says."""

    finding: Finding
    evidence: str
    tables: tuple[str, ...] = ()
    indexes: tuple[str, ...] = ()
    blocks: tuple[tuple[str, int], ...] = ()
    """File of the relation, relative to PGDATA, and block."""
    disagreeing: tuple[str, ...] = ()
    """Those of the damaged indexes that read well but lack rows of their table."""
    crashed: bool = False
    """A backend died while it read: no error of the connection, but a sign of damage."""

    @property
    def not_installed(self) -> bool:
        """Whether a library is missing that a table or an index needs."""
        unread = self.finding is Finding.NOT_MEASURED
        return unread and _NOT_INSTALLED.search(self.evidence) is not None


def scan_seconds(database_bytes: int, at_least: int) -> int:
    """Return the time box of a scan, which grows with what is to be read."""
    return max(at_least, database_bytes // _SLOWEST_BYTES_A_SECOND)


def watched(work: Callable[[], _Answer], sentence: str) -> _Answer:
    """Do blocking work while beating; its answer or its error is handed on."""
    answers: list[_Answer] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            answers.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            errors.append(error)

    thread = threading.Thread(target=copy_context().run, args=(run,), daemon=True, name=sentence)
    thread.start()
    while thread.is_alive():
        beat(sentence)
        thread.join(0.5)
    if errors:
        raise errors[0]
    return answers[0]


def amcheck(
    engine: Engine,
    place: Place,
    *,
    limit_seconds: int,
    heapallindexed: bool = True,
    tables: tuple[str, ...] = (),
) -> Scan:
    """Check heap and indexes of a database; ``tables`` narrows it to ``schema.table`` patterns.

    It takes AccessShareLock only, and works on a standby. A database without the extension, a scan
    cut off by its limit, or one that looked at nothing is *not measured*.
    """
    command = ["pg_amcheck", "-U", place.user, "-j2", "--progress"]
    command += ["--heapallindexed"] if heapallindexed else []
    command += [f"--table={table}" for table in tables]
    command += [place.named]
    done = _run(engine, place, command, limit_seconds, "checking tables against their indexes")
    if isinstance(done, Scan):
        return done
    if "skipping database" in done.errors or "no relations to check" in done.errors:
        return Scan(Finding.NOT_MEASURED, "amcheck is not installed in this database")
    size = next((m for line in reversed(done.errors.splitlines()) if (m := _PROGRESS.match(line))), None)
    told = f"pg_amcheck read {size[1]} relations, {size[2]} pages" if size else "pg_amcheck"
    if done.exit_code == 0:
        looked = size is not None and int(size[2]) > 0
        return Scan(
            Finding.SOUND if looked else Finding.NOT_MEASURED,
            f"{told}: nothing wrong" if looked else "pg_amcheck looked at no page",
        )
    scan = read_amcheck(done.output, told, place.database)
    if scan is not None:
        return scan
    crashed = _CRASHED.search(done.errors) is not None
    return Scan(Finding.NOT_MEASURED, f"pg_amcheck failed: {_complaint(done)}", crashed=crashed)


def read_amcheck(output: str, told: str = "pg_amcheck", database: str = "") -> Scan | None:
    """Make sense of the complaints of ``pg_amcheck``; ``None`` when there are none.

    A complaint about an index that names the file of a table speaks of the table behind it,
    which has a section of its own: it does not make the index damaged. A privilege or a lock that
    was not had leaves a relation unmeasured.
    """
    said = list(_complaints(output, database))
    real = [(heap, name, line) for heap, name, line in said if not _HARMLESS.search(line)]
    heap_blocks = {named for heap, _, line in real if heap and (named := block_in(line)) is not None}
    heap_files = {file_in(line) for heap, _, line in real if heap} - {None}
    tables = {name: line for heap, name, line in real if heap}
    indexes: dict[str, str] = {}
    blocks = set(heap_blocks)
    for heap, name, line in real:
        named = block_in(line)
        if not heap and file_in(line) not in heap_files:
            indexes[name] = line
            blocks |= {named} if named is not None else set()
    if not tables and not indexes:
        why = f"{told}: {said[0][1]}: {said[0][2]}" if said else ""
        return Scan(Finding.NOT_MEASURED, why) if said else None
    name, line = next(iter((tables or indexes).items()))
    return Scan(
        Finding.DAMAGED if tables else Finding.INDEX_DAMAGED,
        f"{told}: {name}: {line}",
        tables=tuple(sorted(tables)),
        indexes=tuple(sorted(indexes)),
        blocks=tuple(sorted(blocks)),
        disagreeing=tuple(sorted(name for name, line in indexes.items() if "lacks matching index" in line)),
    )


def _complaints(output: str, database: str) -> Iterator[tuple[bool, str, str]]:
    """Yield for every line of complaint whether it is about a heap, its relation, and the line."""
    sections = list(_SECTION.finditer(output))
    ends = [section.start() for section in sections[1:]] + [len(output)]
    for section, end in zip(sections, ends, strict=False):
        name = section[2].removeprefix(f"{database}.") if database else _without_database(section[2])
        for line in output[section.end() : end].splitlines():
            if line.strip():
                yield section[1] == "heap table", name, line.strip()


def full_read(engine: Engine, place: Place, *, limit_seconds: int, unlogged: bool = True) -> Scan:
    """Read every row through ``pg_dump`` and throw it away.

    Only a message about damaged data is damage; a missing privilege, a lock that was not had in
    5 s, or a cancelled statement leaves it unmeasured.
    """
    command = ["pg_dump", "-U", place.user, "-d", place.named, "-f", "/dev/null", "--verbose"]
    command += ["--no-sync", "--lock-wait-timeout=5000"]
    command += [] if unlogged else ["--no-unlogged-table-data"]
    done = _run(engine, place, command, limit_seconds, "reading every row")
    if isinstance(done, Scan):
        return done
    read = done.errors.count("dumping contents of table")
    if done.exit_code == 0:
        finding = Finding.SOUND if read else Finding.NOT_MEASURED
        return Scan(finding, f"pg_dump read {read} tables to the end")
    damage = damage_in(done.errors)
    if damage is not None:
        named = block_in(damage)
        said = damage.removeprefix("pg_dump: detail: Error message from server: ")
        return Scan(Finding.DAMAGED, f"pg_dump: {said}", blocks=(named,) if named else ())
    crashed = _CRASHED.search(done.errors) is not None
    return Scan(Finding.NOT_MEASURED, f"pg_dump failed: {_complaint(done)}", crashed=crashed)


def _run(
    engine: Engine, place: Place, command: list[str], limit_seconds: int, sentence: str
) -> Executed | Scan:
    """Run a program inside its time box; what could not be run, or did not end, is a scan already."""
    boxed = ("timeout", "-k", "2", str(limit_seconds), *command)
    # What is set for a role or a database would end a scan, or have it read damaged pages as empty ones.
    options = ("-c lock_timeout=5s -c statement_timeout=0", *(f"-c {name}=off" for name in place.lenient))
    environment = {"LC_ALL": "C", "PGAPPNAME": "dr", "PGOPTIONS": " ".join(options), **place.environment}
    try:
        done = watched(
            lambda: engine.run(place.container, boxed, user=place.owner, environment=environment), sentence
        )
    except Unavailable as error:
        return Scan(Finding.NOT_MEASURED, str(error))
    if done.exit_code in _OVERDUE:
        return Scan(Finding.NOT_MEASURED, f"{command[0]} did not end within {limit_seconds} s")
    return done


def _without_database(name: str) -> str:
    return name.split(".", 1)[1] if name.count(".") > 1 else name


def _complaint(done: Executed) -> str:
    """Return the first line that complains; progress and verbose lines do not."""
    lines = [line.strip() for line in done.errors.splitlines()]
    return next(
        (line for line in lines if re.search(r"error|fatal|FATAL|closed", line)), f"exit {done.exit_code}"
    )[:200]
