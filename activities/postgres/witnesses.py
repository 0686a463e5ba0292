"""What can be seen of a PostgreSQL server from outside: its container, its log, its control file."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from activities.engine import ContainerState, Engine
from activities.postgres.data_directory import look_into
from activities.postgres.log_files import collected
from activities.pulse import beat
from activities.room import free_bytes
from domain.diagnosis import Finding, Look, Trouble, Witness
from domain.errors import DrError
from domain.order import PostgresTarget, TargetOrder

_DAMAGE = re.compile(
    r"invalid page in block \d+|page verification failed"
    r"|could not read blocks? [\d.]+ in file|Input/output error"
    r'|could not (open|read|access) file "(base|global|pg_xact|pg_multixact|pg_tblspc)/.*'
    r"(No such file|read \d+ of)|could not access status of transaction"
    r"|incorrect checksum in control file|database files are incompatible with server"
    r'|could not (open|read) file "[^"]*pg_control"'
    r"|could not locate (a valid|required) checkpoint record|could not find redo location"
    r"|WAL contains references to invalid pages"
    r"|invalid (primary )?checkpoint record|relation mapping file .* (contains|invalid)"
    r"|is not a valid data directory|compressed (pglz|lz4) data is corrupt"
    r"|(missing|unexpected) chunk number|found xm(in|ax) \d+ from before"
    r"|contains (unexpected zero|corrupted) page|is not a btree|heap tuple .* lacks matching index"
)
_FULL = re.compile(r"No space left on device|Disk quota exceeded")
_ELSE = re.compile(rf"{_FULL.pattern}|Permission denied")
"""Reasons that a file cannot be read which are no damage of it."""
_MAP = re.compile(r"of relation \S+_(vm|fsm); zeroing out page")
_SETTINGS = re.compile(
    r"unrecognized configuration parameter|invalid value for parameter|configuration file .* contains errors"
    r"|could not (load|access) (library|file) \"\$libdir|Permission denied|has (wrong ownership|invalid perm)"
    r"|could not bind|lock file .* already exists|recovery command file"
)
_MEMORY = re.compile(r"[Oo]ut of memory|could not fork new process|could not map anonymous shared memory")
_BLOCK = re.compile(r'block (\d+) (?:of relation|in file) "?([^\s"]+)')
_FILE = re.compile(r'(?:file|relation) "?((?:base|global|pg_tblspc)/[^\s":.]+)')
_LINE = re.compile(r"^(\S+Z) (?:.*?\b)?(WARNING|ERROR|FATAL|PANIC|LOG):\s+(.*)$")
# Without its PG_VERSION an image makes ready to initialise the directory anew, and says nothing of damage.
_READ = """
pg_controldata -D "$1"
[ -x "$1" ] || exit 0
[ -s "$1/PG_VERSION" ] || echo "dr: missing PG_VERSION"
for name in base global pg_xact pg_multixact pg_wal; do
    [ -e "$1/$name" ] || [ -L "$1/$name" ] || echo "dr: missing $name"
done
"""
_LITTLE_ROOM = 64 * 1024 * 1024


@dataclass(frozen=True)
class LogSeen:
    """What the log says since the last start that served."""

    witness: Witness
    first_at: datetime | None = None
    blocks: tuple[tuple[str, int], ...] = ()
    """File of the relation, relative to PGDATA, and block."""


@dataclass(frozen=True)
class ControlSeen:
    """What ``pg_controldata`` says."""

    witness: Witness
    system_identifier: str | None = None
    timeline: int | None = None
    checksums: bool | None = None
    redo_lsn: str | None = None
    checkpoint_at: datetime | None = None


def damage_in(text: str) -> str | None:
    """Return the first line of a text that speaks of damaged data, or ``None``."""
    return next((line.strip() for line in text.splitlines() if _DAMAGE.search(line)), None)


def block_in(message: str) -> tuple[str, int] | None:
    """Return the file and the block that a message names, or ``None``."""
    found = _BLOCK.search(message)
    # A second segment of 1 GiB is a file of its own, with a suffix; the block number is global.
    return (re.sub(r"\.\d+$", "", found[2]), int(found[1])) if found else None


def file_in(message: str) -> str | None:
    """Return the relation's file that a message names, relative to PGDATA, or ``None``."""
    found = _FILE.search(message)
    return found[1] if found else None


def look_at_container(state: ContainerState, server: PostgresTarget, *, answers: bool) -> Witness:
    """Say whether the server's process runs and how it ended, and how much room its disk has."""
    raw = state.raw["State"]
    free = free_bytes(server.volumes_root)
    trouble = Trouble.NONE
    said = f"container {state.status}, restarted {state.raw.get('RestartCount', 0)} times"
    if not state.running:
        said += f", exit code {raw.get('ExitCode')}"
        trouble = Trouble.STOPPED
    elif not answers:
        said += ", no connection"
        trouble = Trouble.STARTING
    if raw.get("OOMKilled"):
        said += ", killed for lack of memory"
        trouble = Trouble.MEMORY
    if free < _LITTLE_ROOM:
        said += f", only {free // 2**20} MiB left on its disk"
        trouble = Trouble.DISK_FULL
    return Witness(
        name="container", look=Look.CONTAINER, finding=Finding.SOUND, evidence=said, trouble=trouble
    )


def look_at_log(
    engine: Engine,
    order: TargetOrder,
    state: ContainerState,
    *,
    answers: bool,
    since: datetime | None = None,
) -> LogSeen:
    """Read the log since the last start that reached *ready to accept connections*, or ``since`` if later."""
    raw = engine.logs(state.id, tail=5000, timestamps=True).splitlines()
    all_lines, amiss = collected(engine, order, state, _parsed(raw))
    lines = [(at, text) for at, text in _since_healthy_start(all_lines) if since is None or at >= since]
    if not lines and since is not None:
        return LogSeen(
            _log_witness(Finding.SOUND, f"nothing said since the indexes were rebuilt, {since:%c}")
        )
    if not lines:
        return LogSeen(_log_witness(Finding.NOT_MEASURED, "the container's log holds no lines of the server"))
    bad = [(at, text) for at, text in lines if _DAMAGE.search(text) and not _ELSE.search(text)]
    maps = [text for _, text in bad if _MAP.search(text)]
    bad = [(at, text) for at, text in bad if not _MAP.search(text)]
    if bad:
        blocks = sorted({found for _, text in bad if (found := block_in(text)) is not None})
        said = f"the log says at {bad[0][0]:%H:%M:%S}: {bad[0][1]} ({len(bad)} such lines)"
        return LogSeen(_log_witness(Finding.DAMAGED, said), bad[0][0], tuple(blocks))
    for pattern, trouble in (
        (_FULL, Trouble.DISK_FULL),
        (_MEMORY, Trouble.MEMORY),
        (_SETTINGS, Trouble.SETTINGS),
    ):
        said = next((text for _, text in reversed(lines) if pattern.search(text)), "")
        # A server that serves again has got over it.
        if said and not answers:
            return LogSeen(_log_witness(Finding.SOUND, f"the log says: {said}", trouble))
    finding, told = Finding.SOUND, f"{len(lines)} lines of log without a word of damage"
    if amiss:
        finding, told = Finding.NOT_MEASURED, amiss
    elif maps:
        told = f"the server made a map anew that holds no data: {maps[0]}"
    return LogSeen(_log_witness(finding, told))


def _log_witness(finding: Finding, said: str, trouble: Trouble = Trouble.NONE) -> Witness:
    return Witness(name="server log", look=Look.LOG, finding=finding, evidence=said[:300], trouble=trouble)


def _parsed(raw: Sequence[str]) -> list[tuple[datetime, str]]:
    """Return time and message of what the server itself said; statements and details are not its words."""
    lines = []
    for found in (match for line in raw if (match := _LINE.match(line)) is not None):
        stamp = datetime.fromisoformat(re.sub(r"(\.\d{6})\d*Z$", r"\1+00:00", found[1]))
        lines.append((stamp.astimezone(UTC), found[3]))
    return lines


def _since_healthy_start(lines: Sequence[tuple[datetime, str]]) -> Sequence[tuple[datetime, str]]:
    """Return what was said since the last start that served."""
    begin = started = 0
    for number, (_, text) in enumerate(lines):
        if text.startswith("starting PostgreSQL"):
            started = number
        elif text.startswith("database system is ready to accept connections"):
            begin = started
    return lines[begin:]


def look_at_control_file(engine: Engine, order: TargetOrder, state: ContainerState) -> ControlSeen:
    """Read the control file, in the container when it runs, else in one of ours, read-only."""
    text = ""
    for _ in range(3):
        beat("reading the control file")
        try:
            text = look_into(engine, order, state, _READ, "control")
        except DrError as error:
            return ControlSeen(_control_witness(Finding.NOT_MEASURED, str(error)))
        # A server may be writing it at this very moment.
        if not state.running or control_problem(text) is None:
            break
    return read_control(text)


def control_problem(text: str) -> str | None:
    """Return what ``pg_controldata`` found wrong, or ``None``."""
    if re.search("does not match value stored in|possible byte ordering mismatch", text):
        return "pg_controldata: the checksum of pg_control does not match its content"
    bad = re.search(r"(error: could not (open|read) file|invalid WAL segment size).*", text)
    if bad is not None:
        return f"pg_controldata: {bad[0]}"
    return None if "system identifier" in text else "pg_controldata said nothing of use"


def read_control(text: str) -> ControlSeen:
    """Make sense of the output of ``pg_controldata`` in English and UTC."""
    problem = control_problem(text)
    if problem is not None and "Permission denied" in problem:
        # A file that may not be read is not a damaged one.
        return ControlSeen(_control_witness(Finding.NOT_MEASURED, problem, Trouble.SETTINGS))
    if problem is not None:
        # A control file that cannot be trusted tells neither identity nor position.
        return ControlSeen(_control_witness(Finding.DAMAGED, problem))
    facts = {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in text.splitlines())}
    state = facts.get("Database cluster state", "unknown")
    at = facts.get("Time of latest checkpoint", "")
    try:
        checkpoint_at = datetime.strptime(at, "%a %b %d %H:%M:%S %Y").replace(tzinfo=UTC)
    except ValueError:
        checkpoint_at = None
    timeline = int(facts.get("Latest checkpoint's TimeLineID", "0"))
    gone = re.findall(r"^dr: missing (.*)$", text, re.MULTILINE)
    finding, said = Finding.SOUND, f"control file sane: {state}, timeline {timeline}"
    if gone:
        finding, said = Finding.DAMAGED, f"the data directory has no {', '.join(gone)}"
    return ControlSeen(
        _control_witness(finding, said),
        system_identifier=facts.get("Database system identifier"),
        timeline=timeline or None,
        checksums=facts.get("Data page checksum version", "0") != "0",
        redo_lsn=facts.get("Latest checkpoint's REDO location"),
        checkpoint_at=checkpoint_at,
    )


def _control_witness(finding: Finding, said: str, trouble: Trouble = Trouble.NONE) -> Witness:
    return Witness(
        name="control file", look=Look.CONTROL, finding=finding, evidence=said[:300], trouble=trouble
    )
