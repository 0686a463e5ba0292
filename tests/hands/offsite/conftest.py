"""A far store on this machine: moto's server, and one that misbehaves in front of it."""

import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hands.offsite.hostile import Weather, misbehaving, until
from tests.hands.offsite.place import NOW, Place, fill

Make = Callable[..., Place]


@pytest.fixture(scope="session")
def moto_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Run moto's server as a process of its own on loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    log = tmp_path_factory.mktemp("moto") / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=output,
            stderr=output,
            # It must ask nobody: neither credentials of this machine nor an instance's metadata.
            env={**os.environ, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"},
        )
        try:
            until(lambda: server.poll() is not None or _listens(port))
            assert server.poll() is None, log.read_text()
            yield port
        finally:
            server.terminate()
            server.wait(10)


@pytest.fixture
def make(tmp_path: Path, moto_port: int) -> Make:
    """Return what makes a host with a filled shelf, a key, and a bucket of its own."""

    def made(endpoint: str = "", *, lock: bool = False, **changes: Any) -> Place:
        bucket = f"copies-{secrets.token_hex(6)}"
        straight = f"http://127.0.0.1:{moto_port}"
        place = Place(tmp_path, endpoint or straight, bucket, changes)
        Place(tmp_path, straight, bucket).client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=lock)
        place.keys.new(NOW)
        fill(place)
        return place

    return made


@pytest.fixture
def place(make: Make) -> Place:
    """Return a host whose far store behaves."""
    return make()


@pytest.fixture
def weather(moto_port: int) -> Iterator[tuple[str, Weather]]:
    """Put something between us and the store."""
    with misbehaving(moto_port) as (endpoint, seen):
        yield endpoint, seen


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
