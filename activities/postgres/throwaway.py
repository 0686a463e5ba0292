"""A server without network on a volume of its own, made to restore a dump into and removed afterwards."""

import hashlib
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from activities import plain_files
from activities.engine import Engine, Job
from activities.postgres.memory import share_for_copy
from activities.postgres.one_shot import VOLUME, as_root, run, shell
from activities.postgres.sql import Sql
from activities.pulse import beat
from domain.errors import Refused, Unavailable
from domain.names import LABEL_ROLE, LABEL_STACK
from domain.order import Target
from domain.recovery import Copy

ROLE = "dump-check"
SOCKET = "/sock"
MAINTENANCE = "template1"
"""The database to be connected to when no restored one is meant."""
_DATA = f"{VOLUME}/data"
_LONGEST_SOCKET_PATH = 100
_START_SECONDS = 120.0
_POLL_SECONDS = 0.1
_FATAL = re.compile(r"(?:FATAL|PANIC): +(.*)")
_OWNER = f'mkdir {_DATA} && chmod 0700 {_DATA} && chown "$1" {_DATA}'
# The role that made the source's databases makes these, so that grants by it can be repeated.
_INITDB = (
    f'exec initdb -D {_DATA} --username="$1" --auth=trust --encoding=UTF8 --locale=C --no-sync >/dev/null'
)
_SETTINGS = {
    "listen_addresses": "",
    "port": "5432",
    "unix_socket_directories": SOCKET,
    "hba_file": f"{SOCKET}/pg_hba.conf",
    "ident_file": f"{SOCKET}/pg_ident.conf",
    # It must never speak to, or write beside, the server that it stands for (F-C14, F-D8).
    "archive_mode": "off",
    "archive_command": "false",
    "primary_conninfo": "",
    "cron.launch_active_jobs": "off",
    # What it holds is thrown away.
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "256MB",
    "autovacuum": "off",
    "max_locks_per_transaction": "1024",
    "logging_collector": "off",
    "log_destination": "stderr",
    "lc_messages": "C",
    "jit": "off",
}


_OF_A_NEW_CLUSTER = {"wal_level", "max_wal_senders"}


def isolating() -> dict[str, str]:
    """Return the settings of a throwaway server on data that came from elsewhere."""
    return {key: value for key, value in _SETTINGS.items() if key not in _OF_A_NEW_CLUSTER}


class Throwaway:
    """One throwaway server; its name says for what it was made, so that what is left of it is found."""

    def __init__(self, engine: Engine, sql: Sql, state: Path, target: Target, what: str) -> None:
        """``state`` is DR_STATE, ``what`` the id of the backup that it is made for."""
        self._engine = engine
        self._sql = sql
        self._target = target
        self.name = f"dr-{target.stack}-check-{what}"
        self.loader = f"{self.name}-load"
        self.labels = {LABEL_STACK: target.stack, LABEL_ROLE: ROLE}
        short = hashlib.sha256(self.name.encode()).hexdigest()[:8]
        self.sockets = state.resolve() / "sockets" / short

    @contextmanager
    def running(self, bootstrap: str, preloaded: str) -> Iterator[Copy]:
        """Give out the server once it answers; it is removed afterwards, whatever happened.

        What an earlier attempt left is removed first. Raises ``Unavailable`` when it does not start.
        """
        self.remove()
        try:
            self._make(bootstrap)
            copy = Copy(
                container=self.name,
                volume=self.name,
                socket_dir=str(self.sockets),
                user=bootstrap,
                database=MAINTENANCE,
                timeline=1,
                replayed_lsn="0/0",
            )
            self._start(preloaded)
            self._wait(copy)
            yield copy
        finally:
            self.remove()

    def remove(self) -> None:
        """Remove all of it; nothing there is fine, and a stranger of its name is left alone."""
        for name in (self.loader, self.name, f"{self.name}-owner", f"{self.name}-init"):
            found = self._engine.look(name)
            if found is not None and self._is_ours(found.labels):
                self._engine.remove(found.id, force=True)
        volume = self._engine.volume(self.name)
        if volume is not None and self._is_ours(volume.get("Labels") or {}):
            self._engine.remove_volume(self.name)
        if self.sockets.is_dir() and not self.sockets.is_symlink():
            shutil.rmtree(self.sockets)

    def _is_ours(self, labels: Mapping[str, str]) -> bool:
        return all(labels.get(key) == value for key, value in self.labels.items())

    def _make(self, bootstrap: str) -> None:
        server = self._target.postgres
        self._access_rules()
        self._engine.ensure_volume(self.name, self.labels)
        owner = f"{server.uid}:{server.gid}"
        self._once(as_root(self._script("owner", _OWNER, owner), "CHOWN", "FOWNER"), "made")
        self._once(self._script("init", _INITDB, bootstrap), "initialised")

    def _access_rules(self) -> None:
        """Write the server's own access rules beside its socket, whose directory only its user enters."""
        if len(str(self.sockets)) > _LONGEST_SOCKET_PATH - len("/.s.PGSQL.5432"):
            raise Refused(
                "the path of the server's socket is too long",
                where=str(self.sockets),
                hint="choose a shorter DR_STATE",
                code="socket-path",
            )
        server = self._target.postgres
        self.sockets.parent.mkdir(parents=True, exist_ok=True)
        plain_files.own(self.sockets, server.uid, server.gid)
        for name, text in {"pg_hba.conf": "local all all trust\n", "pg_ident.conf": ""}.items():
            plain_files.replace(self.sockets / name, text.encode(), mode=0o400)

    def _script(self, what: str, text: str, argument: str) -> Job:
        name = f"{self.name}-{what}"
        binds = {self.name: f"{VOLUME}:rw"}
        return shell(self._target.postgres, name, text, argument, binds=binds, labelled=self.labels)

    def _once(self, job: Job, what: str) -> None:
        code, said = run(self._engine, job, limit_seconds=300)
        if code != 0:
            raise Unavailable(
                f"the throwaway server's volume cannot be {what}: {said.strip()[-200:]}",
                where=self.name,
                code="check-server",
            )

    def _start(self, preloaded: str) -> None:
        server, share = self._target.postgres, share_for_copy()
        settings = self._settings(preloaded, share.settings())
        job = Job(
            name=self.name,
            image_id=server.image_id,
            entrypoint=("postgres",),
            command=("-D", _DATA, *(f"--{key}={value}" for key, value in settings.items())),
            user=f"{server.uid}:{server.gid}",
            binds={self.name: f"{VOLUME}:rw", str(self.sockets): f"{SOCKET}:rw"},
            labels=self.labels,
            shm_bytes=1 << 30,
        )
        self._engine.ensure_job(replace(job, memory_bytes=share.limit_bytes))

    def _settings(self, preloaded: str, share: Mapping[str, str]) -> dict[str, str]:
        """Return what the server is started with; ``share`` is its part of the memory."""
        return {**_SETTINGS, **share, "shared_preload_libraries": preloaded}

    def _wait(self, copy: Copy) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                with self._sql.copy(copy, timeout_seconds=10):
                    return
            except Unavailable:
                state = self._engine.look(self.name)
                if state is None or state.status in {"exited", "dead"} or time.monotonic() > deadline:
                    raise self._failed() from None
            beat("the throwaway server starts")
            time.sleep(_POLL_SECONDS)

    def _failed(self) -> Unavailable:
        found = self._engine.look(self.name)
        said = _FATAL.findall(self._engine.logs(self.name)) if found is not None else []
        what = f"the throwaway server does not start: {said[-1] if said else 'it does not say why'}"
        return Unavailable(what, where=self.name, code="check-server")
