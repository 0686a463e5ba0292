"""Restores a base backup into a new volume; nothing that runs is touched."""

from dataclasses import replace
from pathlib import Path

from temporalio import activity

from activities.engine import Engine, Job
from activities.postgres.backup_progress import telling_copy
from activities.postgres.manifest import SHELF, seen_at
from activities.postgres.one_shot import VOLUME, as_root, labels, run, script, shell
from activities.pulse import beat
from activities.tokens import Tokens
from domain.errors import BackupUnusable, Refused, Unavailable
from domain.names import LABEL_RECOVERY, LABEL_STACK, container_name, volume_name
from domain.paths import host_path, path_under
from domain.recovery import Restored, RestoreOrder

_ATTEMPT = "dr.attempt"
_FOREIGN_OWNER = 20
_NO_ROOM = 21
_UNREADABLE = 22
_SLOWEST_BYTES_PER_SECOND = 10_000_000
_LEAST_LIMIT_SECONDS = 600.0
_ORPHAN_SECONDS = 30


class Restoring:
    """Copies a backup of the shelf into a volume that no server knows yet."""

    def __init__(self, engine: Engine, tokens: Tokens, state: Path) -> None:
        """Act through these clients; ``state`` is DR_STATE."""
        self._engine = engine
        self._tokens = tokens
        self._state = state

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_restored(self, order: RestoreOrder) -> Restored:
        """Have the backup in this attempt's volume, each file of it on disk.

        The copy is a detached job; a second call finds it running, finished or half done.
        Raises ``BackupUnusable`` when the backup cannot be read and ``Refused`` without room.
        """
        self._tokens.admit(order, order.target.stack)
        volume = volume_name(order.recovery_id, "postgres", order.attempt)
        job = self._job(order, volume)
        stopped = self._stop_orphans(order)
        self._engine.ensure_volume(volume, labels(order, "restored"))
        self._drop_other_attempts(job)
        code, text, known = self._follow(order, job)
        if code == _FOREIGN_OWNER:
            self._give_to_server(order, volume)
            self._engine.remove(job.name, force=True)
            # An empty volume is given the image's owner with each container, unless Docker is told not to.
            job = replace(job, binds={**job.binds, volume: f"{order.target.postgres.mount_path}:rw,nocopy"})
            code, text, known = self._follow(order, job)
        last = text.strip().splitlines()[-1:] or [""]
        if code != 0 or not last[0].startswith("done "):
            self._engine.remove(job.name, force=True)
            raise _failure(order, code, last[0])
        copied, milliseconds = (int(part) for part in last[0].split()[1:])
        seconds = milliseconds / 1000
        return Restored(
            volume=volume,
            bytes=copied,
            seconds=seconds,
            reattached=known,
            sentence=f"Backup {order.backup.id} ({_mb(copied)}) restored into {volume} in {seconds:.1f} s"
            + (f"; stopped, of other recoveries: {', '.join(stopped)}" if stopped else ""),
        )

    def _stop_orphans(self, order: RestoreOrder) -> list[str]:
        """Stop what recoveries that ended in the middle still run, and remove nothing of it (F-G4).

        Their copy has the live volume mounted to salvage WAL from, so that it could not be exchanged
        later, with the server closed already. This run holds the stack's lock: no other one is open.
        """
        stopped = []
        for job in self._engine.labelled(LABEL_RECOVERY, f"{LABEL_STACK}={order.target.stack}"):
            if job.running and order.recovery_id and job.labels[LABEL_RECOVERY] != order.recovery_id:
                beat(f"stopping {job.name}")
                self._engine.stop(job.id, _ORPHAN_SECONDS)
                stopped.append(job.name)
        return stopped

    def _job(self, order: RestoreOrder, volume: str) -> Job:
        server = order.target.postgres
        identity = f"{order.recovery_id} {order.attempt} {order.backup.id}"
        job = shell(
            server,
            container_name(order.recovery_id, "restore"),
            script("restore_base.sh"),
            server.pgdata,
            identity,
            server.mount_path,
            str(seen_at(order.target, Path(path_under(order.target.shelf, order.backup.path)))),
            binds={
                host_path(f"{order.target.shelf}/postgres", "the shelf"): f"{SHELF}:ro",
                # Mounted where the server has it, a new volume gets the owner of the image's directory.
                volume: f"{server.mount_path}:rw",
            },
            labelled={**labels(order, "restore"), _ATTEMPT: identity},
        )
        return replace(job, stop_signal="SIGTERM")

    def _drop_other_attempts(self, job: Job) -> None:
        """Remove the job of an earlier attempt, and one of this attempt that failed."""
        found = self._engine.look(job.name)
        if found is None:
            return
        if found.labels.get(_ATTEMPT) != job.labels[_ATTEMPT] or found.exit_code not in {None, 0}:
            self._engine.remove(job.name, force=True)

    def _follow(self, order: RestoreOrder, job: Job) -> tuple[int, str, bool]:
        limit = max(_LEAST_LIMIT_SECONDS, order.backup.bytes / _SLOWEST_BYTES_PER_SECOND)
        tell = telling_copy(f"restoring {order.backup.id}")
        state, text, known = self._engine.follow(job, tell, limit_seconds=limit)
        return state.exit_code or 0, text, known

    def _give_to_server(self, order: RestoreOrder, volume: str) -> None:
        """Make the server's user own the root of a volume that Docker made as root's."""
        server = order.target.postgres
        job = shell(
            server,
            container_name(order.recovery_id, "owner"),
            'chown "$1" /volume && chmod 0700 /volume',
            f"{server.uid}:{server.gid}",
            binds={volume: f"{VOLUME}:rw"},
            labelled=labels(order, "owner"),
        )
        code, text = run(self._engine, as_root(job, "CHOWN", "FOWNER"))
        if code != 0:
            raise Unavailable(
                f"the new volume cannot be given to the server's user: {text.strip()}",
                where=volume,
                code="volume-owner",
            )


def _failure(order: RestoreOrder, code: int, said: str) -> Exception:
    if code == _NO_ROOM:
        return Refused(
            "the volumes' filesystem has no room, or no inodes, for the restored copy",
            where=order.target.postgres.volumes_root,
            hint="free room or release what earlier recoveries kept aside; the live data is untouched",
            code="no-room",
        )
    if code == _UNREADABLE:
        return BackupUnusable(
            f"the backup cannot be copied whole: {said}", where=order.backup.id, code="backup-unreadable"
        )
    return Unavailable(
        f"the restore ended with status {code}: {said}", where=order.backup.id, code="restore-ended"
    )


def _mb(count: int) -> str:
    return f"{count / 1e6:,.0f} MB"
