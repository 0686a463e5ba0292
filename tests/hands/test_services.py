import socket
from collections.abc import Iterator
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest

from activities import services
from activities.postgres.sql import Sql
from activities.records import Records
from activities.secrets import Secrets
from activities.services import Services
from activities.tokens import Tokens
from domain.errors import Refused, VerificationFailed
from domain.graph import start_waves
from domain.order import Target, Token
from domain.recovery import ServicesOrder
from tests.hands.chat_stack import ChatStack, until

RECOVERY = "20261122T0430Z-00000000"


@pytest.fixture
def hand(chat: ChatStack, tmp_path: Path) -> Services:
    secrets = Secrets(chat.engine)
    return Services(chat.engine, secrets, Sql(secrets), Tokens(tmp_path), tmp_path, healthy_within_seconds=30)


@pytest.fixture
def target(chat: ChatStack, hand: Services) -> Iterator[Target]:
    found = chat.facts().target
    yield found
    for service in found.services:
        chat.engine.set_restart(service.container_id, "unless-stopped")
        chat.engine.start(service.container_id)
    hand._healthy_within_seconds = 60  # a test may have made it impatient
    hand.ensure_services_started(ServicesOrder(target=found))


def order(target: Target, *services: str) -> ServicesOrder:
    return ServicesOrder(target=target, recovery_id=RECOVERY, services=services)


def test_writers_are_stopped_in_reverse_order_and_the_proxy_and_the_stores_stay(
    chat: ChatStack, hand: Services, target: Target
) -> None:
    stopped = hand.ensure_writers_stopped(order(target))
    assert set(stopped.services) == {"hasura", "auth", "functions"}
    assert stopped.services.index("auth") < stopped.services.index("hasura")
    assert stopped.restart_policies == dict.fromkeys(stopped.services, "unless-stopped")
    for name in stopped.services:
        assert chat.status(name) == "exited"
        assert chat.policy(name) == "no"
    for name in ("postgres", "nginx", "redis", "minio", "meilisearch"):
        assert chat.status(name) == "running"


def test_a_hand_that_was_overtaken_after_it_was_admitted_stops_nothing(
    chat: ChatStack, hand: Services, target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F-A4: frozen after its look; each change is asked for by itself, whatever thread makes it."""

    def dispatched(at: int) -> ServicesOrder:
        token = Token(run_started_ns=1, dispatched_ns=at)
        return order(target).model_copy(update={"token": token, "step_id": "stop"})

    def waves_once_overtaken(*given: Any) -> Any:
        copy_context().run(Tokens(tmp_path).admit, dispatched(2), target.stack)
        return start_waves(*given)

    monkeypatch.setattr(services, "start_waves", waves_once_overtaken)
    with pytest.raises(Refused, match="overtaken"):
        copy_context().run(hand.ensure_writers_stopped, dispatched(1))
    monkeypatch.undo()
    for name in ("hasura", "auth", "functions"):
        assert (chat.status(name), chat.policy(name)) == ("running", "unless-stopped")


@pytest.mark.long
def test_the_policies_of_the_first_call_are_what_the_second_one_says(hand: Services, target: Target) -> None:
    first = hand.ensure_writers_stopped(order(target))
    assert hand.ensure_writers_stopped(order(target)) == first


def test_everything_comes_back_healthy_with_its_policy(
    chat: ChatStack, hand: Services, target: Target
) -> None:
    hand.ensure_writers_stopped(order(target))
    only = hand.ensure_services_started(order(target, "hasura"))
    assert only.services == ("hasura",)
    assert chat.status("auth") == "exited"
    started = hand.ensure_services_started(order(target))
    assert started.services.index("hasura") < started.services.index("auth")
    assert {proof.name for proof in started.proofs} == {"hasura", "auth", "functions", "nginx"}
    assert all(proof.passed for proof in started.proofs)
    assert [chat.policy(name) for name in started.services] == ["unless-stopped"] * 4
    assert hand.ensure_services_started(order(target)).services == started.services


def test_what_ran_at_first_and_was_ended_by_something_else_is_started_too_and_nothing_that_stood_before(
    chat: ChatStack, hand: Services, target: Target
) -> None:
    for name in ("redis", "minio"):
        chat.engine.stop(chat.container(name), 10)
    stood = tuple(
        one.model_copy(update={"state": "exited"}) if one.name == "minio" else one for one in target.services
    )
    started = hand.ensure_services_started(order(target.model_copy(update={"services": stood})))
    assert "redis" in started.services
    assert chat.status("redis") == "running"
    assert chat.status("minio") == "exited"


def test_a_database_that_fell_after_it_served_is_started_and_one_that_was_closed_stays_down(
    chat: ChatStack, hand: Services, target: Target, tmp_path: Path
) -> None:
    hand.ensure_writers_stopped(order(target))
    chat.engine.stop(chat.container("postgres"), 30)
    hand._healthy_within_seconds = 2
    with pytest.raises(VerificationFailed, match="hasura is not healthy"):
        hand.ensure_services_started(order(target, "hasura"))
    assert chat.status("postgres") == "exited"
    hand._healthy_within_seconds = 30
    Records(tmp_path).write("serving", RECOVERY, {})
    assert hand.ensure_services_started(order(target, "hasura")).services == ("postgres", "hasura")
    assert chat.status("postgres") == "running"


def test_an_unlisted_container_of_the_project_with_a_session_is_stopped_too(
    chat: ChatStack, hand: Services, target: Target
) -> None:
    unlisted = target.model_copy(
        update={"services": tuple(one for one in target.services if one.name != "functions")}
    )
    until(lambda: _needs_session(chat))
    stopped = hand.ensure_writers_stopped(order(unlisted))
    assert "functions" in stopped.services
    assert "functions" in hand.ensure_services_started(order(unlisted)).services
    assert chat.status("functions") == "running"


def _needs_session(chat: ChatStack) -> None:
    raw = chat.client.api.inspect_container(chat.container("functions"))
    (network,) = raw["NetworkSettings"]["Networks"].values()
    with chat.connect() as connection:
        found = connection.execute(
            "SELECT 1 FROM pg_stat_activity WHERE client_addr = %s", [network["IPAddress"]]
        ).fetchone()
    assert found is not None


def test_a_client_that_is_not_of_this_stack_is_named(chat: ChatStack, hand: Services, target: Target) -> None:
    with chat.connect() as connection:
        connection.execute("SET application_name = 'somebody else'")
        assert "somebody else" in hand.ensure_writers_stopped(order(target)).sentence


def test_writers_of_a_dead_server_are_stopped_by_the_graph(
    chat: ChatStack, hand: Services, target: Target
) -> None:
    chat.client.api.kill(chat.container("postgres"))
    stopped = hand.ensure_writers_stopped(order(target))
    assert set(stopped.services) == {"hasura", "auth", "functions"}
    assert "could not be read" in stopped.sentence


@pytest.mark.long
def test_a_service_that_does_not_come_up_is_named_with_its_reason(
    chat: ChatStack, hand: Services, target: Target
) -> None:
    hand.ensure_writers_stopped(order(target))
    chat.client.api.stop(chat.container("postgres"), timeout=20)
    hand._healthy_within_seconds = 3
    with pytest.raises(VerificationFailed, match="hasura is not healthy") as error:
        hand.ensure_services_started(order(target))
    assert error.value.code == "service-unhealthy"
    assert chat.status("auth") == "exited", "nothing is started on top of what is ill"


def test_an_optional_service_that_fails_is_reported_and_stops_nothing(
    chat: ChatStack, hand: Services, target: Target
) -> None:
    broken = target.service("meilisearch").model_copy(update={"published": {"7700": _nobody()}})
    ill = target.model_copy(
        update={"services": tuple(broken if one.name == "meilisearch" else one for one in target.services)}
    )
    hand._healthy_within_seconds = 1
    started = hand.ensure_services_started(order(ill, "meilisearch", "redis"))
    assert {proof.name: proof.passed for proof in started.proofs} == {"meilisearch": None, "redis": True}
    assert "optional, and ill" in started.sentence


def _nobody() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
