"""A recovery by hand, for comparison: the same copy, the same replay, the same checks, no workflow.

What a careful person would script with docker and psql: nothing survives a crash of the script, nobody is
asked, nothing is recorded, no loss is measured, and nothing is protected again afterwards.
"""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psycopg

from activities.postgres.integrity_sql import check_objects, check_rows
from activities.traffic import JourneyOrder, Traffic
from bench.stand import Stand
from domain.backups import Backup
from domain.errors import Unavailable, VerificationFailed
from domain.recovery import Proof
from domain.wal import parse_lsn, segment_name

WRITERS = ("functions", "auth", "hasura")
HEALTH = {"hasura": "/healthz", "auth": "/healthz", "functions": "/healthz"}
COPY_SETTINGS = [
    "listen_addresses=",
    "unix_socket_directories=/sock",
    "archive_mode=off",
    "hot_standby=on",
    "autovacuum=off",
    "shared_buffers=512MB",
    "max_connections=200",
    "max_standby_archive_delay=-1",
    "wal_retrieve_retry_interval=200ms",
]
CLOSED = (
    'cd "$PGDATA" && cp pg_hba.conf pg_hba.conf.kept && echo "local all all trust" >pg_hba.conf'
    " && psql -qAtX -U postgres -c 'SELECT pg_reload_conf()'"
    " -c \"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend'"
    ' AND pid <> pg_backend_pid()" >/dev/null'
)
COPIED = (
    'cp -a /backup/. "$PGDATA"/ && pg_verifybackup --skip-checksums --no-parse-wal "$PGDATA"'
    ' && touch "$PGDATA/standby.signal" && initdb --sync-only -D "$PGDATA" >/dev/null'
)
# Each generation of the receiver has a directory of its own, and two may hold the same history file.
RESTORE_COMMAND = (
    'restore_command=for f in /archive/*/%f; do [ -f "$f" ] && cp "$f" "%p" && exit 0; done; exit 1'
)
_PATIENCE_SECONDS = 300.0


def docker(*words: str, may_fail: bool = False) -> str:
    """Run a docker command and return what it printed."""
    done = subprocess.run(["docker", *words], check=False, capture_output=True, text=True)
    if done.returncode != 0 and not may_fail:
        raise Unavailable(f"docker {words[0]} failed", where=done.stderr.strip()[-500:], code="bench-failed")
    return done.stdout.strip()


def until(ready: Callable[[], bool], what: str, pause: float = 0.1) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not ready():
        if time.monotonic() > deadline:
            raise Unavailable(f"it did not happen in time: {what}", code="bench-stuck")
        time.sleep(pause)


class Plain:
    """One recovery by hand of a damaged server that still answers."""

    def __init__(self, on: Stand, backup: Backup) -> None:
        """Know the names; nothing is touched."""
        self._stand = on
        self._backup = backup
        self._facts = on.facts()
        self._target = self._facts.target
        self._server = self._target.postgres
        self._wal = Path(self._target.shelf) / "postgres" / "wal"
        self._volume = f"{on.name}-plain-{time.time_ns()}"
        self._copy = f"{self._volume}-copy"
        self._sockets = on.settings.state / "s"
        self.took: list[tuple[str, float]] = []

    def recover(self) -> float:
        """Recover, and return the seconds until a user's actions work again."""
        began = time.monotonic()
        for what, work in (
            ("look at the damaged server", self._look),
            ("verify the backup", self._verify_backup),
            ("copy it into a new volume", self._restore),
            ("replay the WAL", self._replay),
            ("verify the copy", self._verify_copy),
            ("stop what writes", self._stop_writers),
            ("close the server, replay the last WAL, stop it", self._close),
            ("verify what was touched since", self._verify_touched),
            ("promote the copy and stop it", self._promote),
            ("exchange the volumes", self._exchange),
            ("start the server", self._start),
            ("start the services", self._start_services),
            ("act as a user", self._journey),
        ):
            step = time.monotonic()
            work()
            self.took.append((what, time.monotonic() - step))
        return time.monotonic() - began

    def clean(self) -> None:
        """Remove the damaged data and what else was made."""
        docker("rm", "-f", self._copy, may_fail=True)
        docker("volume", "rm", "-f", self._volume)

    # -- before anything is stopped ---------------------------------------------------------------

    def _look(self) -> None:
        name = self._server.container_name
        checked = docker("exec", name, *self._amcheck("--heapallindexed"), may_fail=True)
        docker("exec", name, *self._dump(), may_fail=True)
        if not checked:
            raise VerificationFailed("the server is not damaged", code="bench-failed")

    def _verify_backup(self) -> None:
        docker("run", "--rm", "-v", f"{self._base()}:/backup:ro", *self._image("pg_verifybackup"), "/backup")

    def _restore(self) -> None:
        docker("volume", "create", "--label", f"dr.stack={self._stand.name}", self._volume)
        mounts = ("-v", f"{self._base()}:/backup:ro", "-v", f"{self._volume}:{self._server.mount_path}")
        docker("run", "--rm", *mounts, *self._image("sh"), "-c", COPIED)

    def _replay(self) -> None:
        self._sockets.mkdir(exist_ok=True)
        docker("run", "--rm", "-v", f"{self._sockets}:/sock", "--user", "0", "--entrypoint", "chown",
               self._server.image_id, f"{self._server.uid}:{self._server.gid}", "/sock")  # fmt: skip
        settings = (*COPY_SETTINGS, RESTORE_COMMAND)
        docker(
            *("run", "-d", "--name", self._copy, "--network", "none", "--shm-size", "1g"),
            *("--label", f"dr.stack={self._stand.name}", "--stop-signal", "SIGINT"),
            *("-v", f"{self._volume}:{self._server.mount_path}", "-v", f"{self._wal}:/archive:ro"),
            *("-v", f"{self._sockets}:/sock", *self._image("postgres"), "-D", self._server.pgdata),
            *(f"--{setting}" for setting in settings),
        )
        self._replay_to(self._switch())

    def _verify_copy(self) -> None:
        self._on_copy("SELECT pg_wal_replay_pause()")
        until(lambda: self._on_copy("SELECT pg_get_wal_replay_pause_state()") == "paused", "a pause")
        docker("exec", "-e", "PGHOST=/sock", self._copy, *self._amcheck("--heapallindexed"))
        docker("exec", "-e", "PGHOST=/sock", self._copy, *self._dump("--no-unlogged-table-data"))
        with psycopg.connect(self._copy_dsn(), autocommit=True) as connection:
            proofs = [*check_rows(connection)]
            proofs += check_objects(connection, self._backup.contents, self._facts.stack.checks)
        _all_passed(proofs)
        self._on_copy("SELECT pg_wal_replay_resume()")

    # -- users wait from here ---------------------------------------------------------------------

    def _stop_writers(self) -> None:
        docker("stop", *(self._name(writer) for writer in WRITERS))

    def _close(self) -> None:
        docker("exec", "--user", "postgres", self._server.container_name, "sh", "-c", CLOSED)
        lsn = self._switch()
        docker("stop", self._server.container_name)
        self._replay_to(lsn)

    def _verify_touched(self) -> None:
        tables = ("nchat_messages", "nchat_channels", "nchat_channel_members", "dr.marker")
        named = (f"--table={table}" for table in tables)
        docker("exec", "-e", "PGHOST=/sock", self._copy, *self._amcheck(*named))

    def _promote(self) -> None:
        self._on_copy("SELECT pg_promote(true, 60)")
        self._on_copy("CHECKPOINT")
        docker("stop", self._copy)
        docker("rm", self._copy)

    def _exchange(self) -> None:
        live, restored = (
            Path(docker("volume", "inspect", "-f", "{{.Mountpoint}}", name))
            for name in (self._server.volume, self._volume)
        )
        aside = restored.with_name("aside")
        live.rename(aside)
        restored.rename(live)
        aside.rename(restored)

    def _start(self) -> None:
        docker("start", self._server.container_name)
        until(self._writable, "the server takes a write")

    def _start_services(self) -> None:
        for service in reversed(WRITERS):
            docker("start", self._name(service))
            address = self._stand.lab.url(service) + HEALTH[service]
            until(lambda address=address: _answers(address), f"{service} is healthy", 0.5)  # type: ignore[misc]

    def _journey(self) -> None:
        walk = Traffic(self._stand.engine, self._stand.secrets()).verify_user_journey
        walk(JourneyOrder(target=self._target, journey=self._facts.stack.journey))

    # -- how it is said ---------------------------------------------------------------------------

    def _base(self) -> Path:
        return Path(self._target.shelf) / self._backup.path

    def _name(self, service: str) -> str:
        return self._target.service(service).container_name

    def _image(self, program: str) -> tuple[str, ...]:
        user = f"{self._server.uid}:{self._server.gid}"
        return ("--user", user, "--entrypoint", program, self._server.image_id)

    def _amcheck(self, *more: str) -> tuple[str, ...]:
        return ("pg_amcheck", "-U", self._server.user, "-d", self._server.database, "-j2", *more)

    def _dump(self, *more: str) -> tuple[str, ...]:
        return ("pg_dump", "-U", self._server.user, "-d", self._server.database, "-f", "/dev/null",
                "--no-sync", *more)  # fmt: skip

    def _copy_dsn(self) -> str:
        return f"host={self._sockets} user={self._server.user} dbname={self._server.database}"

    def _on_copy(self, query: str) -> str:
        with psycopg.connect(self._copy_dsn(), autocommit=True, connect_timeout=5) as connection:
            row = connection.execute(query.encode()).fetchone() if query != "CHECKPOINT" else None
            if query == "CHECKPOINT":
                connection.execute("CHECKPOINT")
        return str(row[0]) if row else ""

    def _switch(self) -> str:
        """Close the segment of the living server and wait until the archive has it; return where."""
        ask = ("psql", "-AtX", "-U", self._server.user, "-c")
        said = docker("exec", self._server.container_name, *ask,
                      "SELECT timeline_id, pg_switch_wal() FROM pg_control_checkpoint()")  # fmt: skip
        timeline, lsn = said.split("|")
        name = segment_name(int(timeline), parse_lsn(lsn) - 1, self._backup.wal_segment_bytes)
        until(lambda: any(self._wal.glob(f"*/{name}")), f"{name} in the archive")
        return lsn

    def _replay_to(self, lsn: str) -> None:
        query = f"SELECT pg_last_wal_replay_lsn() >= '{lsn}'"

        def there() -> bool:
            try:
                return self._on_copy(query) == "True"
            except psycopg.OperationalError:
                return False

        until(there, f"the copy replays to {lsn}")

    def _writable(self) -> bool:
        try:
            self._stand.sql("CREATE TEMPORARY TABLE bench_probe AS SELECT 1")
        except psycopg.Error:
            return False
        return True


def _answers(address: str) -> bool:
    try:
        return httpx.get(address, timeout=2, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def _all_passed(proofs: list[Proof]) -> None:
    failed = [f"{proof.name}: {proof.evidence}" for proof in proofs if proof.passed is False]
    if failed:
        raise VerificationFailed("; ".join(failed), code="bench-failed")
