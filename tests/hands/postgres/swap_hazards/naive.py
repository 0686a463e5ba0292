"""What a runbook without care does: plain containers on volumes, programs believed by their exit status."""

import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from activities.engine import ContainerState, Executed
from domain.names import LABEL_STACK
from domain.recovery import Copy, FollowOrder
from tests.hands.postgres.conftest import PGDATA, UID
from tests.hands.postgres.scene import Scene

SEGMENT = 16 * 1024 * 1024
_RESTORE = "cp /archive/dr_recv_1/%f %p"
_ISOLATED = {
    "listen_addresses": "",
    "unix_socket_directories": "/sock",
    "archive_mode": "off",
    "max_connections": "60",
    "shared_buffers": "32MB",
    "wal_retrieve_retry_interval": "100ms",
    "restore_command": _RESTORE,
}


def until(true: Callable[[], object], what: str, seconds: float = 30) -> None:
    """Wait until it is true; fail with ``what`` after the time."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


@dataclass(frozen=True)
class Plain:
    """A container that no hand of ours made."""

    scene: Scene
    id: str
    socket: Path

    def state(self) -> ContainerState:
        found = self.scene.engine.look(self.id)
        assert found is not None
        return found

    def run(self, *words: str, user: str = f"{UID}:{UID}") -> Executed:
        """Run a program inside; PostgreSQL's own find the socket."""
        environment = {"PGHOST": "/sock", "PGUSER": "postgres"}
        return self.scene.engine.run(self.id, words, user=user, environment=environment)

    def log(self) -> str:
        return self.scene.engine.logs(self.id, tail="all")

    def connect(self, database: str = "chat") -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            host=str(self.socket), user="postgres", dbname=database, autocommit=True, connect_timeout=2
        )

    def ask(self, query: str, database: str = "chat") -> object:
        with self.connect(database) as connection:
            row = connection.execute(query.encode()).fetchone()
        return None if row is None else row[0]

    def answers(self) -> bool:
        try:
            return self.ask("SELECT 1") == 1
        except psycopg.OperationalError:
            return False

    def wait(self) -> "Plain":
        """Wait until it lets us in."""
        deadline = time.monotonic() + 30
        while not self.answers():
            assert time.monotonic() < deadline, self.log()[-2000:]
            time.sleep(0.1)
        return self

    def remove(self) -> None:
        self.scene.engine.remove(self.id, force=True)


def container(  # noqa: PLR0913 - what Docker can be told, by name
    scene: Scene,
    command: tuple[str, ...],
    binds: Mapping[str, str],
    *,
    restart: str = "no",
    network: str = "none",
    image: str = "",
    user: str = f"{UID}:{UID}",
    stop_signal: str = "SIGINT",
    labels: Mapping[str, str] | None = None,
) -> Plain:
    """Start a container of the server's image; the server's fixture removes it."""
    api = scene.server.client.api
    socket = scene.state / f"n{secrets.token_hex(2)}"
    socket.mkdir(mode=0o700)
    shutil.chown(socket, UID, UID)
    host = api.create_host_config(
        binds=[*(f"{source}:{where}" for source, where in binds.items()), f"{socket}:/sock:rw"],
        network_mode=network,
        restart_policy={"Name": restart},
    )
    made = api.create_container(
        image or scene.target.postgres.image_id,
        entrypoint=[command[0]],
        command=list(command[1:]),
        user=user,
        labels={LABEL_STACK: scene.target.stack, **(labels or {})},
        host_config=host,
        stop_signal=stop_signal,
    )
    api.start(made["Id"])
    return Plain(scene, str(made["Id"]), socket)


def sleeper(scene: Scene, volume: str, **more: str) -> Plain:
    """Start a container that has the volume mounted and does nothing."""
    return container(scene, ("sleep", "300"), {volume: "/mnt:rw"}, **more)  # type: ignore[arg-type]


def server_on(scene: Scene, volume: str, **settings: str) -> Plain:
    """Start a PostgreSQL on a volume as anybody could, with the archive beside it."""
    words = [f"--{key}={value}" for key, value in {**_ISOLATED, **settings}.items()]
    binds = {volume: f"{PGDATA}:rw", f"{scene.target.shelf}/postgres/wal": "/archive:ro"}
    return container(scene, ("postgres", "-D", PGDATA, *words), binds)


def copy_on(scene: Scene, volume: str, signal: str = "standby.signal", **settings: str) -> Plain:
    """Start a restored volume as a common runbook does: a signal file and a ``cp``."""
    path = data_of(scene, volume) / signal
    path.touch()
    shutil.chown(path, UID, UID)
    return server_on(scene, volume, **settings)


@contextmanager
def doomed_session(scene: Scene) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """Give out a session whose server is killed under it."""
    session = scene.server.connect()
    try:
        yield session
    finally:
        session.close()


def data_of(scene: Scene, volume: str) -> Path:
    """Return where a volume's data lies on the host."""
    return Path(scene.engine.root()) / "volumes" / volume / "_data"


def archive_of(scene: Scene, slot: str = "dr_recv_1") -> Path:
    return Path(scene.target.shelf) / "postgres" / "wal" / slot


def exchanged_by_hand(scene: Scene, one: str, other: str) -> None:
    """Exchange two volumes in one rename, as the command line does it."""
    job = container(
        scene,
        ("mv", "--exchange", "-T", f"/volumes/{one}/_data", f"/volumes/{other}/_data"),
        {f"{scene.engine.root()}/volumes": "/volumes:rw"},
        image=scene.tools,
        user="0:0",
    )
    until(lambda: job.state().status == "exited", "the exchange does not end")
    assert job.state().exit_code == 0, job.log()
    job.remove()


def add_users(scene: Scene, *numbers: int) -> None:
    """Commit users, each in a closed segment of the archive."""
    for number in numbers:
        scene.server.do(f"INSERT INTO users VALUES ({number}, 'later {number}')")  # noqa: S608 - a number
        scene.archive_all()


def on_copy(scene: Scene, copy: Copy, query: str) -> object:
    """Ask the hand's copy."""
    with scene.sql.copy(copy, timeout_seconds=20) as connection:
        row = connection.execute(query.encode()).fetchone()
    return None if row is None else row[0]


def followed(scene: Scene, attempt: int = 1, **more: object) -> Copy:
    """Restore and follow with more in the order than the scene gives."""
    volume = scene.restore(attempt).volume
    order = {
        "recovery_id": scene.rid,
        "target": scene.target,
        "backup": scene.backup,
        "volume": volume,
        "timeline": 1,
        **more,
    }
    return scene.following.ensure_following(FollowOrder.model_validate(order))
