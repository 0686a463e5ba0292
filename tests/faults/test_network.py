"""The network between worker and systems: what it does to the clients of the hands."""

import os
import socket
import threading
from collections.abc import Iterator

import docker
import pytest

from activities.engine import Engine
from domain.errors import Unavailable
from tests.faults.harness.network import FaultyNetwork, Weather
from tests.faults.record import Seen


@pytest.fixture
def echo() -> Iterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                while data := connection.recv(100):
                    connection.sendall(data)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield int(listener.getsockname()[1])
    listener.close()


def talk(there: socket.socket) -> None:
    for _ in range(20):
        there.sendall(b"hello")
        if not there.recv(10):
            raise ConnectionResetError


def look_often(engine: Engine) -> None:
    for _ in range(20):
        engine.look("there-is-no-such-container")


@pytest.mark.unit
def test_fair_weather_passes_every_byte_and_a_cut_resets_what_is_open(echo: int) -> None:
    with FaultyNetwork("127.0.0.1", echo) as network:
        with socket.create_connection(("127.0.0.1", network.port), timeout=5) as there:
            there.sendall(b"hello")
            assert there.recv(10) == b"hello"
            network.turn("cut")
            with pytest.raises(ConnectionError):
                talk(there)
        network.turn("fair")
        with socket.create_connection(("127.0.0.1", network.port), timeout=5) as there:
            there.sendall(b"back")
            assert there.recv(10) == b"back"


@pytest.mark.unit
@pytest.mark.parametrize("weather", ["half-open", "lossy"])
def test_a_stalled_connection_says_nothing(echo: int, weather: Weather) -> None:
    with FaultyNetwork("127.0.0.1", echo, seed=1) as network:
        network.turn(weather)
        with socket.create_connection(("127.0.0.1", network.port), timeout=0.5) as there:
            with pytest.raises(TimeoutError):
                talk(there)
            assert network.disturbed


@pytest.mark.hand
@pytest.mark.parametrize("weather", ["cut", "half-open", "slow", "lossy"])
@pytest.mark.fault("B9")
def test_a_docker_engine_behind_a_bad_network_is_unavailable_within_the_time_limit(
    weather: Weather, seen: Seen
) -> None:
    """F-B9: network cut, half-open, slow or losing data between worker and Docker."""
    address = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if not address.startswith("unix://"):
        pytest.skip("the engine is not on a local socket")
    with FaultyNetwork(address.removeprefix("unix://"), 0, seed=1) as network:
        engine = Engine(
            docker.DockerClient(base_url=f"tcp://127.0.0.1:{network.port}", version="1.41", timeout=1)
        )
        assert engine.look("there-is-no-such-container") is None
        network.turn(weather)
        with pytest.raises(Unavailable) as caught:
            look_often(engine)
        assert network.disturbed
        seen(f"{weather}: {caught.value}")
        network.turn("fair")
        engine = Engine(
            docker.DockerClient(base_url=f"tcp://127.0.0.1:{network.port}", version="1.41", timeout=5)
        )
        assert engine.look("there-is-no-such-container") is None
