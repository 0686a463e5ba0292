"""One decorated stand for all kill tests."""

from collections.abc import Iterator

import docker
import pytest

from domain.errors import Refused
from tests.faults.harness.stand import FaultStand


@pytest.fixture(scope="session")
def fault_stand() -> Iterator[FaultStand]:
    try:
        client = docker.from_env(timeout=10)
        client.ping()
        client.close()
    except docker.errors.DockerException as error:
        pytest.skip(f"no Docker engine answers: {error}")
    stand = FaultStand()
    try:
        stand.up()
        yield stand
    except Refused as reason:
        pytest.skip(str(reason))
    finally:
        stand.down()


@pytest.fixture
def stand(fault_stand: FaultStand) -> Iterator[FaultStand]:
    """Hand out the stand with no run open and no fault set."""
    fault_stand.end_open_run()
    yield fault_stand
    fault_stand.folder.arm()
    fault_stand.end_open_run()
