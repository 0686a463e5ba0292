"""A real PostgreSQL server as a compose project would run it, small and thrown away afterwards."""

import secrets
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import docker
import psycopg
import pytest

from activities.engine import Engine
from activities.postgres.dump import Dumps
from activities.postgres.sql import Sql
from activities.secrets import Secrets
from activities.tokens import Tokens
from domain.names import COMPOSE_PROJECT, COMPOSE_SERVICE, LABEL_STACK
from domain.order import PostgresTarget, ServiceTarget, Target, VolumeMount
from domain.stack import Kind
from tests.hands.images import lab_image

UID = 999
PGDATA = "/var/lib/postgresql/data"
DATABASE = "chat"
PASSWORD = "not-a-secret: a\\test"
SCHEMA = """
CREATE TABLE users (id int PRIMARY KEY, name text NOT NULL UNIQUE);
CREATE TABLE channels (id int PRIMARY KEY, owner_id int NOT NULL REFERENCES users, topic text NOT NULL);
CREATE TABLE messages (
    id bigint PRIMARY KEY,
    channel_id int NOT NULL REFERENCES channels,
    author_id int NOT NULL REFERENCES users,
    reply_to bigint REFERENCES messages,
    body text NOT NULL,
    sent_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX messages_by_channel ON messages (channel_id, sent_at);
CREATE TABLE drafts (id int PRIMARY KEY, body text NOT NULL);
INSERT INTO users SELECT n, 'user ' || n FROM generate_series(1, 200) n;
INSERT INTO channels SELECT n, n, 'topic ' || n FROM generate_series(1, 50) n;
INSERT INTO messages (id, channel_id, author_id, reply_to, body)
    SELECT n, 1 + n % 50, 1 + n % 200, CASE WHEN n % 7 = 0 THEN n - 1 END, repeat(md5(n::text), 4)
    FROM generate_series(1, 20000) n;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN NEW.sent_at = clock_timestamp(); RETURN NEW; END';
CREATE TRIGGER messages_touch BEFORE UPDATE ON messages FOR EACH ROW EXECUTE FUNCTION touch();
ALTER TABLE drafts ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_drafts ON drafts USING (true);
"""
PROTECTION = """
CREATE EXTENSION amcheck;
CREATE SCHEMA dr;
CREATE TABLE dr.marker (n bigint PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp());
"""


@dataclass(frozen=True)
class Server:
    """A running server and the few things a test does to it by hand."""

    target: Target
    client: docker.DockerClient

    def connect(self, database: str = DATABASE) -> psycopg.Connection[tuple[object, ...]]:
        """Open an autocommit connection of our own; close it by ``with``."""
        return psycopg.connect(
            host="127.0.0.1",
            port=self.target.postgres.host_port,
            user="postgres",
            password=PASSWORD,
            dbname=database,
            autocommit=True,
            connect_timeout=2,
        )

    def ask(self, query: str) -> object:
        """Return the first value of a query's first row."""
        with self.connect() as connection:
            row = connection.execute(query.encode()).fetchone()
        return None if row is None else row[0]

    def do(self, statement: str) -> None:
        """Execute a statement."""
        with self.connect() as connection:
            connection.execute(statement.encode())

    def mark(self, number: int) -> None:
        """Write one ledger marker."""
        with self.connect() as connection:
            connection.execute("INSERT INTO dr.marker (n) VALUES (%s)", [number])

    def archive_all(self) -> None:
        """Close the open segment, and wait until the archive has it."""
        name = str(self.ask("SELECT pg_walfile_name(pg_switch_wal())"))
        wal = Path(self.target.shelf) / "postgres" / "wal"
        deadline = time.monotonic() + 30
        while not any(wal.glob(f"*/{name}")):
            assert time.monotonic() < deadline, f"{name} did not reach the archive"
            time.sleep(0.1)

    def wait(self) -> None:
        """Wait until the server answers, a minute at most."""
        deadline = time.monotonic() + 60
        while True:
            try:
                self.ask("SELECT 1")
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    logs = self.client.api.logs(self.target.postgres.container_id, tail=30).decode()
                    pytest.fail(f"the server did not start:\n{logs}")
                time.sleep(0.2)
            else:
                return

    @property
    def volume_path(self) -> Path:
        """Where the volume lies on the host."""
        return Path(self.client.api.inspect_volume(self.target.postgres.volume)["Mountpoint"])


@pytest.fixture(scope="session")
def engine(client: docker.DockerClient) -> Engine:
    return Engine(client)


@pytest.fixture(scope="session")
def image_id(client: docker.DockerClient) -> str:
    """Return the lab's PostgreSQL image, which ``infra.images`` builds."""
    return lab_image(client, "postgres")


@pytest.fixture
def state() -> Iterator[Path]:
    """Give out a short path: the sockets of copies lie below it, and theirs may not be long."""
    with tempfile.TemporaryDirectory(prefix="dr-") as made:
        yield Path(made)


@pytest.fixture
def sql(engine: Engine) -> Sql:
    return Sql(Secrets(engine))


@pytest.fixture
def tokens(state: Path) -> Tokens:
    return Tokens(state)


@pytest.fixture
def dumps(engine: Engine, sql: Sql, tokens: Tokens, state: Path) -> Dumps:
    return Dumps(engine, sql, tokens, state)


class Clusters:
    """Data directories of servers that were initialised once and stopped cleanly; tests get copies."""

    def __init__(self, client: docker.DockerClient, image_id: str, root: Path) -> None:
        self._client = client
        self._image_id = image_id
        self._root = root

    def of(self, *, protected: bool) -> Path:
        """Return the directory of such a server, made when it is asked for first."""
        kept = self._root / ("protected" if protected else "bare")
        if not kept.is_dir():
            with running_server(
                self._client, self._image_id, self._root / "shelf", protected=protected
            ) as made:
                self._client.api.stop(made.target.postgres.container_id, timeout=60)
                _copy(made.volume_path, kept)
        return kept


@pytest.fixture(scope="session")
def clusters(
    client: docker.DockerClient, image_id: str, tmp_path_factory: pytest.TempPathFactory
) -> Clusters:
    return Clusters(client, image_id, tmp_path_factory.mktemp("clusters"))


@pytest.fixture
def server(
    client: docker.DockerClient, image_id: str, clusters: Clusters, tmp_path: Path
) -> Iterator[Server]:
    """Start a protected server of this test alone."""
    cluster = clusters.of(protected=True)
    with running_server(client, image_id, tmp_path / "shelf", cluster=cluster) as made:
        yield made


@pytest.fixture
def bare_server(
    client: docker.DockerClient, image_id: str, clusters: Clusters, tmp_path: Path
) -> Iterator[Server]:
    """Start a server that was never protected."""
    cluster = clusters.of(protected=False)
    with running_server(client, image_id, tmp_path / "shelf", cluster=cluster) as made:
        yield made


@pytest.fixture
def target(server: Server) -> Target:
    return server.target


@contextmanager
def running_server(
    client: docker.DockerClient,
    image_id: str,
    shelf: Path,
    *,
    protected: bool = True,
    cluster: Path | None = None,
) -> Iterator[Server]:
    """Start a server with data, give it out, and remove all that was made for it.

    With a ``cluster`` it starts on a copy of that one and is the same database system as it; without, it
    is a database system of its own.
    """
    project = f"drtest-{secrets.token_hex(4)}"
    try:
        container = _start(client, image_id, project, cluster)
        target = describe(client, container, project, shelf)
        server = Server(target, client)
        server.wait()
        if cluster is None:
            server.do(SCHEMA + (PROTECTION if protected else ""))
        yield server
    finally:
        _remove(client, project)


def describe(client: docker.DockerClient, container: str, project: str, shelf: Path) -> Target:
    """Return the target as it is resolved from the container."""
    raw = client.api.inspect_container(container)
    port = int(raw["NetworkSettings"]["Ports"]["5432/tcp"][0]["HostPort"])
    volume = raw["Mounts"][0]["Name"]
    server = PostgresTarget(
        service="postgres",
        container_id=raw["Id"],
        container_name=raw["Name"].lstrip("/"),
        image_id=raw["Image"],
        volume=volume,
        mount_path=PGDATA,
        pgdata=PGDATA,
        uid=UID,
        gid=UID,
        host_port=port,
        network=f"{project}_default",
        database=DATABASE,
        password="container:postgres:POSTGRES_PASSWORD",
        arguments=tuple(raw["Config"]["Cmd"] or ()),
        volumes_root=str(Path(client.info()["DockerRootDir"]) / "volumes"),
    )
    service = ServiceTarget(
        name="postgres",
        kind=Kind.POSTGRES,
        container_id=raw["Id"],
        container_name=server.container_name,
        image=raw["Config"]["Image"],
        image_id=raw["Image"],
        state=raw["State"]["Status"],
        volumes=(VolumeMount(volume=volume, path=PGDATA),),
        published={"5432": port},
    )
    return Target(stack=project, project=project, postgres=server, services=(service,), shelf=str(shelf))


def _start(client: docker.DockerClient, image_id: str, project: str, cluster: Path | None) -> str:
    labels = {COMPOSE_PROJECT: project, "com.docker.compose.oneoff": "False"}
    made = client.api.create_volume(f"{project}_postgres_data", labels={COMPOSE_PROJECT: project})
    if cluster is not None:
        _copy(cluster, Path(made["Mountpoint"]))
    client.networks.create(f"{project}_default", labels={COMPOSE_PROJECT: project})
    api = client.api
    volume = f"{project}_postgres_data"
    host = api.create_host_config(
        binds=[f"{volume}:{PGDATA}:rw"],
        port_bindings={5432: ("127.0.0.1", _free_port())},
        network_mode=f"{project}_default",
        shm_size="256m",
        restart_policy={"Name": "unless-stopped"},
    )
    made = api.create_container(
        image_id,
        ["postgres", "-c", "listen_addresses=*", "-c", "max_connections=60", "-c", "shared_buffers=64MB"],
        name=f"{project}_postgres",
        labels={**labels, COMPOSE_SERVICE: "postgres", "dr.lab": "true"},
        environment={"POSTGRES_PASSWORD": PASSWORD, "POSTGRES_DB": DATABASE},
        ports=[5432],
        host_config=host,
    )
    api.start(made["Id"])
    return str(made["Id"])


def _copy(cluster: Path, into: Path) -> None:
    """Copy a stopped data directory with its owners and modes."""
    into.mkdir(exist_ok=True)
    subprocess.run(["cp", "-a", "--reflink=auto", f"{cluster}/.", str(into)], check=True)


def _free_port() -> int:
    """Return a port of our own: one that Docker picks would change with each start."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _remove(client: docker.DockerClient, project: str) -> None:
    for label in (f"{LABEL_STACK}={project}", f"{COMPOSE_PROJECT}={project}"):
        for container in client.containers.list(all=True, filters={"label": label}):
            container.remove(force=True, v=False)
    for label in (f"{LABEL_STACK}={project}", f"{COMPOSE_PROJECT}={project}"):
        for volume in client.volumes.list(filters={"label": label}):
            volume.remove(force=True)
        for network in client.networks.list(filters={"label": label}):
            network.remove()
