"""Brings the last WAL of the stopped server to the copy."""

import errno
import time
from pathlib import Path
from typing import Any

from temporalio import activity

from activities import plain_files
from activities.engine import Engine
from activities.postgres.fence import Fencing
from activities.postgres.one_shot import prove
from activities.postgres.sql import Sql
from activities.postgres.standby import Standby
from activities.postgres.switch import switched, wait_archived
from activities.pulse import beat
from activities.records import Records
from activities.tokens import Tokens
from domain.errors import Unavailable
from domain.names import LABEL_ROLE, LABEL_STACK
from domain.order import Target
from domain.recovery import Copy, LastWal, LastWalOrder
from domain.wal import format_lsn, parse_lsn

KIND = "last-wal"
_STOP_SECONDS = 30.0
_POLL_SECONDS = 0.1


class Draining:
    """Stops the damaged server and has the copy replay all that it ever acknowledged."""

    def __init__(self, engine: Engine, sql: Sql, tokens: Tokens, state: Path) -> None:
        """Act through these clients; ``state`` is DR_STATE."""
        self._engine = engine
        self._tokens = tokens
        self._records = Records(state)
        self._standby = Standby(engine, sql)
        self._fence = Fencing(engine, sql, tokens, state)

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_last_wal(self, order: LastWalOrder) -> LastWal:
        """Switch the WAL where the server lives, stop it, and replay archive, pg_wal and partial.

        Raises ``VerificationFailed`` when WAL is missing in the middle (unless the order lets the chain end
        there) or the copy does not get there.
        """
        self._tokens.admit(order, order.target.stack)
        server = prove(self._engine, order.target)
        record = self._records.read(KIND, order.recovery_id) or {}
        if order.answers and server.running and "target_lsn" not in record:
            self._switch(order, record)
        self._engine.set_restart(server.id, "no")
        self._stop(order, record)
        self._retire_receiver(order.target, order.copy_)
        here = self._standby.ensure_going(order.copy_, order.target)
        chain = self._standby.last_record(
            order.copy_,
            order.target,
            int(record.get("from", here.lsn)),
            salvage=True,
            gap_ends=order.gap_ends,
        )
        if "from" not in record:
            # A second call walks the same chain from the same place and so gives the same answer.
            self._note(order, record, {"from": here.lsn})
        target_lsn = None if chain.gap else record.get("target_lsn")
        wanted = parse_lsn(target_lsn) if target_lsn else 0
        here = self._standby.wait_replayed(order.copy_, chain.last_record or 0, wanted)
        replayed = format_lsn(here.lsn)
        source = chain.source or "archive"
        lost = f"; {chain.missing} is nowhere, so what follows it is lost" if chain.gap else ""
        return LastWal(
            target_lsn=record.get("target_lsn"),
            replayed_lsn=replayed,
            source=source,
            server_stopped_cleanly=bool(record["cleanly"]),
            sentence=f"The copy replayed everything to {replayed}, the last of it from the {source}{lost}",
        )

    def _note(self, order: LastWalOrder, record: dict[str, Any], more: dict[str, Any]) -> None:
        record |= more
        self._records.write(KIND, order.recovery_id, record)

    def _switch(self, order: LastWalOrder, record: dict[str, Any]) -> None:
        """Close the current segment and wait, within a limit, until the archive has it.

        What does not arrive in time is taken from the stopped server's own pg_wal.
        """
        lsn = switched(self._fence, order.target)
        self._note(order, record, {"target_lsn": lsn})
        if lsn is not None:
            wait_archived(order.target, order.copy_.timeline, lsn, order.copy_.wal_segment_bytes)

    def _stop(self, order: LastWalOrder, record: dict[str, Any]) -> None:
        """Stop the server fast, then by force; never pause it (a paused client keeps its locks)."""
        name = order.target.postgres.container_id
        killed = bool(record.get("killed"))
        state = self._engine.look(name)
        if state is not None and state.status in {"running", "restarting", "paused"}:
            if state.running:
                self._engine.kill(name, "SIGINT")
                killed = not self._ended(name, _STOP_SECONDS)
            if killed or not state.running:
                killed = True
                self._note(order, record, {"killed": True})
                self._engine.stop(name, 0)
                if not self._ended(name, _STOP_SECONDS):
                    raise Unavailable("the server does not stop", where=name[:12], code="stop-failed")
            state = self._engine.look(name)
        if "cleanly" not in record:
            self._note(order, record, {"cleanly": not killed and state is not None and state.exit_code == 0})

    def _ended(self, name: str, limit_seconds: float) -> bool:
        deadline = time.monotonic() + limit_seconds
        while time.monotonic() < deadline:
            state = self._engine.look(name)
            if state is None or state.status in {"exited", "dead", "created"}:
                return True
            beat("the server stops")
            time.sleep(_POLL_SECONDS)
        return False

    def _retire_receiver(self, target: Target, copy: Copy) -> None:
        """Stop the receiver, keep its partial aside under the segment's own name, and remove it.

        Aside first: a receiver that connects again rewrites its partial from the segment's start.
        """
        name = f"dr-{target.stack}-receiver"
        found = self._engine.look(name)
        ours = found is not None and (found.labels.get(LABEL_STACK), found.labels.get(LABEL_ROLE)) == (
            target.stack,
            "receiver",
        )
        if ours:
            self._engine.stop(name, 10)
        aside = Path(copy.socket_dir) / "aside"
        plain_files.own(aside, target.postgres.uid, target.postgres.gid)
        pattern = f"*/{copy.timeline:08X}*.partial"
        found_ones = (Path(target.shelf) / "postgres" / "wal").glob(pattern)
        for partial in sorted(found_ones, key=lambda path: path.lstat().st_mtime, reverse=True):
            kept = aside / partial.name.removesuffix(".partial")
            content = None if kept.exists() else _segment(partial, copy.wal_segment_bytes)
            if content is not None:
                plain_files.replace(kept, content)
        if ours:
            self._engine.remove(name, force=True)


def _segment(path: Path, segment_bytes: int) -> bytes | None:
    """Return a segment's content; what is a link, a pipe or larger is none (F-K2)."""
    try:
        return plain_files.read(path, segment_bytes)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.EINVAL, errno.EFBIG}:
            return None
        raise
