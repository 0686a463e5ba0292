"""The stores of a small stack as containers, and a ledger that runs on them."""

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import psycopg
import pytest
import yaml

from activities.engine import Engine
from activities.ledger import Ledger
from activities.ledger_journal import LedgerFiles
from activities.ledger_places import find_place, stores_of_stack
from activities.ledger_stores import MarkerStore, open_store
from activities.postgres.sql import Sql
from activities.secrets import Secrets
from domain.errors import Unavailable
from domain.ledger import Store
from domain.names import COMPOSE_PROJECT, COMPOSE_SERVICE
from domain.order import PostgresTarget, ServiceTarget, Target, TargetOrder
from domain.stack import Stack
from tests.hands.images import lab_image
from worker.ledger import run_ledger

REPOSITORY = Path(__file__).resolve().parents[3]
PASSWORD = "opens-nothing"
SERVICES: dict[str, tuple[str, dict[str, str], list[str] | None, int]] = {
    "postgres": (
        "postgres",
        {"POSTGRES_PASSWORD": PASSWORD, "POSTGRES_DB": "chat"},
        ["postgres", "-c", "listen_addresses=*"],
        5432,
    ),
    "redis": (
        "redis",
        {"REDIS_PASSWORD": PASSWORD},
        ["redis-server", "--appendonly", "yes", "--requirepass", PASSWORD],
        6379,
    ),
    "minio": (
        "minio",
        {"MINIO_ROOT_USER": "lab", "MINIO_ROOT_PASSWORD": PASSWORD},
        ["server", "/data"],
        9000,
    ),
    "meilisearch": (
        "meilisearch",
        {"MEILI_MASTER_KEY": PASSWORD, "MEILI_DB_PATH": "/meili_data"},
        None,
        7700,
    ),
}
FACTS = """
stack: ledgered
project: %s
services:
  postgres: {kind: postgres, user: postgres, database: chat, password: "container:postgres:POSTGRES_PASSWORD"}
  redis: {kind: redis, password: "container:redis:REDIS_PASSWORD"}
  minio:
    kind: objects
    secrets:
      access_key: container:minio:MINIO_ROOT_USER
      secret_key: container:minio:MINIO_ROOT_PASSWORD
  meilisearch: {kind: search, secrets: {master_key: "container:meilisearch:MEILI_MASTER_KEY"}}
"""


class Lab:
    """The four stores as containers of a compose project, on ports that change with each start."""

    def __init__(self, client: docker.DockerClient) -> None:
        self.client = client
        self.project = f"drledger-{secrets.token_hex(4)}"
        self.engine = Engine(client)
        self.secrets = Secrets(self.engine)
        self.stack = Stack.model_validate(yaml.safe_load(FACTS % self.project))

    def run(
        self, service: str, image: str, environment: dict[str, str], command: list[str] | None, port: int
    ) -> None:
        self.client.containers.run(
            lab_image(self.client, image),
            command,
            name=f"{self.project}-{service}",
            environment=environment,
            labels={
                COMPOSE_PROJECT: self.project,
                COMPOSE_SERVICE: service,
                "com.docker.compose.oneoff": "False",
            },
            ports={f"{port}/tcp": ("127.0.0.1", 0)},
            detach=True,
        )

    def name(self, service: str) -> str:
        return f"{self.project}-{service}"

    def open(self, store: Store, *, may_create: bool = True) -> MarkerStore:
        place = find_place(self.engine, self.secrets, stores_of_stack(self.stack)[store])
        return open_store(store, place, may_create=may_create)

    def target(self) -> Target:
        """Return the stack as ``observe_stack`` would, as far as the ledger looks at it."""
        services = []
        for name, service in self.stack.services.items():
            found = self.engine.find(self.project, name)[0]
            password = {"password": service.password} if service.password else {}
            services.append(
                ServiceTarget(
                    name=name,
                    kind=service.kind,
                    container_id=found.id,
                    container_name=found.name,
                    image="",
                    image_id=found.image_id,
                    state=found.status,
                    secrets={**service.secrets, **password},
                )
            )
        server = services[0]
        postgres = PostgresTarget(
            service="postgres",
            container_id=server.container_id,
            container_name=server.container_name,
            image_id=server.image_id,
            volume="",
            mount_path="",
            pgdata="",
            uid=999,
            gid=999,
            user="postgres",
            database="chat",
        )
        return Target(
            stack="ledgered", project=self.project, postgres=postgres, services=tuple(services), shelf="/"
        )

    def wait(self, store: Store) -> None:
        def answers() -> bool:
            try:
                opened = self.open(store)
                opened.present()
                opened.close()
            except Unavailable:
                return False
            return True

        until(answers, f"{store.value} answers")

    def postgres(self) -> psycopg.Connection[tuple[object, ...]]:
        place = find_place(self.engine, self.secrets, stores_of_stack(self.stack)[Store.POSTGRES])
        return psycopg.connect(
            host=place.host,
            port=place.port,
            user="postgres",
            password=PASSWORD,
            dbname="chat",
            autocommit=True,
        )

    def remove(self) -> None:
        for found in self.client.containers.list(
            all=True, filters={"label": f"{COMPOSE_PROJECT}={self.project}"}
        ):
            found.remove(force=True, v=True)


def until(true: Callable[[], bool], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            pytest.fail(f"it never came true that {what}")
        time.sleep(0.1)


@pytest.fixture(scope="package")
def lab() -> Iterator[Lab]:
    client = docker.from_env(timeout=30)
    made = Lab(client)
    try:
        for service, (image, environment, command, port) in SERVICES.items():
            made.run(service, image, environment, command, port)
        for store in Store:
            made.wait(store)
        yield made
    finally:
        made.remove()
        client.close()


@pytest.fixture
def files(lab: Lab, tmp_path: Path) -> LedgerFiles:
    """Return the files of a ledger that begins in this test: no store knows a marker."""
    for store in Store:
        opened = lab.open(store)
        present = sorted(opened.present())
        if present:
            opened.prune(present)
        opened.close()
    return LedgerFiles(tmp_path, "ledgered")


@pytest.fixture
def ledger(lab: Lab, tmp_path: Path) -> Ledger:
    return Ledger(lab.engine, lab.secrets, Sql(lab.secrets), tmp_path)


@contextmanager
def running(lab: Lab, state: Path) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(
        target=run_ledger,
        args=(lab.stack, state, stop),
        kwargs={
            "engines": lambda: Engine(docker.from_env(timeout=10)),
            "variables": {},
            "every_seconds": 0.1,
        },
    )
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def acknowledged(files: LedgerFiles, store: Store) -> int:
    return len(files.known(store).acknowledged)


def more_in(files: LedgerFiles, *stores: Store, by: int = 3) -> None:
    before = {store: acknowledged(files, store) for store in stores}
    until(
        lambda: all(acknowledged(files, store) >= before[store] + by for store in stores),
        f"markers go on in {', '.join(stores)}",
    )


def order(lab: Lab, recovery_id: str = "20261122T0430Z-0000000a") -> TargetOrder:
    return TargetOrder(target=lab.target(), recovery_id=recovery_id)
