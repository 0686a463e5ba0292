"""What the tests of the hands share."""

from collections.abc import Iterator

import docker
import pytest

from tests.hands.chat_stack import ChatStack, running_stack


@pytest.fixture(scope="session")
def client() -> Iterator[docker.DockerClient]:
    """Return a client of the tests' own."""
    made = docker.from_env(timeout=60)
    yield made
    made.close()


@pytest.fixture(scope="session")
def chat(client: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChatStack]:
    """Start one small chat stack; a test leaves it as it found it."""
    with running_stack(client, tmp_path_factory.mktemp("chat")) as stack:
        yield stack
