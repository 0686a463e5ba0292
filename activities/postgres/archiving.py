"""Keeps the archive of WAL going: it is streamed, what was written is in it, and it has no hole."""

import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from temporalio import activity

from activities import plain_files
from activities.catalogue import list_backups
from activities.open_recovery import refuse_while_recovering
from activities.postgres import shelf
from activities.postgres.choose import chain_after
from activities.postgres.receiver import Protection
from activities.postgres.slots import wal_facts
from activities.postgres.sql import Connection, Sql
from activities.pulse import beat
from activities.tokens import Tokens
from domain.backups import Backup, ChooseOrder, Level, ReceiveOrder, Receiving
from domain.errors import Refused, Unavailable, VerificationFailed
from domain.order import Facts, StackOrder, Target, TargetOrder
from domain.wal import Archive, Chain, is_segment, parse_lsn, segment_name, timeline_of
from domain.wal_archive import Archived

_PATIENCE_SECONDS = 30.0
"""So long the receiver may stand still before it is given up."""
_REACHED = """
SELECT r.write_lsn::text, coalesce(r.write_lsn >= %(lsn)s::pg_lsn, false)
FROM pg_replication_slots s JOIN pg_stat_replication r ON r.pid = s.active_pid
WHERE s.slot_name = %(slot)s
"""


@dataclass(frozen=True)
class _Written:
    """How far a server had written when it was asked."""

    lsn: str
    timeline: int
    segment_bytes: int
    system_identifier: str
    closed: str

    @property
    def segment(self) -> str:
        """Return the segment that holds the last byte."""
        return segment_name(self.timeline, max(parse_lsn(self.lsn) - 1, 0), self.segment_bytes)


class Archiving:
    """Sees that a server's WAL is in the archive, and that the archive leads from the kept backups to now."""

    def __init__(
        self,
        resolve: Callable[[StackOrder], Facts],
        protection: Protection,
        sql: Sql,
        tokens: Tokens,
        state: Path,
    ) -> None:
        """``resolve`` finds a stack on this host; ``state`` is DR_STATE."""
        self._resolve = resolve
        self._protection = protection
        self._sql = sql
        self._tokens = tokens
        self._state = state

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_wal_archived(self, order: StackOrder) -> Archived:
        """Have the WAL streamed, wait until the archive has what was written by now, and follow it.

        An open segment older than ``backup.wal_switch_every`` is closed; without that key none is. Raises
        ``Refused`` while a recovery is open, ``Unavailable`` when the receiver does not get there,
        ``VerificationFailed`` (``archive-broken``) for a hole.
        """
        facts = self._resolve(order)
        target = facts.target
        self._tokens.admit(order, target.stack)
        self._stand_back(order, facts)
        before = self._protection.observe_receiver(TargetOrder(target=target))
        receiving = self._protection.ensure_receiving(ReceiveOrder(target=target))
        every = facts.stack.backup.wal_switch_every
        with (
            shelf.asking(target.postgres.container_name),
            self._sql.live(target, timeout_seconds=60) as connection,
        ):
            too_old = every is not None and _open_for(target, receiving) >= every.total_seconds()
            written = _written(connection, switch=too_old)
            _wait_until_received(connection, receiving.slot, written)
        return _told(receiving, written, _followed(target, written), before)

    def _stand_back(self, order: StackOrder, facts: Facts) -> None:
        """Refuse while a recovery is open: the receiver that it makes must be the only one."""
        refuse_while_recovering(self._state, facts.target.stack, order)
        if facts.unfinished:
            raise Refused(
                f"recovery {', '.join(facts.unfinished)} was never closed",
                where=facts.target.stack,
                hint="see dr doctor and dr discard",
                code="recovery-open",
            )


@dataclass(frozen=True)
class _Way:
    """The way from a base backup to now."""

    backup: Backup
    chain: Chain


def _open_for(target: Target, receiving: Receiving) -> float:
    """Return for how many seconds the open segment has been open: since the last one was closed."""
    directory = Path(target.shelf) / receiving.directory
    with plain_files.directory(directory) as handle:
        names = [name for name in plain_files.names_in(handle) if is_segment(name)]
        newest = max(names, key=lambda name: (timeline_of(name), name), default=None)
        if newest is None:
            return 0.0
        found = os.stat(newest, dir_fd=handle, follow_symlinks=False)
    return time.time() - found.st_mtime if stat.S_ISREG(found.st_mode) else 0.0


def _written(connection: Connection, *, switch: bool) -> _Written:
    """Ask how far the server has written; with ``switch`` close its segment first, unless it is empty."""
    timeline, segment_bytes = wal_facts(connection)
    closed = ""
    if switch:
        (ended,) = connection.execute("SELECT pg_switch_wal()::text").fetchone() or ("",)
        at = parse_lsn(str(ended))
        # An idle server switches nothing, and names the beginning of the segment that it is in.
        closed = segment_name(timeline, at - 1, segment_bytes) if at % segment_bytes else ""
    row = connection.execute(
        "SELECT pg_current_wal_flush_lsn()::text, (SELECT system_identifier::text FROM pg_control_system())"
    ).fetchone() or ("", "")
    return _Written(str(row[0]), timeline, segment_bytes, str(row[1]), closed)


def _wait_until_received(connection: Connection, slot: str, written: _Written) -> None:
    """Wait until the receiver has written so far; it may take long, but not stand still."""
    last, deadline = "", time.monotonic() + _PATIENCE_SECONDS
    while True:
        row = connection.execute(_REACHED, {"slot": slot, "lsn": written.lsn}).fetchone()
        at = "" if row is None else str(row[0])
        if row is not None and row[1]:
            return
        if at != last:
            last, deadline = at, time.monotonic() + _PATIENCE_SECONDS
        if time.monotonic() > deadline:
            raise Unavailable(
                f"the receiver has WAL to {at or 'nowhere'}, and {written.lsn} was written",
                where=slot,
                code="archive-behind",
            )
        beat(f"the archive has {at or 'nothing'} of {written.lsn}")
        time.sleep(0.2)


def _followed(target: Target, written: _Written) -> tuple[_Way | None, tuple[str, ...]]:
    """Return the way from the oldest kept base backup to now, and which older ones no way leads from.

    A look at a moment when a segment gets its final name, or a backup is removed, may miss it: what is
    wrong at the first look is looked at again.
    """
    try:
        return _look(target, written)
    except VerificationFailed:
        beat("looking at the archive again")
        return _look(target, written)


def _look(target: Target, written: _Written) -> tuple[_Way | None, tuple[str, ...]]:
    where, uid = Path(target.shelf), target.postgres.uid
    backups = list_backups(where)

    @cache
    def archive(segment_bytes: int) -> Archive:
        return shelf.read_received(where, segment_bytes, uid, written.system_identifier).archive

    here = archive(written.segment_bytes)
    if written.segment not in here.closed and written.segment not in here.partial:
        raise _broken(where, f"segment {written.segment} was received and is not in the archive", "")
    cut_off: list[str] = []
    for backup in reversed(backups):
        if backup.verified is Level.NONE or backup.system_identifier != written.system_identifier:
            continue
        chain = chain_after(ChooseOrder(target=target), backup, archive(backup.wal_segment_bytes))
        if chain.whole:
            return _Way(backup, chain), tuple(cut_off)
        if not chain.astray:
            raise _broken(where, chain.problem, backup.id)
        cut_off.append(backup.id)
    return None, tuple(cut_off)


def _broken(where: Path, problem: str, backup_id: str) -> VerificationFailed:
    return VerificationFailed(
        f"the archive does not lead from base backup {backup_id} to now: {problem}" if backup_id else problem,
        where=str(where / shelf.WAL),
        hint="dr backup now begins a chain of its own; the older one stays broken until its WAL is back"
        " or its base backup is no longer kept",
        code="archive-broken",
    )


def _told(
    receiving: Receiving, written: _Written, found: tuple[_Way | None, tuple[str, ...]], before: Receiving
) -> Archived:
    way, cut_off = found
    made_again = bool(before.slot) and before.container != receiving.container
    said = ["the receiver was made again"] if made_again else []
    said += [f"segment {written.closed} was closed"] if written.closed else []
    said += [f"no way leads from {', '.join(cut_off)}: their timeline was left"] if cut_off else []
    whole = (
        f"whole from {way.backup.id} on, {way.chain.segments} segments"
        if way is not None
        else "no base backup is kept that it could go on from: dr backup now"
    )
    return Archived(
        sentence="; ".join([f"WAL is archived to {written.lsn}, {whole}", *said]) + ".",
        slot=receiving.slot,
        container=receiving.container,
        made_again=made_again,
        received_lsn=written.lsn,
        closed_segment=written.closed,
        base_id=way.backup.id if way is not None else "",
        segments=way.chain.segments if way is not None else 0,
        cut_off=cut_off,
    )
