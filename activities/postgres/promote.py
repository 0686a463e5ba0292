"""Promotes the copy, proves it, and stops it cleanly: after this its volume may be exchanged."""

import re
import shutil
import time
from pathlib import Path
from typing import Any

from temporalio import activity

from activities.engine import Engine
from activities.postgres.one_shot import SALVAGE, below, control, labels, run, script, shell
from activities.postgres.slots import make_slot
from activities.postgres.sql import Connection, Sql
from activities.postgres.standby import Standby
from activities.pulse import beat
from activities.records import Records
from activities.tokens import Tokens
from domain.errors import Refused, Unavailable, VerificationFailed
from domain.names import container_name, short_id
from domain.order import Target
from domain.recovery import Promoted, PromoteOrder
from domain.wal import format_lsn, parse_lsn

KIND = "promoted"
_STOP_SECONDS = 60.0
_PROMOTE_SECONDS = 60
_POLL_SECONDS = 0.1


class Promoting:
    """Ends the copy's recovery and leaves a volume that a server can start on."""

    def __init__(self, engine: Engine, sql: Sql, tokens: Tokens, state: Path) -> None:
        """Act through these clients; ``state`` is DR_STATE."""
        self._engine = engine
        self._sql = sql
        self._tokens = tokens
        self._state = state
        self._records = Records(state)
        self._standby = Standby(engine, sql)

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_promoted(self, order: PromoteOrder) -> Promoted:
        """Promote past everything replayed, stop cleanly, carry the configuration over, remove the container.

        Whatever an earlier attempt left is taken up where it stands. Raises ``VerificationFailed`` when
        WAL is missing, or when timeline or system identifier are not the expected ones.
        """
        self._tokens.admit(order, order.target.stack)
        copy = order.copy_
        known = self._engine.look(copy.container)
        if known is None:
            return self._promoted_before(order)
        record = self._records.read(KIND, order.recovery_id) or {}
        if record.get("volume") != copy.volume:
            record = {}  # that of an earlier attempt, whose copy was not good
        if known.exit_code != 0 or "timeline" not in record:
            record = self._promote(order)
        self._stop(copy.container)
        record |= self._settle(order, record)
        self._records.write(KIND, order.recovery_id, record)
        self._clear(order)
        return _answer(order, record)

    def _clear(self, order: PromoteOrder) -> None:
        """Remove the copy's containers, and the sockets that it was spoken to through; again and again."""
        for what in ("copy", "restore"):
            self._engine.remove(container_name(order.recovery_id, what), force=True)
        shutil.rmtree(self._state / "sockets" / short_id(order.recovery_id), ignore_errors=True)

    def _promoted_before(self, order: PromoteOrder) -> Promoted:
        record = self._records.read(KIND, order.recovery_id)
        if record is None or "carried" not in record or record["volume"] != order.copy_.volume:
            raise Refused(
                "the copy's container is gone before it was promoted",
                where=order.copy_.container,
                hint="follow the archive again; the restored volume is still there",
                code="copy-gone",
            )
        self._clear(order)
        return _answer(order, record)

    def _promote(self, order: PromoteOrder) -> dict[str, Any]:
        """Promote a copy that may be promoted already; record what it is then."""
        copy = order.copy_
        here = self._standby.ensure_awake(copy)
        expected = self._expected_timeline(order.target, copy.timeline)
        if here.in_recovery:
            self._may_promote(order, here.lsn, here.pause)
        with self._sql.copy(copy, timeout_seconds=_PROMOTE_SECONDS + 30) as connection:
            make_slot(connection, order.slot)
            if here.in_recovery:
                beat("promoting the copy")
                connection.execute("SELECT pg_promote(true, %s)", [_PROMOTE_SECONDS])
            # pg_control names the new timeline only from the next checkpoint on.
            connection.execute("CHECKPOINT")
            row = connection.execute(
                "SELECT pg_is_in_recovery(), timeline_id, system_identifier::text"
                " FROM pg_control_checkpoint(), pg_control_system()"
            ).fetchone()
            marker = _last_marker(connection)
        if row is None or row[0]:
            raise Unavailable("the copy is still in recovery", where=copy.container, code="promote-slow")
        timeline, system = int(str(row[1])), str(row[2])
        if timeline != expected:
            raise VerificationFailed(
                f"the promoted copy is on timeline {timeline}, expected {expected}",
                where=copy.container,
                code="timeline-unexpected",
            )
        if copy.system_identifier and system != copy.system_identifier:
            raise VerificationFailed(
                "the promoted copy is another database system", where=copy.container, code="foreign-system"
            )
        record = {"timeline": timeline, "system": system, "marker": marker, "volume": copy.volume}
        self._records.write(KIND, order.recovery_id, record)
        return record

    def _may_promote(self, order: PromoteOrder, lsn: int, pause: str) -> None:
        if pause != "not paused":
            raise VerificationFailed(
                "replay is paused; promoting now would throw archived WAL away",
                where=order.copy_.container,
                code="replay-paused",
            )
        if lsn < parse_lsn(order.expected_lsn):
            raise VerificationFailed(
                f"the copy replayed {format_lsn(lsn)}, wanted {order.expected_lsn}",
                where=order.copy_.container,
                code="wal-missing",
            )

    def _expected_timeline(self, target: Target, timeline: int) -> int:
        """Return the timeline after the newest one that the archive knows.

        The server counts so too: from its own on, as long as the next history is there. A file that names
        a far one changes nothing.
        """
        names = (path.name for path in (Path(target.shelf) / "postgres" / "wal").glob("*/*.history"))
        known = {int(name[:8], 16) for name in names if re.fullmatch(r"[0-9A-F]{8}\.history", name)}
        while timeline + 1 in known:
            timeline += 1
        return timeline + 1

    def _stop(self, container: str) -> None:
        deadline = time.monotonic() + _STOP_SECONDS
        self._engine.kill(container, "SIGINT")
        while (found := self._engine.look(container)) is not None and found.status == "running":
            if time.monotonic() > deadline:
                raise Unavailable("the promoted copy does not stop", where=container, code="stop-failed")
            beat("the promoted copy stops")
            time.sleep(_POLL_SECONDS)

    def _settle(self, order: PromoteOrder, record: dict[str, Any]) -> dict[str, Any]:
        """Prove the clean stop on disk, and carry the damaged server's configuration over."""
        server = order.target.postgres
        quiet = (self._state / "quiet" / f"{order.target.stack}.json").exists()
        job = shell(
            server,
            container_name(order.recovery_id, "settle"),
            script("settle.sh"),
            server.pgdata,
            below(server, SALVAGE),
            "carry",
            "quiet" if quiet else "",
            binds={order.copy_.volume: f"{server.mount_path}:rw", server.volume: f"{SALVAGE}:ro"},
            labelled=labels(order, "settle"),
        )
        code, text = run(self._engine, job)
        said = control(text)
        signals = re.findall(r"^signal=(.+)$", text, re.MULTILINE)
        state = said.get("Database cluster state", "unknown")
        timeline = said.get("Latest checkpoint's TimeLineID")
        if code != 0 or state != "shut down" or signals or timeline != str(record["timeline"]):
            raise Unavailable(
                f"the promoted copy is not fit to be swapped in: {state}, timeline {timeline},"
                f" signal files {signals or 'none'}",
                where=order.copy_.volume,
                hint="start its container by hand and see what it says; nothing was exchanged",
                code="copy-unclean",
            )
        return {
            "carried": re.findall(r"^carried=(.+)$", text, re.MULTILINE) or record.get("carried", []),
            "refused": re.findall(r"^refused=(.+)$", text, re.MULTILINE),
        }


def _last_marker(connection: Connection) -> int | None:
    row = connection.execute("SELECT to_regclass('dr.marker') IS NOT NULL").fetchone()
    if row is None or not row[0]:
        return None
    found = connection.execute("SELECT max(n) FROM dr.marker").fetchone()
    return None if found is None or found[0] is None else int(str(found[0]))


def _answer(order: PromoteOrder, record: dict[str, Any]) -> Promoted:
    carried = tuple(record["carried"])
    return Promoted(
        timeline=int(record["timeline"]),
        system_identifier=str(record["system"]),
        slot=order.slot,
        last_marker=record["marker"],
        configuration_carried=carried,
        configuration_refused=tuple(record["refused"]),
        sentence=f"The copy is promoted to timeline {record['timeline']} and cleanly stopped;"
        f" configuration carried over: {', '.join(carried) or 'no difference'}",
    )
