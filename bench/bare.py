"""What cannot be beaten, and what the runbook used to do: a bare copy, and a restore of a dump."""

import time
from pathlib import Path
from shutil import rmtree

from bench.plain import RESTORE_COMMAND, docker, until
from bench.stand import Stand
from domain.backups import Backup
from domain.errors import Unavailable

SCRATCH = "dr-{}-scratch"
_COPY = 'cp -a /backup/. "$PGDATA"/ && touch "$PGDATA/recovery.signal"'
_READY = ("psql", "-AtX", "-U", "postgres", "-c", "SELECT NOT pg_is_in_recovery()")


def copy_and_start(on: Stand, backup: Backup) -> dict[str, float]:
    """Copy a base backup into a volume, start a server on it, replay, promote; nothing is checked.

    Returns the seconds of the copy and those of the server until it takes writes.
    """
    server = on.facts().target.postgres
    shelf = Path(on.facts().target.shelf)
    name = SCRATCH.format(on.name)
    label = ("--label", f"dr.stack={on.name}")
    user = ("--user", f"{server.uid}:{server.gid}")
    mount = ("-v", f"{name}:{server.mount_path}")
    try:
        began = time.monotonic()
        docker("volume", "create", *label, name)
        docker("run", "--rm", *user, *mount, "-v", f"{shelf / backup.path}:/backup:ro",
               "--entrypoint", "sh", server.image_id, "-c", _COPY)  # fmt: skip
        copied = time.monotonic()
        docker("run", "-d", "--name", name, "--network", "none", "--shm-size", "1g", *label, *user, *mount,
               "-v", f"{shelf}/postgres/wal:/archive:ro", "--entrypoint", "postgres", server.image_id,
               "--max_connections=200", "--shared_buffers=512MB", "--unix_socket_directories=/tmp",
               f"--{RESTORE_COMMAND}")  # fmt: skip
        ask = ("exec", "-e", "PGHOST=/tmp", name, *_READY)
        until(lambda: docker(*ask, may_fail=True) == "t", "the bare server takes writes")
        return {"copy": copied - began, "start and replay": time.monotonic() - copied}
    finally:
        docker("rm", "-f", "-v", name, may_fail=True)
        docker("volume", "rm", "-f", name, may_fail=True)


def base_to_disk(on: Stand) -> float:
    """Run ``pg_basebackup`` as the product does, to the same disk, and nothing else; return its seconds."""
    server = on.facts().target.postgres
    folder = on.settings.state / "bare-base"
    folder.mkdir()
    folder.chmod(0o777)
    mount = ("-v", f"{folder}:/bare")
    user = ("--user", f"{server.uid}:{server.gid}")
    try:
        began = time.monotonic()
        docker("run", "--rm", *user, *mount, "--network", f"container:{server.container_name}",
               "--entrypoint", "pg_basebackup", server.image_id, "-h", "127.0.0.1", "-p", str(server.port),
               "-U", server.user, "-w", "-D", "/bare/data", "-X", "stream", "-c", "fast",
               "--manifest-checksums=SHA256")  # fmt: skip
        return time.monotonic() - began
    finally:
        rmtree(folder)


def restore_dump(on: Stand) -> dict[str, float]:
    """Dump the chat as the runbook did every day, and restore it into a new server, once.

    Returns the seconds of both, and the size of the dump in bytes.
    """
    server = on.facts().target.postgres
    name = SCRATCH.format(on.name)
    folder = on.settings.state / "dump"
    folder.mkdir()
    folder.chmod(0o777)
    try:
        docker("volume", "create", "--label", f"dr.stack={on.name}", name)
        docker("run", "-d", "--name", name, "--label", f"dr.stack={on.name}", "--shm-size", "1g",
               "--network", f"container:{server.container_name}", "-e", "POSTGRES_PASSWORD=scratch",
               "-e", f"POSTGRES_DB={server.database}", "-v", f"{name}:{server.mount_path}",
               "-v", f"{folder}:/dump", server.image_id, "postgres", "--port=5433",
               "--shared_buffers=256MB", "--max_connections=200")  # fmt: skip
        scratch = ("-h", "127.0.0.1", "-p", "5433", "-U", "postgres", "-d", server.database)
        ready = ("exec", name, "psql", "-AtX", *scratch, "-c", "SELECT 1")
        until(lambda: docker(*ready, may_fail=True) == "1", "the scratch server answers")
        began = time.monotonic()
        docker("exec", name, "pg_dump", "-Fc", "-h", "127.0.0.1", "-U", server.user, "-d", server.database,
               "-f", "/dump/daily.dump")  # fmt: skip
        dumped = time.monotonic()
        docker("exec", name, "pg_restore", *scratch, "--no-owner", "/dump/daily.dump", may_fail=True)
        restored = time.monotonic()
        count = "SELECT count(*) FROM nchat_messages"
        there = docker("exec", name, "psql", "-AtX", *scratch, "-c", count)
        if int(there) < int(on.sql("SELECT count(*) FROM nchat_messages")[0][0]) - 1000:
            raise Unavailable("the dump was not restored whole", code="bench-failed")
        size = (folder / "daily.dump").stat().st_size
        return {"dump": dumped - began, "restore": restored - dumped, "bytes": float(size)}
    finally:
        docker("rm", "-f", "-v", name, may_fail=True)
        docker("volume", "rm", "-f", name, may_fail=True)
