"""The restored copy as a standby without network, fed by the archive."""

import re
import time
from dataclasses import replace
from pathlib import Path

from temporalio import activity

from activities import plain_files
from activities.engine import ContainerState, Engine, Job
from activities.in_use import refuse_if_in_use
from activities.postgres import maxima
from activities.postgres.fence import Fencing
from activities.postgres.integrity_wal import damage_in_wal
from activities.postgres.memory import share_for_copy
from activities.postgres.one_shot import SALVAGE, below, control, labels, run, script, settings_of, shell
from activities.postgres.shelf import archive_of
from activities.postgres.sql import Sql
from activities.postgres.standby import Standby
from activities.postgres.switch import switched, wait_archived
from activities.tokens import Tokens
from domain.errors import BackupUnusable, Refused, VerificationFailed
from domain.names import container_name, short_id
from domain.recovery import Copy, FollowOrder
from domain.wal import format_lsn

SOCKET = "/sock"
_LONGEST_SOCKET_PATH = 100
_KEPT_ARGUMENTS = {*maxima.MAXIMA.values(), "shared_preload_libraries", "wal_level", "track_commit_timestamp"}
_SEGMENT = re.compile(r"[0-9A-F]{24}")


class Following:
    """Starts the copy and has it replay what the archive holds."""

    def __init__(self, engine: Engine, sql: Sql, tokens: Tokens, state: Path) -> None:
        """Act through these clients; ``state`` is DR_STATE."""
        self._engine = engine
        self._tokens = tokens
        self._state = state.resolve()
        self._standby = Standby(engine, sql)
        self._fence = Fencing(engine, sql, tokens, state)

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_following(self, order: FollowOrder) -> Copy:
        """Have the copy replay every closed segment of the archive, and keep following it.

        Raises ``BackupUnusable`` when the backup does not start or its WAL does not fit.
        """
        self._tokens.admit(order, order.target.stack)
        began = time.monotonic()
        copy = self._copy(order)
        self._socket_directory(order)
        if self._known(order, copy) is None:
            self._start(order, copy)
        here = self._standby.ensure_going(copy, order.target)
        if here.in_recovery and here.pause != "not paused":
            # Somebody paused it, or a verification that was killed: its next start goes on.
            self._engine.stop(copy.container, 60)
            self._standby.ensure_awake(copy)
        if order.answers:
            self._bring_up_to_date(order, copy)
        newest = newest_segment(Path(order.target.shelf), order.timeline)
        if newest:
            chain = self._standby.chain(copy, order.target, start=newest, salvage=False)
            here = self._standby.wait_replayed(copy, chain.last_record or 0)
        else:
            here = self._standby.ensure_awake(copy)
        lsn = format_lsn(here.lsn)
        return copy.model_copy(
            update={
                "replayed_lsn": lsn,
                "damage_in_wal": self._damage_in_wal(order, copy),
                "sentence": f"The copy replayed the archive to {lsn} on timeline {order.timeline}"
                f" ({time.monotonic() - began:.1f} s) and follows it",
            }
        )

    def _bring_up_to_date(self, order: FollowOrder, copy: Copy) -> None:
        """Have a living server close its segment, so that the copy gets near to now."""
        lsn = switched(self._fence, order.target)
        if lsn is not None:
            wait_archived(order.target, order.timeline, lsn, copy.wal_segment_bytes)

    def _damage_in_wal(self, order: FollowOrder, copy: Copy) -> tuple[str, ...]:
        """Return what the WAL says of the damaged blocks: without checksums damage travels through it."""
        if not order.damaged_blocks:
            return ()
        since = order.first_evidence_lsn or order.backup.start_lsn
        return damage_in_wal(
            self._engine, order.target, copy.container, order.damaged_blocks, since, order.timeline
        )

    def _copy(self, order: FollowOrder) -> Copy:
        server = order.target.postgres
        return Copy(
            container=container_name(order.recovery_id, "copy"),
            volume=order.volume,
            socket_dir=str(self._state / "sockets" / short_id(order.recovery_id)),
            user=server.user,
            database=server.database,
            timeline=order.timeline,
            replayed_lsn="0/0",
            system_identifier=order.backup.system_identifier,
            wal_segment_bytes=order.backup.wal_segment_bytes,
        )

    def _known(self, order: FollowOrder, copy: Copy) -> ContainerState | None:
        """Return the copy's container when it is on this volume; one of another attempt is removed."""
        found = self._engine.look(copy.container)
        if found is None:
            return None
        if any(mount.get("Name") == order.volume for mount in found.raw["Mounts"]):
            return found
        self._engine.remove(copy.container, force=True)
        return None

    def _socket_directory(self, order: FollowOrder) -> None:
        """Write the copy's own access rules and its restore command beside its socket."""
        server = order.target.postgres
        path = Path(self._copy(order).socket_dir)
        if len(str(path)) > _LONGEST_SOCKET_PATH - len("/.s.PGSQL.5432"):
            raise Refused(
                "the path of the copy's socket is too long",
                where=str(path),
                hint="choose a shorter DR_STATE",
                code="socket-path",
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        # The copy's user owns the directory and may put links into it: none is written through.
        plain_files.own(path, server.uid, server.gid)
        texts = {
            "pg_hba.conf": "local all all trust\n",
            "pg_ident.conf": "",
            "restore.sh": script("restore_wal.sh"),
        }
        for name, text in texts.items():
            plain_files.replace(path / name, text.encode(), mode=0o500 if name.endswith(".sh") else 0o400)

    def _start(self, order: FollowOrder, copy: Copy) -> None:
        refuse_if_in_use(self._engine, {order.volume})
        settings = _settings(order.target.postgres.arguments, self._prepare(order), order.timeline)
        maxima.write(copy, order.target, {name: settings.pop(name) for name in maxima.MAXIMA.values()})
        share = share_for_copy()
        job = self._job(order, copy, {**settings, **share.settings()})
        self._engine.ensure_job(replace(job, memory_bytes=share.limit_bytes))

    def _prepare(self, order: FollowOrder) -> dict[str, int]:
        """Make the restored volume a standby; return the greatest maxima that either side knows."""
        server = order.target.postgres
        job = shell(
            server,
            container_name(order.recovery_id, "prepare"),
            script("prepare_copy.sh"),
            server.pgdata,
            below(server, SALVAGE),
            "standby",
            binds={order.volume: f"{server.mount_path}:rw", server.volume: f"{SALVAGE}:ro"},
            labelled=labels(order, "prepare"),
        )
        code, text = run(self._engine, job)
        restored, _, damaged = text.partition("== damaged")
        ours = control(restored)
        if code != 0 or not ours:
            raise BackupUnusable(
                f"the restored volume cannot be made a standby: {text.strip()[-200:]}",
                where=order.volume,
                code="restored-incomplete",
            )
        if ours.get("Database system identifier") != order.backup.system_identifier:
            raise VerificationFailed(
                "the restored volume holds another database system", where=order.volume, code="foreign-system"
            )
        theirs = control(damaged)
        return maxima.greatest(ours, theirs)

    def _job(self, order: FollowOrder, copy: Copy, settings: dict[str, str]) -> Job:
        server = order.target.postgres
        return Job(
            name=copy.container,
            image_id=server.image_id,
            entrypoint=("sh", "-c", f'exec postgres "$@" $(cat {SOCKET}/{maxima.FILE})', "dr"),
            command=("-D", server.pgdata, *(f"--{key}={value}" for key, value in settings.items())),
            user=f"{server.uid}:{server.gid}",
            binds={
                order.volume: f"{server.mount_path}:rw",
                server.volume: f"{SALVAGE}:ro",
                archive_of(order.target): "/archive:ro",
                copy.socket_dir: f"{SOCKET}:rw",
            },
            labels=labels(order, "copy"),
            shm_bytes=1 << 30,
        )


def newest_segment(shelf: Path, timeline: int) -> str:
    """Return the newest closed segment of a timeline in the archive, or an empty text."""
    names = (path.name for path in shelf.glob(f"postgres/wal/*/{timeline:08X}*"))
    return max((name for name in names if _SEGMENT.fullmatch(name)), default="")


def _settings(arguments: tuple[str, ...], known: dict[str, int], timeline: int) -> dict[str, str]:
    """Return the copy's settings: isolated, following one named timeline, never smaller than the server."""
    kept = {key: value for key, value in settings_of(arguments).items() if key in _KEPT_ARGUMENTS}
    for name, value in known.items():
        kept[name] = str(max(value, maxima.number(kept.get(name))))
    return {
        **kept,
        "archive_mode": "off",
        "listen_addresses": "",
        "port": "5432",
        "unix_socket_directories": SOCKET,
        "hba_file": f"{SOCKET}/pg_hba.conf",
        "ident_file": f"{SOCKET}/pg_ident.conf",
        "ssl": "off",
        "logging_collector": "off",
        "log_destination": "stderr",
        # Its log is read for what happened to it.
        "log_min_messages": "warning",
        "lc_messages": "C",
        "external_pid_file": "",
        "hot_standby": "on",
        "restore_command": f'{SOCKET}/restore.sh %f "%p"',
        "recovery_target_timeline": str(timeline),
        **{f"recovery_target{part}": "" for part in ("", "_time", "_xid", "_lsn", "_name")},
        "recovery_min_apply_delay": "0",
        "recovery_end_command": "",
        "archive_cleanup_command": "",
        "primary_conninfo": "",
        "primary_slot_name": "",
        "synchronous_standby_names": "",
        "wal_retrieve_retry_interval": "200ms",
        "max_standby_archive_delay": "-1",
        "fsync": "on",
        "autovacuum": "off",
        # What somebody set to get at damaged data would have it read as empty pages, and pass every check.
        "zero_damaged_pages": "off",
        "ignore_checksum_failure": "off",
        "ignore_invalid_pages": "off",
        "cron.launch_active_jobs": "off",
    }
