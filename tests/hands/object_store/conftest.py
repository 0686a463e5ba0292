"""Two real object stores: the live one of a project, and a second one for its copies."""

import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

import docker
import httpx
import pytest

from domain.names import COMPOSE_PROJECT, COMPOSE_SERVICE, LABEL_STACK
from tests.hands.chat_stack import until
from tests.hands.images import lab_image
from tests.hands.object_store.place import ACCESS, SECRET, Place, Servers


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    """Start both; they are emptied before each test."""
    client = docker.from_env(timeout=60)
    image = lab_image(client, "minio")
    project = f"drtest-{secrets.token_hex(4)}"
    network = client.networks.create(f"{project}_default", labels={COMPOSE_PROJECT: project})
    made = []
    try:
        for service in ("minio", "second"):
            container = client.containers.create(
                image,
                ["server", "/data"],
                name=f"{project}-{service}",
                environment={"MINIO_ROOT_USER": ACCESS, "MINIO_ROOT_PASSWORD": SECRET},
                network=network.name,
                ports={"9000/tcp": ("127.0.0.1", 0)},
                labels={
                    COMPOSE_PROJECT: project,
                    COMPOSE_SERVICE: service,
                    "com.docker.compose.oneoff": "False",
                },
            )
            made.append(container)
            container.start()
            container.reload()
        ports = [int(one.attrs["NetworkSettings"]["Ports"]["9000/tcp"][0]["HostPort"]) for one in made]
        for port in ports:
            url = f"http://127.0.0.1:{port}/minio/health/cluster"
            until(lambda url=url: httpx.get(url).raise_for_status())  # type: ignore[misc]  # its own address
        yield Servers(client, project, image, made[0].id or "", ports[0], ports[1])
    finally:
        for container in made:
            container.remove(force=True, v=True)
        for left in client.containers.list(all=True, filters={"label": f"{LABEL_STACK}={project}"}):
            left.remove(force=True, v=True)
        network.remove()
        client.close()


@pytest.fixture
def state() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="dr-") as made:
        yield Path(made)


@pytest.fixture
def place(servers: Servers, state: Path, tmp_path: Path) -> Place:
    """Return a host whose copies lie on its shelf."""
    servers.empty()
    return Place(servers, state, tmp_path / "shelf")


@pytest.fixture
def far_place(place: Place) -> Place:
    """Return a host whose copies lie in the second store."""
    return place.with_second()
