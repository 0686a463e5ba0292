"""One stack of another shape for all tests here."""

from collections.abc import Iterator

import docker
import pytest

from domain.errors import Refused
from tests.other.shop_stand import ShopStand

LIMIT_SECONDS = 600


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test here the time that a whole recovery may take on a busy machine."""
    for item in items:
        if item.path.parent.name == "other":
            item.add_marker(pytest.mark.timeout(LIMIT_SECONDS))


@pytest.fixture(scope="session")
def shop() -> Iterator[ShopStand]:
    try:
        client = docker.from_env(timeout=10)
        client.ping()
        client.close()
    except docker.errors.DockerException as error:
        pytest.skip(f"no Docker engine answers: {error}")
    stand = ShopStand()
    try:
        stand.up()
        yield stand
    except Refused as reason:
        pytest.skip(str(reason))
    finally:
        stand.down()
