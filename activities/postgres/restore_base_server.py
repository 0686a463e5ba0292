"""A throwaway server on the files of a base backup: it replays the WAL that came with them, and no other."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from activities.engine import Engine
from activities.postgres.backup_progress import telling_copy
from activities.postgres.manifest import SHELF, seen_at
from activities.postgres.one_shot import VOLUME, as_root, script, settings_of, shell
from activities.postgres.sql import Sql
from activities.postgres.throwaway import Throwaway, isolating
from domain.backups import Backup
from domain.errors import BackupUnusable, Refused, Unavailable
from domain.order import Target
from domain.paths import host_path, path_under

_DATA = f"{VOLUME}/data"
_NO_ROOM = 21
_UNREADABLE = 22
_SLOWEST_BYTES_PER_SECOND = 10_000_000
_LEAST_SECONDS = 600.0
# Without a signal file it recovers as after a crash: by its own label and its own WAL, to the end of these.
_NO_SIGNALS = f"rm -f {_DATA}/standby.signal {_DATA}/recovery.signal"
_KEPT_ARGUMENTS = {
    "max_prepared_transactions",
    "max_worker_processes",
    "shared_preload_libraries",
    "track_commit_timestamp",
}
"""Of the server's own arguments: without these it may not come up, or lacks what the data needs."""


class BaseThrowaway(Throwaway):
    """One throwaway server for one base backup."""

    def __init__(self, engine: Engine, sql: Sql, state: Path, target: Target, backup: Backup) -> None:
        """``state`` is DR_STATE."""
        super().__init__(engine, sql, state, target, backup.id)
        self._backup = backup

    def _make(self, bootstrap: str) -> None:
        """Copy the backup into the server's own volume; the shelf is mounted to be read alone."""
        del bootstrap
        server = self._target.postgres
        self._access_rules()
        self._engine.ensure_volume(self.name, self.labels)
        self._give_volume(f"{server.uid}:{server.gid}")
        self._copy()

    def _copy(self) -> None:
        backup, server = self._backup, self._target.postgres
        job = shell(
            server,
            f"{self.name}-init",
            script("restore_base.sh") + f"\n{_NO_SIGNALS}\n",
            _DATA,
            f"check {backup.id}",
            _DATA,
            str(seen_at(self._target, Path(path_under(self._target.shelf, backup.path)))),
            binds={
                host_path(f"{self._target.shelf}/postgres", "the shelf"): f"{SHELF}:ro",
                self.name: f"{VOLUME}:rw",
            },
            labelled=self.labels,
        )
        limit = max(_LEAST_SECONDS, backup.bytes / _SLOWEST_BYTES_PER_SECOND)
        state, log, _ = self._engine.follow(
            replace(job, stop_signal="SIGTERM"), telling_copy(f"restoring {backup.id}"), limit_seconds=limit
        )
        last = (log.strip().splitlines() or [""])[-1]
        if state.exit_code != 0 or not last.startswith("done "):
            raise _failure(self._target, backup, state.exit_code, last)

    def _settings(self, preloaded: str, share: Mapping[str, str]) -> dict[str, str]:
        del preloaded
        given = settings_of(self._target.postgres.arguments)
        return {
            **{key: value for key, value in given.items() if key in _KEPT_ARGUMENTS},
            **isolating(),
            **share,
            "ssl": "off",
            "external_pid_file": "",
            "primary_slot_name": "",
            "synchronous_standby_names": "",
        }

    def _give_volume(self, owner: str) -> None:
        text = f'mkdir {_DATA} && chmod 0700 {_DATA} && chown "$1" {_DATA}'
        self._once(as_root(self._script("owner", text, owner), "CHOWN", "FOWNER"), "made")


def _failure(target: Target, backup: Backup, code: int | None, said: str) -> Exception:
    if code == _NO_ROOM:
        return Refused(
            f"no room to restore {backup.id}: the volumes' filesystem is full",
            where=target.postgres.volumes_root,
            hint="make room; nothing that runs was touched",
            code="no-room",
        )
    if code == _UNREADABLE:
        return BackupUnusable(f"it cannot be copied whole: {said}", where=backup.id, code="backup-unreadable")
    return Unavailable(f"the copy ended with status {code}: {said}", where=backup.id, code="restore-ended")
