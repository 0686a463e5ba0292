"""The restored copy as a server: waking it, asking where it is, and what WAL it can be given."""

import re
import time
from dataclasses import dataclass

from activities.engine import Engine
from activities.offsite_progress import Progress
from activities.postgres import maxima
from activities.postgres.one_shot import SALVAGE, below, control, facts, script
from activities.postgres.sql import Sql
from activities.pulse import beat
from domain.errors import BackupUnusable, Refused, Unavailable, VerificationFailed
from domain.order import Target
from domain.recovery import Copy
from domain.wal import format_lsn, parse_lsn, segment_name

_FATAL = re.compile(r"(?:FATAL|PANIC): +(.*)")
_RESTORED = re.compile(r'restored log file "([^"]+)"')
_RESTORE_COMMAND = re.compile(r"^dr: (.*)$", re.MULTILINE)
_POLL_SECONDS = 0.1
_LOOK_SECONDS = 1.0
_STALLED_SECONDS = 60.0
_SHUT_SECONDS = 20.0


@dataclass(frozen=True)
class Position:
    """Where replay stands; ``lsn`` is the byte behind the last replayed record."""

    lsn: int
    in_recovery: bool
    pause: str
    timeline: int


@dataclass(frozen=True)
class Chain:
    """Where the WAL ends that the copy can be given."""

    last_record: int | None
    segment: str
    source: str
    missing: str
    gap: str


class Standby:
    """One restored copy, through Docker and its Unix socket."""

    def __init__(self, engine: Engine, sql: Sql) -> None:
        """Act through these clients."""
        self._engine = engine
        self._sql = sql

    def ensure_awake(self, copy: Copy, *, limit_seconds: float = 120) -> Position:
        """Return where the copy is once it answers; a stopped one is started, once.

        ``limit_seconds`` counts from the last sign of progress. Raises ``BackupUnusable`` when it ends
        by itself (its data or its WAL does not fit) or stays shut although it is consistent, and
        ``VerificationFailed`` when a file of the archive cannot be read or is there in two versions.
        """
        started = False
        moved = looked = time.monotonic()
        restored = ""
        while True:
            state = self._engine.look(copy.container)
            if state is None:
                raise Refused("the restored copy is gone", where=copy.container, code="copy-gone")
            if state.status in {"created", "exited"}:
                if started:
                    raise self._ended(copy)
                self._engine.start(copy.container)
                started = True
            try:
                return self.position(copy)
            except Unavailable:
                if time.monotonic() - looked > _LOOK_SECONDS:
                    before, restored, consistent = restored, *self._progress(copy)
                    looked = time.monotonic()
                    moved = looked if restored != before else moved
                    if consistent and looked - moved > _SHUT_SECONDS:
                        raise self._shut(copy) from None
                if time.monotonic() - moved > limit_seconds:
                    raise
                beat(f"the copy starts{restored and f', replays {restored}'}")
                time.sleep(_POLL_SECONDS)

    def _progress(self, copy: Copy) -> tuple[str, bool]:
        """Return the file that the copy restored last, and whether it is consistent, since its start."""
        log = self._engine.logs(copy.container, tail=200).rpartition("starting PostgreSQL")[2]
        names = _RESTORED.findall(log)
        return (names[-1] if names else ""), "consistent recovery state reached" in log

    def _shut(self, copy: Copy) -> BackupUnusable:
        return BackupUnusable(
            "the restored copy is consistent and replays nothing more, but lets nobody in",
            where=copy.container,
            hint="a transaction with more than 64 subtransactions was open at the backup and never ended:"
            " take an older backup, or promote a copy by hand and look",
            code="copy-stays-shut",
        )

    def ensure_going(self, copy: Copy, target: Target) -> Position:
        """Return where the copy is, restarted with higher maxima when the server had raised one.

        Replay pauses in silence then, and the copy could never be promoted.
        """
        here = self.ensure_awake(copy)
        if not here.in_recovery or here.pause == "not paused":
            return here
        known = [
            control(self._engine.run(copy.container, ("pg_controldata", where)).output)
            for where in (target.postgres.pgdata, below(target.postgres, SALVAGE))
        ]
        if not maxima.write(copy, target, maxima.greatest(*known)):
            return here
        beat("restarting the copy with the server's maxima")
        self._engine.stop(copy.container, 60)
        return self.ensure_awake(copy)

    def _ended(self, copy: Copy) -> BackupUnusable | VerificationFailed:
        """Return what ended the copy: a file of the archive that our restore command named, or itself."""
        log = self._engine.logs(copy.container, tail=60)
        ours = _RESTORE_COMMAND.findall(log)
        if ours:
            return VerificationFailed(
                f"the archive cannot be trusted: {ours[-1]}",
                where=copy.container,
                hint="put the file right; an older backup would need it as well",
                code="archive-unreadable",
            )
        said = _FATAL.findall(log)
        return BackupUnusable(
            f"the restored copy stops: {said[-1] if said else 'without a word'}",
            where=copy.container,
            hint="docker logs shows the rest",
            code="copy-stops",
        )

    def position(self, copy: Copy) -> Position:
        """Return where the copy is; ``Unavailable`` when it does not answer."""
        with self._sql.copy(copy, timeout_seconds=10) as connection:
            row = connection.execute(
                "SELECT pg_is_in_recovery(), CASE WHEN pg_is_in_recovery()"
                " THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END::text,"
                " CASE WHEN pg_is_in_recovery() THEN pg_get_wal_replay_pause_state() ELSE 'ended' END,"
                " (SELECT timeline_id FROM pg_control_checkpoint())"
            ).fetchone()
        if row is None:
            raise Unavailable("the copy gave no answer", where=copy.container, code="copy-silent")
        return Position(
            lsn=parse_lsn(str(row[1])) if row[1] else 0,
            in_recovery=bool(row[0]),
            pause=str(row[2]),
            timeline=int(str(row[3])),
        )

    def chain(
        self, copy: Copy, target: Target, *, start: str, salvage: bool, gap_ends: bool = False
    ) -> Chain:
        """Walk the WAL from the segment ``start``; ``salvage`` opens the stopped server's own WAL.

        Raises ``VerificationFailed`` when a later segment is there and an earlier one is not, unless the
        chain may end there (``gap_ends``).
        """
        done = self._engine.run(
            copy.container,
            ("sh", "-c", script("chain.sh"), "dr", start, below(target.postgres, SALVAGE),
             "open" if salvage else "closed", f"{copy.wal_segment_bytes:x}", "ends" if gap_ends else ""),
        )  # fmt: skip
        said = facts(done.output)
        if done.exit_code != 0 or "last" not in said:
            raise Unavailable(
                f"the WAL cannot be read: {done.errors.strip() or done.output.strip()}",
                where=copy.container,
                code="wal-unreadable",
            )
        if said["gap"] and not gap_ends:
            raise VerificationFailed(
                f"WAL segment {said['missing']} is missing although {said['gap']} is there",
                where=copy.container,
                hint="find the segment, or restore to the end of the whole chain",
                code="wal-gap",
            )
        return Chain(
            last_record=parse_lsn(said["last"]) if said["last"] else None,
            segment=said["segment"],
            source=said["source"],
            missing=said["missing"],
            gap=said["gap"],
        )

    def wait_replayed(self, copy: Copy, record: int, at_least: int = 0) -> Position:
        """Wait until the record that starts at ``record`` is replayed, and ``at_least`` is reached.

        Raises ``VerificationFailed`` when replay is paused or stands still.
        """
        furthest = -1
        moved = time.monotonic()
        began, goal, progress = -1, max(record, at_least), Progress("", 0)
        while True:
            here = self.ensure_awake(copy)
            if here.in_recovery and here.pause != "not paused":
                raise VerificationFailed(
                    "replay is paused",
                    where=copy.container,
                    hint="a setting lower than the server's, or somebody paused it",
                    code="replay-paused",
                )
            if here.lsn > record and here.lsn >= at_least:
                return here
            if here.lsn > furthest:
                furthest, moved = here.lsn, time.monotonic()
            if time.monotonic() - moved > _STALLED_SECONDS:
                raise VerificationFailed(
                    f"replay stands at {format_lsn(here.lsn)} and does not reach "
                    f"{format_lsn(max(record, at_least))}",
                    where=copy.container,
                    code="replay-stuck",
                )
            began = here.lsn if began < 0 else began
            progress.what = f"replayed {format_lsn(here.lsn)} of {format_lsn(goal)}"
            progress.tell(here.lsn - began, max(goal - began, 0))
            time.sleep(_POLL_SECONDS)

    def last_record(
        self, copy: Copy, target: Target, position: int, *, salvage: bool, gap_ends: bool = False
    ) -> Chain:
        """Return the end of the WAL that follows a replayed position."""
        start = segment_name(copy.timeline, max(position - 1, 0), copy.wal_segment_bytes)
        return self.chain(copy, target, start=start, salvage=salvage, gap_ends=gap_ends)
