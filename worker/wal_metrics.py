"""How far the archive is behind its server, what would be lost, and how often the receiver failed."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from activities import catalogue, plain_files
from activities.engine import Engine
from activities.ledger_journal import LedgerFiles
from activities.postgres.shelf import WAL, Received, read_received
from activities.records import Records
from domain.backups import Backup, Level
from domain.ledger import MarkerState, Store
from domain.wal import follow_chain, is_segment, timeline_of

RECORD = "receiver-failures"
_STEADY = timedelta(seconds=60)
"""A ledger that tried nothing for so long is not watching."""
AHEAD = timedelta(hours=2)
"""What is dated later than so far ahead was written by a clock that cannot be believed, and says nothing."""
_ERROR = re.compile(r"^(\S+Z) pg_receivewal: (?:error|fatal|detail: FATAL)", re.MULTILINE)


def lag_seconds(state: Path, stack: str, shelf: Path, now: datetime) -> float | None:
    """Return how much younger the server's last acknowledged write is than the archive's newest bytes.

    Without a ledger that watches, the clock stands for the server: an idle one looks late then. ``None``
    where nothing was ever received.
    """
    newest = _newest_at(shelf, now)
    return None if newest is None else max((_written_at(state, stack, now) - newest).total_seconds(), 0.0)


def loss_seconds(state: Path, stack: str, shelf: Path, now: datetime) -> float | None:
    """Return how far back a recovery would lead: to the archive's end, or to the backup where a gap follows.

    ``None`` without a base backup that was verified, and for an archive from the future.
    """
    known = (one for one in catalogue.list_backups(shelf) if one.ended_at - now <= AHEAD)
    backup = next((one for one in known if one.verified is not Level.NONE), None)
    if backup is None:
        return None
    received = _received(shelf, backup.wal_segment_bytes)
    if received.newest_at is not None and received.newest_at - now > AHEAD:
        return None
    point = backup.ended_at
    if received.newest_at is not None and _is_whole(received, backup):
        point = max(received.newest_at, point)
    return max((_written_at(state, stack, now) - point).total_seconds(), 0.0)


def failures(engine: Engine, state: Path, stack: str) -> int | None:
    """Return how many errors the receivers of a stack have told so far; ``None`` without a receiver.

    The count outlives containers and workers; each error is counted once, by the time it was told.
    """
    found = engine.look(f"dr-{stack}-receiver")
    if found is None:
        return None
    records = Records(state)
    known = records.read(RECORD, stack) or {"count": 0, "until": "", "ended": ""}
    since = int(datetime.fromisoformat(known["until"]).timestamp()) if known["until"] else None
    told = _ERROR.findall(engine.logs(found.id, tail="all", since=since, timestamps=True))
    fresh = sorted(at for at in told if at > known["until"])
    ended = f"{found.id} {found.raw['State'].get('FinishedAt')}" if found.exit_code else known["ended"]
    after = {
        "count": int(known["count"]) + len(fresh) + (ended != known["ended"]),
        "until": fresh[-1] if fresh else known["until"],
        "ended": ended,
    }
    if after != known:
        records.write(RECORD, stack, after)
    return int(after["count"])


def _newest_at(shelf: Path, now: datetime) -> datetime | None:
    """Return when the archive was written last, whatever the size of its segments."""
    root, believed = shelf / WAL, (now + AHEAD).timestamp()
    newest = 0.0
    for name in plain_files.names_at(root):
        for file in plain_files.names_at(root / name):
            if is_segment(file.removesuffix(".partial")):
                at = (root / name / file).lstat().st_mtime
                newest = max(newest, at if at <= believed else 0.0)
    return datetime.fromtimestamp(newest, UTC) if newest else None


def _received(shelf: Path, segment_bytes: int) -> Received:
    """Read the archive as its own owner would."""
    with plain_files.directory(shelf / WAL):
        return read_received(shelf, segment_bytes, (shelf / WAL).lstat().st_uid)


def _is_whole(received: Received, backup: Backup) -> bool:
    names = [*received.archive.closed, *received.archive.partial]
    tip = max((timeline_of(name) for name in names), default=backup.timeline)
    chain = follow_chain(
        received.archive,
        start=backup.start_segment,
        stop_lsn=backup.stop_lsn,
        timeline=max(tip, backup.timeline),
        segment_bytes=backup.wal_segment_bytes,
    )
    return chain.whole


def _written_at(state: Path, stack: str, now: datetime) -> datetime:
    """Return when the server last took a write that we know of; now, when nobody watches it."""
    last = LedgerFiles(state, stack).newest(Store.POSTGRES)
    tried, taken = last.get(MarkerState.ATTEMPTED), last.get(MarkerState.ACKNOWLEDGED)
    if tried is None or taken is None or now - tried > _STEADY:
        return now
    return taken
