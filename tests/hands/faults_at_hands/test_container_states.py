"""F-B4 and F-B13: containers that do not serve, told apart; services that cannot be started."""

import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from activities.containers import Containers
from activities.postgres.sql import Sql
from activities.secrets import Secrets
from activities.services import Services
from activities.tokens import Tokens
from domain.errors import VerificationFailed
from domain.order import Target, TargetOrder
from domain.recovery import Proof, ServicesOrder
from tests.faults.record import Seen
from tests.hands.chat_stack import ChatStack, until
from tests.hands.faults_at_hands.planting import plant, planted, resolved

STATES = {
    "frozen": "kind: other",
    "looping": "kind: other",
    "sick": "kind: other",
    "unwatched": "kind: other",
    "watched": "kind: other",
}


def raw(chat: ChatStack, container: str) -> dict[str, object]:
    found: dict[str, object] = chat.client.api.inspect_container(container)
    return found


@pytest.mark.fault("B4")
def test_paused_looping_unhealthy_and_unwatched_containers_are_told_apart_with_their_restarts(
    chat: ChatStack, seen: Seen
) -> None:
    """F-B4: paused, restart loop, unhealthy, no health check."""
    second = 10**9
    check = {"test": ["CMD", "false"], "interval": second, "timeout": second, "retries": 1}
    frozen = plant(chat, "frozen")
    looping = plant(
        chat,
        "looping",
        ("sh", "-c", "echo out of luck; exit 3"),
        restart_policy={"Name": "always"},
    )
    sick = plant(chat, "sick", healthcheck={**check, "test": ["CMD-SHELL", "echo no pulse; false"]})
    unwatched = plant(chat, "unwatched")
    watched = plant(chat, "watched", healthcheck={**check, "test": ["CMD", "true"]})
    with planted(chat, frozen, looping, sick, unwatched, watched):
        chat.client.api.pause(frozen)
        until(lambda: _require(raw(chat, looping)["RestartCount"] >= 3))  # type: ignore[operator]
        until(lambda: _require(_health(chat, sick) == "unhealthy"))
        until(lambda: _require(_health(chat, watched) == "healthy"))
        until(lambda: _require(_runs_for(chat, unwatched) > 3))
        seen(f"paused, restarted {raw(chat, looping)['RestartCount']} times, unhealthy, without a check")
        target = resolved(chat, STATES)
        judged = Containers(chat.engine, {}, "", chat.directory).observe_health(TargetOrder(target=target))
    said = {proof.name: proof for proof in judged.proofs}
    assert {name: said[name].passed for name in STATES} == {
        "frozen": False,
        "looping": False,
        "sick": False,
        "unwatched": True,
        "watched": True,
    }
    assert "paused" in said["frozen"].evidence
    assert "restart loop" in said["looping"].evidence
    assert "out of luck" in said["looping"].evidence
    assert _restarts(said["looping"]) >= 3
    assert "unhealthy" in said["sick"].evidence
    assert "no pulse" in said["sick"].evidence
    assert "no health check" in said["unwatched"].evidence
    assert said["watched"].evidence == "its own health check says healthy"
    assert target.service("looping").restart_count >= 3


@pytest.mark.fault("B4")
def test_a_paused_database_is_not_called_dead_and_a_service_of_a_known_kind_answers_for_itself(
    chat: ChatStack, seen: Seen
) -> None:
    """F-B4: paused, seen by the protocol's own probe."""
    target = resolved(chat, {})
    container = chat.container("postgres")
    chat.client.api.pause(container)
    try:
        seen(f"postgres is {chat.status('postgres')}")
        judged = Containers(chat.engine, {}, "", chat.directory).observe_health(TargetOrder(target=target))
    finally:
        chat.client.api.unpause(container)
    (proof,) = [proof for proof in judged.proofs if proof.name == "postgres"]
    assert proof.passed is False
    assert "paused: its process stands still" in proof.evidence
    assert "exit code" not in proof.evidence


def _require(condition: object) -> None:
    assert condition


def _health(chat: ChatStack, container: str) -> str:
    return str(chat.client.api.inspect_container(container)["State"]["Health"]["Status"])


def _runs_for(chat: ChatStack, container: str) -> float:
    """Return for how many seconds a container has run."""
    started = datetime.fromisoformat(str(chat.client.api.inspect_container(container)["State"]["StartedAt"]))
    return (datetime.now(UTC) - started).total_seconds()


def _restarts(proof: Proof) -> int:
    return int(proof.evidence.partition("restarted ")[2].split()[0])


# -- what keeps a service from starting ---------------------------------------------------------------


@pytest.fixture
def hand(chat: ChatStack, tmp_path: Path) -> Services:
    secrets = Secrets(chat.engine)
    return Services(chat.engine, secrets, Sql(secrets), Tokens(tmp_path), tmp_path, healthy_within_seconds=3)


@pytest.fixture
def taken_port() -> Iterator[int]:
    """Hold a port of this host."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        yield int(holder.getsockname()[1])


def refused(chat: ChatStack, hand: Services, second: str, entry: str = "kind: other") -> VerificationFailed:
    """Start a chain of three services whose second one is broken; return what was said."""
    first = plant(chat, "first", start=False)
    third = plant(chat, "third", needs=("second",), start=False)
    with planted(chat, first, second, third):
        target: Target = resolved(chat, {"first": "kind: other", "second": entry, "third": "kind: other"})
        with pytest.raises(VerificationFailed) as told:
            hand.ensure_services_started(
                ServicesOrder(target=target, recovery_id="r", services=("third", "second", "first"))
            )
        assert chat.status("first") == "running", "what it needs was started before it"
        assert chat.status("third") == "created", "what needs it was not started"
    assert told.value.code == "service-unhealthy"
    assert "second is not healthy" in told.value.what
    return told.value


@pytest.mark.fault("B13")
def test_a_port_that_is_taken_is_the_reason_and_dependents_are_not_started(
    chat: ChatStack, hand: Services, taken_port: int, seen: Seen
) -> None:
    """F-B13: port taken at the start step."""
    second = plant(chat, "second", needs=("first",), start=False, ports={"80/tcp": ("127.0.0.1", taken_port)})
    said = refused(chat, hand, second)
    assert str(taken_port) in said.what
    assert "already" in said.what
    seen(said.what)


@pytest.mark.fault("B13")
def test_a_volume_that_is_missing_is_the_reason_and_dependents_are_not_started(
    chat: ChatStack, hand: Services, seen: Seen
) -> None:
    """F-B13: volume missing at the start step; no empty one takes its place."""
    name = f"{chat.project}_second_data"
    volume = chat.client.volumes.create(name)
    path = Path(volume.attrs["Mountpoint"])
    second = plant(
        chat, "second", needs=("first",), start=False, volumes={name: {"bind": "/data", "mode": "rw"}}
    )
    path.rmdir()
    try:
        said = refused(chat, hand, second)
        assert name in said.what
        seen(said.what)
        assert not path.exists()
    finally:
        path.mkdir(exist_ok=True)
        volume.remove(force=True)


@pytest.mark.fault("B13")
@pytest.mark.parametrize("given", [None, ""], ids=["missing", "empty"])
def test_a_missing_environment_is_told_in_the_services_own_words(
    chat: ChatStack, hand: Services, given: str | None, seen: Seen
) -> None:
    """F-B13: environment missing at the start step."""
    program = ("sh", "-c", ': "${DATABASE_URL:?is not set}"; exec sleep infinity')
    environment = {} if given is None else {"DATABASE_URL": given}
    second = plant(chat, "second", program, needs=("first",), start=False, environment=environment)
    said = refused(chat, hand, second)
    assert "DATABASE_URL: is not set" in said.what
    assert "exit code" in said.what
    seen(said.what)


@pytest.mark.fault("B13")
def test_a_program_that_ends_again_and_again_is_told_by_how_it_ends_even_where_docker_is_slow(
    chat: ChatStack, hand: Services, monkeypatch: pytest.MonkeyPatch, seen: Seen
) -> None:
    """F-B13: the last look falls between a start and the end that follows it."""
    start = chat.engine.start

    def slow_start(container_id: str) -> None:
        time.sleep(3.2)  # longer than the three seconds given to become healthy
        start(container_id)

    monkeypatch.setattr(chat.engine, "start", slow_start)
    program = ("sh", "-c", "sleep 0.2; echo the keys are gone; exit 7")
    said = refused(chat, hand, plant(chat, "second", program, needs=("first",), start=False))
    assert "exit code 7" in said.what
    assert "the keys are gone" in said.what
    seen(said.what)


@pytest.mark.fault("B13")
def test_a_missing_secret_is_named_by_its_reference(chat: ChatStack, hand: Services, seen: Seen) -> None:
    """F-B13: secret missing at the start step."""
    second = plant(chat, "second", needs=("first",), start=False)
    said = refused(chat, hand, second, "kind: redis, password: 'container:second:REDIS_PASSWORD'")
    assert "the secret container:second:REDIS_PASSWORD cannot be read" in said.what
    seen(said.what)
