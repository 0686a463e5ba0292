"""One lab for every test of a run that needs a whole one: its start costs more than most tests."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TypeVar

import docker
import pytest

from domain.errors import Refused

if TYPE_CHECKING:
    from tests.faults.harness.stand import FaultStand


class Standing(Protocol):
    """What is started for the tests of a run and removed after the last one."""

    def up(self) -> None:
        """Start everything."""

    def down(self) -> None:
        """Remove everything."""


S = TypeVar("S", bound=Standing)


@contextmanager
def standing(make: Callable[[], S]) -> Iterator[S]:
    """Have a stand up, and remove all of it; without an engine or what it needs, skip with the reason."""
    try:
        client = docker.from_env(timeout=10)
        client.ping()
        client.close()
    except docker.errors.DockerException as error:
        pytest.skip(f"no Docker engine answers: {error}")
    made = make()
    try:
        made.up()
        yield made
    except Refused as reason:
        pytest.skip(str(reason))
    finally:
        made.down()


@pytest.fixture(scope="session")
def lab_stand() -> "Iterator[FaultStand]":
    """Start a protected lab with its orchestrator, and remove all of it after the last test."""
    # Only runs with such a test pay for these imports.
    from tests.faults.harness.stand import FaultStand  # noqa: PLC0415 - see above

    with standing(FaultStand) as stand:
        yield stand


@contextmanager
def sound(stand: "FaultStand") -> "Iterator[FaultStand]":
    """Hand out the stand with no run open and a sound database; a damaged one is recovered first."""
    stand.end_open_run()
    if stand.dirty:
        stand.to_the_end(stand.recover())
    yield stand
    stand.end_open_run()
