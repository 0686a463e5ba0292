"""A real Redis as a compose project would run it, small and thrown away afterwards."""

import secrets
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import pytest
import redis

from activities.engine import Engine
from activities.redis_backup import RedisBackups
from activities.redis_proof import RedisProof
from activities.redis_restore import RedisRestoring
from activities.secrets import Secrets
from activities.tokens import Tokens
from domain.dumps import EntryTargetOrder
from domain.entries import Entry
from domain.names import COMPOSE_PROJECT, COMPOSE_SERVICE, LABEL_RECOVERY, LABEL_STACK
from domain.order import ServiceTarget, Target, VolumeMount
from domain.redis_restore import RedisRestoreOrder
from domain.stack import Kind
from domain.store_backups import StoreBackupOrder, StoreBackups
from tests.hands.images import lab_image
from tests.hands.targets import bare_target

PASSWORD = "word-of-a-test"
RID = "20261122T1600Z-0123abcd"


@dataclass
class Store:
    """A running Redis, the hands that act on it, and the few things a test does by hand."""

    client: docker.DockerClient
    project: str
    state: Path
    tools: str
    user: str | None = None
    password: str | None = None
    secret: str | None = None
    """What the stack file says the password is, when that is another one."""
    engine: Engine = field(init=False)

    def __post_init__(self) -> None:
        self.engine = Engine(self.client)
        self.shelf = self.state / "shelf"
        self.word = self.state / "word"
        self.say(self.secret if self.secret is not None else self.password)

    def say(self, password: str | None) -> None:
        """Let the stack file know this password."""
        self.word.write_text(password or "")
        self._says = password is not None

    @property
    def name(self) -> str:
        return f"{self.project}_redis"

    @property
    def volume(self) -> str:
        return f"{self.project}_redis_data"

    @property
    def raw(self) -> dict[str, Any]:
        return dict(self.client.api.inspect_container(self.name))

    @property
    def data(self) -> Path:
        """Where the volume lies on the host."""
        return Path(self.client.api.inspect_volume(self.volume)["Mountpoint"])

    @property
    def port(self) -> int:
        ports = self.raw["HostConfig"]["PortBindings"]
        return int(ports["6379/tcp"][0]["HostPort"])

    @property
    def target(self) -> Target:
        """Return the target as it is resolved from the container."""
        raw = self.raw
        service = ServiceTarget(
            name="redis",
            kind=Kind.REDIS,
            container_id=raw["Id"],
            container_name=self.name,
            image=raw["Config"]["Image"],
            image_id=raw["Image"],
            state=raw["State"]["Status"],
            restart_policy="unless-stopped",
            volumes=(VolumeMount(volume=self.volume, path="/data"),),
            published={"6379": self.port},
            user=self.user,
            secrets={"password": f"file:{self.word}"} if self._says else {},
        )
        return bare_target(self.shelf, service, stack=self.project, project=self.project)

    def connect(self) -> "redis.Redis":
        """Return a client of the test's own."""
        return redis.Redis(
            "127.0.0.1", self.port, username=self.user, password=self.password, socket_timeout=30
        )

    def wait(self) -> None:
        """Wait until it answers and has loaded, a minute at most."""
        deadline = time.monotonic() + 60
        while True:
            try:
                with self.connect() as client:
                    client.get("x")
            except redis.RedisError:
                if time.monotonic() > deadline:
                    pytest.fail(self.log())
                time.sleep(0.1)
            else:
                return

    def log(self) -> str:
        return str(self.client.api.logs(self.name, tail=30).decode())

    def fill(self, keys: int = 200) -> None:
        """Put a key of every type into it, and many of one."""
        with self.connect() as client, client.pipeline(transaction=False) as many:
            for number in range(keys):
                many.set(f"key:{number}", f"value {number}")
            many.rpush("queue", "one", "two", "three")
            many.hset("job", mapping={"id": "1", "state": "waiting"})
            many.sadd("members", "anna", "bert")
            many.zadd("delayed", {"later": 2.5, "soon": 1})
            many.xadd("events", {"what": "made"}, id="1-1")
            many.set(b"\xff\x00binary", b"\x00\x01")
            many.set("session", "token", ex=3600)
            many.execute()

    # -- hands --------------------------------------------------------------------------------------------

    @property
    def backups(self) -> RedisBackups:
        return RedisBackups(self.engine, Secrets(self.engine), Tokens(self.state), self.state)

    @property
    def proof(self) -> RedisProof:
        return RedisProof(self.engine, Tokens(self.state), self.state)

    @property
    def restoring(self) -> RedisRestoring:
        return RedisRestoring(self.engine, Secrets(self.engine), Tokens(self.state), self.state, self.tools)

    def back_up(self, label: str = "one") -> StoreBackups:
        return self.backups.ensure_redis_backup(StoreBackupOrder(target=self.target, label=label))

    def restore_of(self, entry: Entry, **other: Any) -> RedisRestoreOrder:
        return RedisRestoreOrder(target=self.target, entry_id=entry.id, recovery_id=RID, **other)

    def entry_order(self, entry: Entry) -> EntryTargetOrder:
        return EntryTargetOrder(target=self.target, entry_id=entry.id)

    def left(self) -> list[str]:
        """Return what hands of ours left: containers and volumes."""
        mine = f"{LABEL_STACK}={self.project}"
        containers = [one.name for one in self.engine.labelled(mine)]
        return sorted(containers + [str(one["Name"]) for one in self.engine.volumes(mine)])

    def stop(self) -> None:
        self.client.api.stop(self.name, timeout=20)

    def start(self) -> None:
        self.client.api.start(self.name)
        self.wait()


Start = Callable[..., Store]


@pytest.fixture
def state() -> Iterator[Path]:
    """Give out a short path: the sockets of copies lie below it, and theirs may not be long."""
    with tempfile.TemporaryDirectory(prefix="dr-") as made:
        yield Path(made)


@pytest.fixture
def start(client: docker.DockerClient, state: Path) -> Iterator[Start]:
    """Give out what starts a Redis of this test alone, with arguments of its own."""
    with _started(client, state) as made:
        yield made


@pytest.fixture
def store(start: Start) -> Store:
    """Start a Redis with its append-only files on, as the stack has it, with keys of every type."""
    made = start("--appendonly", "yes", "--save", "")
    made.fill()
    return made


@contextmanager
def _started(client: docker.DockerClient, state: Path) -> Iterator[Start]:
    project = f"drtest-{secrets.token_hex(4)}"

    def make(
        *arguments: str, options: dict[str, str] | None = None, wait: bool = True, **given: Any
    ) -> Store:
        store = Store(client, project, state, lab_image(client, "tools"), **given)
        client.api.create_volume(store.volume, driver_opts=options, labels={COMPOSE_PROJECT: project})
        host = client.api.create_host_config(
            binds=[f"{store.volume}:/data:rw"],
            port_bindings={6379: ("127.0.0.1", _free_port())},
            restart_policy={"Name": "unless-stopped"},
        )
        words = ["redis-server", *arguments]
        if store.password and store.user is None:
            words += ["--requirepass", store.password]
        client.api.create_container(
            lab_image(client, "redis"),
            words,
            name=store.name,
            labels={COMPOSE_PROJECT: project, COMPOSE_SERVICE: "redis", "com.docker.compose.oneoff": "False"},
            ports=[6379],
            host_config=host,
        )
        client.api.start(store.name)
        store.wait()
        return store

    try:
        yield make
    finally:
        _remove(client, project)


def _remove(client: docker.DockerClient, project: str) -> None:
    labels = (f"{LABEL_STACK}={project}", f"{COMPOSE_PROJECT}={project}")
    for label in labels:
        for container in client.containers.list(all=True, filters={"label": label}):
            container.remove(force=True, v=False)
    for label in labels:
        for volume in client.volumes.list(filters={"label": label}):
            volume.remove(force=True)
    assert not client.volumes.list(filters={"label": f"{LABEL_RECOVERY}={project}"})


def _free_port() -> int:
    """Return a port of our own: one that Docker picks would change with each start."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
