"""One lab for every test of a run that needs a whole one: its start costs more than most tests."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import docker
import pytest

from domain.errors import Refused

if TYPE_CHECKING:
    from tests.faults.harness.stand import FaultStand


@pytest.fixture(scope="session")
def lab_stand() -> "Iterator[FaultStand]":
    """Start a protected lab with its orchestrator, and remove all of it after the last test."""
    # Only runs with such a test pay for these imports.
    from tests.faults.harness.stand import FaultStand  # noqa: PLC0415 - see above

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
