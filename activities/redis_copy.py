"""A Redis server of our own without network, on a volume of its own, that loads a backup.

It is a replica of nobody: a replica never removes what has expired, so that the same files hold the same
keys whenever they are loaded. It answers on a socket that only its user enters.
"""

import hashlib
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from activities import plain_files
from activities.engine import ContainerState, Engine, Job
from activities.offsite_progress import Progress
from activities.pulse import beat
from activities.reading import Reading
from activities.redis_files import last_warnings, size_of
from activities.redis_server import LOADING, RedisServer, at_socket
from domain.errors import Refused, Unavailable, VerificationFailed
from domain.names import LABEL_ROLE, LABEL_STACK
from domain.order import ServiceTarget, Target
from domain.paths import host_path
from domain.redis_backups import AOF, SNAPSHOT, STORE, RedisFiles

VOLUME = "/volume"
UID = 999
_SOCKETS = "/sock"
_SOCKET = "redis.sock"
_LONGEST_SOCKET_PATH = 100
_START_SECONDS = 3600.0
_POLL_SECONDS = 0.1
_SHARE_OF_MEMORY = 0.6
_LEAST_BYTES = 64 * 1024 * 1024
# $1 owner, $2 data directory in the volume, then pairs: what of the backup, and its name here.
_LOAD = """
set -eu
owner=$1 data=$2
shift 2
mkdir -p "$data"
while [ $# -gt 0 ]; do
    rm -rf "$data/$2"
    cp -R "/from/$1" "$data/$2"
    shift 2
done
chown -R "$owner" /volume
chmod -R u+rwX /volume
sync
"""


@dataclass(frozen=True)
class RedisCopy:
    """One such server; its name says for what it was made, so that what is left of it is found."""

    engine: Engine
    state: Path
    """DR_STATE."""
    image_id: str
    name: str
    volume: str
    labels: Mapping[str, str]
    files: RedisFiles = field(default_factory=RedisFiles)
    inside: str = ""
    """Where the data directory lies in the volume."""
    uid: int = UID
    gid: int = UID

    @property
    def sockets(self) -> Path:
        """Return the directory of its socket on the host."""
        short = hashlib.sha256(self.name.encode()).hexdigest()[:8]
        return self.state.resolve() / "sockets" / short

    @property
    def _data(self) -> str:
        return f"{VOLUME}/{self.inside}" if self.inside else VOLUME

    def load(self, directory: Path, kind: str) -> None:
        """Copy the files of a backup into the volume, which is made when it is missing."""
        names = (SNAPSHOT, self.files.snapshot)
        if kind == AOF:
            names = (_directory_in(directory), self.files.aof_directory)
        self.engine.ensure_volume(self.volume, self.labels)
        job = Job(
            name=f"{self.name}-load",
            image_id=self.image_id,
            entrypoint=("sh",),
            command=("-c", _LOAD, "dr", f"{self.uid}:{self.gid}", self._data, *names),
            user="0:0",
            binds={self.volume: f"{VOLUME}:rw", host_path(str(directory), "the backup"): "/from:ro"},
            labels=self.labels,
            capabilities=("DAC_OVERRIDE", "CHOWN", "FOWNER"),
        )
        self.engine.remove(job.name, force=True)
        said = f"copying {directory.name} into {self.volume}"
        reading = Reading(self.engine, job.name, said, size_of(directory))
        state, log, _ = self.engine.follow(job, reading, limit_seconds=24 * 3600.0)
        self.engine.remove(state.id, force=True)
        if "No space left" in log:
            raise Refused(f"the disk is full: {said}", where=self.volume, code="no-room")
        if state.exit_code != 0:
            raise Unavailable(f"{said} failed: {log.strip()[-200:]}", where=self.volume, code="redis-copy")

    @contextmanager
    def serving(self, kind: str) -> Iterator[RedisServer]:
        """Give out the server once it has loaded what is in its volume; it is removed afterwards.

        Raises ``VerificationFailed`` (``restore-failed``) when it does not load it.
        """
        self._remove_server()
        self._make_sockets()
        try:
            self.engine.ensure_job(self._job(append_only=kind == AOF))
            with at_socket(str(self.sockets / _SOCKET), self.name) as server:
                self._wait(server)
                yield server
        finally:
            self._remove_server()

    def remove(self) -> None:
        """Remove all of it, the volume too; nothing there is fine, a stranger of its name is left alone."""
        self._remove_server()
        volume = self.engine.volume(self.volume)
        if volume is not None and self._is_ours(volume.get("Labels") or {}):
            self.engine.remove_volume(self.volume)

    def _remove_server(self) -> None:
        for name in (f"{self.name}-load", self.name):
            found = self.engine.look(name)
            if found is not None and self._is_ours(found.labels):
                self.engine.remove(found.id, force=True)
        if self.sockets.is_dir() and not self.sockets.is_symlink():
            shutil.rmtree(self.sockets)

    def _is_ours(self, labels: Mapping[str, str]) -> bool:
        return all(labels.get(key) == value for key, value in self.labels.items())

    def _make_sockets(self) -> None:
        if len(str(self.sockets)) > _LONGEST_SOCKET_PATH - len(_SOCKET) - 1:
            raise Refused(
                "the path of the server's socket is too long",
                where=str(self.sockets),
                hint="choose a shorter DR_STATE",
                code="socket-path",
            )
        self.sockets.parent.mkdir(parents=True, exist_ok=True)
        plain_files.own(self.sockets, self.uid, self.gid)

    def _job(self, *, append_only: bool) -> Job:
        settings = {
            "port": "0",
            "unixsocket": f"{_SOCKETS}/{_SOCKET}",
            "unixsocketperm": "700",
            "dir": self._data,
            "dbfilename": self.files.snapshot,
            "appendonly": "yes" if append_only else "no",
            "appendfilename": self.files.aof_name,
            # A cut file is not mended in silence.
            "aof-load-truncated": "no",
            "auto-aof-rewrite-percentage": "0",
            "save": "",
            "maxmemory": "0",
            "databases": "4096",
            "replicaof": "127.0.0.1 1",
            "daemonize": "no",
            "logfile": "",
        }
        if self.files.aof_directory != RedisFiles().aof_directory:
            settings["appenddirname"] = self.files.aof_directory
        words = [word for key, value in settings.items() for word in (f"--{key}", *_values(key, value))]
        return Job(
            name=self.name,
            image_id=self.image_id,
            entrypoint=("redis-server",),
            command=tuple(words),
            user=f"{self.uid}:{self.gid}",
            binds={self.volume: f"{VOLUME}:rw", str(self.sockets): f"{_SOCKETS}:rw"},
            labels=self.labels,
            memory_bytes=_memory_share(),
        )

    def _wait(self, server: RedisServer) -> None:
        deadline = time.monotonic() + _START_SECONDS
        progress = Progress("the copy loads", None)
        while True:
            try:
                state = server.info("persistence")
                if not state.get("loading"):
                    return
                total = int(state.get("loading_total_bytes", 0))
                progress.tell(int(state.get("loading_loaded_bytes", 0)), total or None)
            except Unavailable as error:
                found = self.engine.look(self.name)
                if found is None or found.status in {"exited", "dead"}:
                    raise self._failed(found) from None
                if time.monotonic() > deadline:
                    raise
                beat("the copy loads" if error.code == LOADING else "the copy starts")
            time.sleep(_POLL_SECONDS)

    def _failed(self, found: ContainerState | None) -> Refused | VerificationFailed:
        if found is not None and found.raw["State"].get("OOMKilled"):
            return Refused(
                "the host has not enough free memory to load the backup",
                where=self.name,
                hint="free some, or verify it on another host",
                code="no-memory",
            )
        log = self.engine.logs(self.name).splitlines() if found is not None else []
        said = last_warnings(log) or (log[-1] if log else "it does not say why")
        return VerificationFailed(
            f"a server does not load it: {said[:300]}", where=self.name, code="restore-failed"
        )


def copy_of(
    engine: Engine,
    state: Path,
    target: Target,
    service: ServiceTarget,
    files: RedisFiles,
    entry_id: str,
    purpose: str,
) -> RedisCopy:
    """Return the throwaway server that belongs to one backup."""
    name = f"dr-{target.stack}-{STORE}-{purpose}-{entry_id}"
    return RedisCopy(
        engine=engine,
        state=state,
        image_id=service.image_id,
        name=name,
        volume=name,
        labels=copy_labels(target, purpose),
        files=files,
    )


def copy_labels(target: Target, purpose: str) -> dict[str, str]:
    """Return the labels of the throwaway servers of one purpose."""
    return {LABEL_STACK: target.stack, LABEL_ROLE: f"redis-{purpose}-copy"}


def _values(key: str, value: str) -> tuple[str, ...]:
    return tuple(value.split()) if key == "replicaof" else (value,)


def _directory_in(directory: Path) -> str:
    """Return the name of the one directory in a backup of append-only files."""
    found = [path.name for path in directory.iterdir() if path.is_dir() and not path.is_symlink()]
    if len(found) != 1:
        raise VerificationFailed(
            "the backup has no directory of append-only files", where=directory.name, code="restore-failed"
        )
    return found[0]


def _memory_share() -> int:
    """Return how much memory a copy may take, so that it is killed and not the stack."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return max(int(int(line.split()[1]) * 1024 * _SHARE_OF_MEMORY), _LEAST_BYTES)
    return _LEAST_BYTES
