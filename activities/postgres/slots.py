"""Replication slots of the receiver: one per generation, each with a directory of its own."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from activities import plain_files
from activities.postgres.shelf import WAL
from activities.postgres.sql import Connection
from domain.errors import Refused, VerificationFailed
from domain.names import short_id
from domain.wal import timeline_of

FIRST_SLOT = "dr_recv_1"
OURS = "dr_recv_"
"""Begins the slots of our receivers."""
_RECORD = "receiver.json"
_RECORD_LIMIT_BYTES = 64 * 1024
SLOT_NAME = re.compile(r"[a-z0-9_]{1,63}")
_STANDING = """
SELECT s.active, s.wal_status, r.flush_lsn::text,
       pg_wal_lsn_diff(pg_current_wal_flush_lsn(), r.write_lsn)::bigint,
       pg_walfile_name(pg_current_wal_lsn()),
       (SELECT setting::bigint FROM pg_settings WHERE name = 'wal_segment_size')
FROM (SELECT 1) one
LEFT JOIN pg_replication_slots s ON s.slot_name = %s
LEFT JOIN pg_stat_replication r ON r.pid = s.active_pid
"""


@dataclass(frozen=True)
class Standing:
    """What the server says of a slot."""

    active: bool
    slot_state: str
    flushed_lsn: str | None
    lag_bytes: int | None

    @property
    def healthy(self) -> bool:
        """Tell whether the slot is read and the reader says how far it is."""
        return self.active and self.flushed_lsn is not None


def known_slots(connection: Connection) -> dict[str, str]:
    """Return the server's replication slots with their ``wal_status``."""
    rows = connection.execute(
        "SELECT slot_name::text, coalesce(wal_status, '') FROM pg_replication_slots"
    ).fetchall()
    return {str(name): str(status) for name, status in rows}


def slot_for(named: str, root: Path, slots: Mapping[str, str]) -> str:
    """Return the slot to stream by: the named one, the one in use, or the next after a lost one."""
    recorded = recorded_slot(root)
    wanted = named or (recorded["slot"] if recorded is not None else FIRST_SLOT)
    if SLOT_NAME.fullmatch(wanted) is None:
        raise Refused(f"no name for a replication slot: {wanted!r}", code="slot-name")
    if slots.get(wanted) != "lost" and (wanted in slots or not _holds_wal(root, wanted)):
        return wanted
    if named:
        raise Refused(
            f"slot {named} was lost, and its directory holds WAL already",
            where=str(root / "wal" / named),
            hint="name a new slot: a directory is never continued across a gap",
            code="slot-lost",
        )
    number = 1
    while f"{OURS}{number}" in slots or _holds_wal(root, f"{OURS}{number}"):
        number += 1
    return f"{OURS}{number}"


def _holds_wal(root: Path, slot: str) -> bool:
    directory = root / "wal" / slot
    return directory.is_dir() and any(directory.iterdir())


def recorded_slot(root: Path) -> dict[str, str] | None:
    """Return slot, directory and since of the generation in use, or ``None``."""
    try:
        found = json.loads(plain_files.read(root / "wal" / _RECORD, _RECORD_LIMIT_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    # It lies on the shelf, where others write too: a slot's name becomes a directory's and an argument.
    if not isinstance(found, dict) or SLOT_NAME.fullmatch(str(found.get("slot", ""))) is None:
        return None
    slot = str(found["slot"])
    return {"slot": slot, "directory": str(WAL / slot), "since": str(found.get("since", ""))[:40]}


def record_slot(root: Path, slot: str) -> None:
    """Record the generation in use; one that is recorded keeps its date."""
    recorded = recorded_slot(root)
    if recorded is not None and recorded["slot"] == slot:
        return
    since = datetime.now(UTC).isoformat(timespec="seconds")
    known = {"slot": slot, "directory": str(WAL / slot), "since": since}
    plain_files.replace(root / "wal" / _RECORD, json.dumps(known).encode())


def slot_of(recovery_id: str) -> str:
    """Return the slot of the receiver that follows a recovery."""
    return f"{OURS}{short_id(recovery_id)}"


def make_slot(connection: Connection, slot: str) -> None:
    """Make a slot that keeps WAL from now on; one that is there stays.

    On a copy before its promotion: the fork's segments would be recycled else.
    """
    try:
        connection.execute(
            "SELECT pg_create_physical_replication_slot(%s, true)"
            " WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = %s)",
            [slot, slot],
        )
    except psycopg.Error as error:
        raise VerificationFailed(
            f"the slot of the next receiver cannot be made: {error}", where=slot, code="slot-failed"
        ) from error


def standing_of(connection: Connection, slot: str) -> Standing:
    """Return how a slot and its reader stand."""
    row = connection.execute(_STANDING, [slot]).fetchone() or (None,) * 6
    return Standing(
        active=bool(row[0]),
        slot_state=str(row[1] or ""),
        flushed_lsn=None if row[2] is None else str(row[2]),
        lag_bytes=None if row[3] is None else int(str(row[3])),
    )


def wal_facts(connection: Connection) -> tuple[int, int]:
    """Return the timeline that the server writes, and the bytes of a segment."""
    row = connection.execute(_STANDING, [""]).fetchone() or ("",) * 6
    return timeline_of(str(row[4])), int(str(row[5]))


def drop_former_slots(connection: Connection, slot: str) -> None:
    """Drop slots of former receivers: nobody reads them, and they would keep WAL for ever."""
    connection.execute(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
        " WHERE starts_with(slot_name, %s) AND slot_name <> %s AND NOT active AND slot_type = 'physical'",
        [OURS, slot],
    )
