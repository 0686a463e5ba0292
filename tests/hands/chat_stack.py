"""A small chat stack for the hands that look beyond PostgreSQL: real containers, thrown away afterwards."""

import io
import json
import secrets
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import docker
import httpx
import psycopg
from minio import Minio

from activities.containers import Containers
from activities.engine import Engine
from domain.names import COMPOSE_PROJECT, COMPOSE_SERVICE
from domain.order import Facts, StackOrder
from tests.hands.images import lab_image

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "infra" / "lab" / "schema"
ADMIN = "admin-secret-of-a-test"
PASSWORD = "password-of-a-test"
KEY = "master-key-of-a-test"
DATABASE = f"postgres://postgres:{PASSWORD}@postgres:5432/nchat"
JWT = json.dumps({"type": "HS256", "key": "k" * 48})
NGINX = """
events {}
pid /tmp/nginx.pid;
http {
    access_log off;
    resolver 127.0.0.11 valid=1s;
    proxy_connect_timeout 1s;
    server {
        listen 80;
        location = /health { return 200 "ok"; }
        location /v1/auth/ { set $to auth:4000; rewrite ^/v1/auth(/.*)$ $1 break; proxy_pass http://$to; }
        location /v1/graphql { set $to hasura:8080; proxy_pass http://$to; }
        location /functions/ { set $to functions:3008; rewrite ^/functions(/.*)$ $1 break;
            proxy_pass http://$to; }
        location /search/ { set $to meilisearch:7700; rewrite ^/search(/.*)$ $1 break;
            proxy_pass http://$to; }
    }
}
"""
SHARED = {
    "HASURA_GRAPHQL_DATABASE_URL": DATABASE,
    "HASURA_GRAPHQL_GRAPHQL_URL": "http://hasura:8080/v1/graphql",
    "HASURA_GRAPHQL_ADMIN_SECRET": ADMIN,
    "HASURA_GRAPHQL_JWT_SECRET": JWT,
    "DATABASE_URL": DATABASE,
    "REDIS_URL": f"redis://:{PASSWORD}@redis:6379",
    "MEILISEARCH_URL": "http://meilisearch:7700",
    "MEILI_MASTER_KEY": KEY,
    "S3_ENDPOINT": "http://minio:9000",
    "S3_ACCESS_KEY": "access",
    "S3_SECRET_KEY": PASSWORD,
    "AUTH_CLIENT_URL": "http://localhost",
    "AUTH_SERVER_URL": "http://localhost",
    "AUTH_SMTP_HOST": "localhost",
    "LAB_USER_PASSWORD": PASSWORD,
}


@dataclass(frozen=True)
class Part:
    """One service of the stack: what its container is made from."""

    port: int
    needs: tuple[str, ...] = ()
    environment: Mapping[str, str] | None = None
    command: tuple[str, ...] | None = None


PARTS: Mapping[str, Part] = {
    "postgres": Part(
        5432,
        environment={"POSTGRES_PASSWORD": PASSWORD, "POSTGRES_DB": "nchat", "POSTGRES_USER": "postgres"},
        command=("postgres", "-c", "max_connections=80", "-c", "listen_addresses=*"),
    ),
    "redis": Part(
        6379,
        environment={"REDIS_PASSWORD": PASSWORD},
        command=("redis-server", "--appendonly", "yes", "--requirepass", PASSWORD),
    ),
    "minio": Part(
        9000,
        environment={"MINIO_ROOT_USER": "access", "MINIO_ROOT_PASSWORD": PASSWORD},
        command=("server", "/data"),
    ),
    "meilisearch": Part(7700, environment=SHARED),
    "hasura": Part(8080, ("postgres",), SHARED),
    "auth": Part(4000, ("postgres", "hasura"), SHARED),
    "functions": Part(3008, ("postgres", "hasura"), SHARED),
    "nginx": Part(80, ("hasura", "auth"), {}, ("nginx", "-g", "daemon off;")),
}


class ChatStack:
    """The running stack and the few things a test does to it by hand."""

    def __init__(self, client: docker.DockerClient, project: str, directory: Path) -> None:
        self.client = client
        self.engine = Engine(client)
        self.project = project
        self.directory = directory
        text = (ROOT / "infra" / "stack.yaml").read_text().replace("project: dr-lab", f"project: {project}")
        # Here Redis wants a password, so that its probe is shown to know one.
        text = text.replace("port: 6379\n", "port: 6379\n    password: container:redis:REDIS_PASSWORD\n")
        self.file = directory / "stack.yaml"
        self.file.write_text(text)

    def container(self, service: str) -> str:
        """Return the id of a service's container."""
        (found,) = self.engine.find(self.project, service)
        return found.id

    def facts(self) -> Facts:
        """Resolve the stack as a run does."""
        hand = Containers(self.engine, {"lab": self.file}, "lab", self.directory / "state")
        return hand.observe_stack(StackOrder(recovery_id=self.project))

    def port(self, service: str) -> int:
        """Return the port on this host."""
        raw = self.client.api.inspect_container(self.container(service))
        return int(raw["NetworkSettings"]["Ports"][f"{PARTS[service].port}/tcp"][0]["HostPort"])

    def connect(self) -> psycopg.Connection[tuple[object, ...]]:
        """Open an autocommit connection; close it by ``with``."""
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port("postgres"),
            user="postgres",
            password=PASSWORD,
            dbname="nchat",
            autocommit=True,
            connect_timeout=2,
        )

    def do(self, statement: str) -> None:
        """Execute a statement."""
        with self.connect() as connection:
            connection.execute(statement.encode())

    def status(self, service: str) -> str:
        """Return the state of a service's container."""
        return str(self.client.api.inspect_container(self.container(service))["State"]["Status"])

    def policy(self, service: str) -> str:
        """Return the restart policy of a service's container."""
        raw = self.client.api.inspect_container(self.container(service))
        return str(raw["HostConfig"]["RestartPolicy"]["Name"])


@contextmanager
def running_stack(client: docker.DockerClient, directory: Path) -> Iterator[ChatStack]:
    """Start the stack, give it out, and remove all that was made for it."""
    project = f"drtest-{secrets.token_hex(4)}"
    stack = ChatStack(client, project, directory)
    try:
        client.networks.create(f"{project}_default", labels={COMPOSE_PROJECT: project})
        for service in ("postgres", "redis", "minio", "meilisearch"):
            start_part(stack, service)
        until(lambda: stack.do("SELECT 1"))
        _fill(stack)
        for service in ("hasura", "auth", "functions", "nginx"):
            start_part(stack, service)
            if service == "hasura":
                until(
                    lambda: httpx.get(f"http://127.0.0.1:{stack.port('hasura')}/healthz").raise_for_status()
                )
                _track(stack)
        until(lambda: httpx.get(f"http://127.0.0.1:{stack.port('auth')}/healthz").raise_for_status())
        yield stack
    finally:
        remove_project(client, project)


def start_part(stack: ChatStack, service: str, project: str = "", name: str = "") -> str:
    """Start one container of the stack, labelled as compose labels it, and return its id."""
    part = PARTS[service]
    owner = project or stack.project
    volumes = {}
    if service == "postgres":
        volumes = {f"{owner}_postgres_data": {"bind": "/var/lib/postgresql/data", "mode": "rw"}}
        stack.client.api.create_volume(f"{owner}_postgres_data", labels={COMPOSE_PROJECT: owner})
    made = stack.client.containers.create(
        lab_image(stack.client, service),
        list(part.command) if part.command else None,
        name=name or f"{owner}-chat_{service}",
        environment=dict(part.environment or {}),
        labels={
            COMPOSE_PROJECT: owner,
            COMPOSE_SERVICE: service,
            "com.docker.compose.oneoff": "False",
            "com.docker.compose.depends_on": ",".join(f"{one}:service_healthy:false" for one in part.needs),
        },
        network=f"{stack.project}_default",
        networking_config={
            f"{stack.project}_default": stack.client.api.create_endpoint_config(aliases=[service])
        },
        ports={f"{part.port}/tcp": ("127.0.0.1", _free_port())},
        restart_policy={"Name": "unless-stopped"},  # type: ignore[arg-type]  # the stub wants a class of its own
        volumes=volumes,
        tmpfs={"/tmp": ""},  # noqa: S108 - inside the container
        init=service == "nginx",
    )
    if service == "nginx":
        made.put_archive("/etc/nginx", _archive("nginx.conf", NGINX.encode()))
    made.start()
    return str(made.id)


def remove_project(client: docker.DockerClient, project: str) -> None:
    """Remove the containers, volumes and networks of a test's project."""
    label = {"label": f"{COMPOSE_PROJECT}={project}"}
    for container in client.api.containers(all=True, filters=label):
        client.api.remove_container(container["Id"], force=True, v=True)
    for volume in client.api.volumes(filters=label)["Volumes"] or []:
        client.api.remove_volume(volume["Name"])
    for network in client.networks.list(filters=label):
        network.remove()


def until(act: Callable[[], object]) -> None:
    """Repeat until it raises nothing, a minute at most."""
    deadline = time.monotonic() + 60
    while True:
        try:
            act()
        except (psycopg.Error, httpx.HTTPError, AssertionError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


def _free_port() -> int:
    import socket  # noqa: PLC0415 - nothing else here needs it

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _archive(name: str, content: bytes) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = len(content), 0o644
        archive.addfile(entry, io.BytesIO(content))
    return held.getvalue()


def _fill(stack: ChatStack) -> None:
    for path in sorted(SCHEMA.glob("*.sql")):
        if "bulk" not in path.name:
            stack.do(path.read_text())
    stack.do(
        f"UPDATE auth.users SET password_hash = crypt('{PASSWORD}', gen_salt('bf', 4))"  # noqa: S608 - a test
        " WHERE email = 'user@nself.org'"
    )
    store = Minio(f"127.0.0.1:{stack.port('minio')}", access_key="access", secret_key=PASSWORD, secure=False)
    until(lambda: httpx.get(f"http://127.0.0.1:{stack.port('minio')}/minio/health/live").raise_for_status())
    store.make_bucket("uploads")


def _track(stack: ChatStack) -> None:
    table = {"schema": "public", "name": "nchat_messages"}
    permission = {"columns": "*", "filter": {}}
    for call in (
        {"type": "pg_track_table", "args": {"table": table}},
        {
            "type": "pg_create_select_permission",
            "args": {"table": table, "role": "user", "permission": permission},
        },
    ):
        httpx.post(
            f"http://127.0.0.1:{stack.port('hasura')}/v1/metadata",
            json=call,
            headers={"X-Hasura-Admin-Secret": ADMIN},
        ).raise_for_status()
