"""Fencing tokens: an attempt that was overtaken changes nothing any more."""

import fcntl
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from contextvars import copy_context
from pathlib import Path
from threading import Barrier, Thread
from unittest.mock import patch

import docker
import pytest
import requests
from docker.transport.unixconn import UnixHTTPConnection
from structlog.testing import capture_logs

from activities.engine import Engine
from activities.tokens import Tokens, require_admitted
from domain.errors import Refused
from domain.order import Order, Token


def order(run: int, dispatched: int, step: str = "ensure_swapped_in") -> Order:
    return Order(recovery_id="r", step_id=step, token=Token(run_started_ns=run, dispatched_ns=dispatched))


def test_an_attempt_is_refused_after_a_later_one_of_its_step_or_a_later_run(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path)
    tokens.admit(order(1, 10), "lab")
    tokens.admit(order(1, 20), "lab")
    # The answer of such an attempt reaches nobody, so it is in the log as well.
    with capture_logs() as said, pytest.raises(Refused, match="later attempt"):
        tokens.admit(order(1, 10), "lab")
    assert "a later attempt has taken over" in said[0]["event"]
    tokens.admit(order(2, 5), "lab")
    with pytest.raises(Refused, match="later attempt"):
        tokens.admit(order(1, 30), "lab")


def test_another_step_and_another_stack_do_not_overtake(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path)
    tokens.admit(order(1, 10), "lab")
    tokens.admit(order(1, 20, "ensure_serving"), "lab")
    tokens.admit(order(2, 20), "other")
    require_admitted()
    tokens.admit(order(1, 10), "lab")


def test_a_hand_that_was_overtaken_while_it_ran_changes_nothing_in_docker(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path)
    engine = Engine(docker.DockerClient(base_url="tcp://127.0.0.1:1", version="1.41"))

    def frozen() -> None:
        tokens.admit(order(1, 10), "lab")
        copy_context().run(lambda: Tokens(tmp_path).admit(order(1, 20), "lab"))
        for change in (
            lambda: engine.stop("x", 1),
            lambda: engine.start("x"),
            lambda: engine.remove("x"),
            lambda: engine.remove_volume("x"),
            lambda: engine.set_restart("x", "no"),
            lambda: engine.run("x", ("true",)),
        ):
            with pytest.raises(Refused, match="later attempt"):
                change()

    with ThreadPoolExecutor(1) as threads:
        threads.submit(copy_context().run, frozen).result()


def test_a_process_that_is_frozen_at_any_moment_holds_nobody_up(tmp_path: Path) -> None:
    """F-A4: whatever file of the fence it has locked, the attempt that overtakes it passes."""
    Tokens(tmp_path).admit(order(1, 10), "lab")
    held = [path for path in (tmp_path / "fence").rglob("*") if path.is_file()]
    assert held
    with ExitStack() as files:
        for path in held:
            fcntl.flock(files.enter_context(path.open("a+")), fcntl.LOCK_EX)
        overtaking = Thread(target=Tokens(tmp_path).admit, args=(order(1, 20), "lab"), daemon=True)
        overtaking.start()
        overtaking.join(20)
        assert not overtaking.is_alive()


def test_of_attempts_admitted_at_once_the_latest_alone_goes_on(tmp_path: Path) -> None:
    everybody = Barrier(8)

    def goes_on(dispatched: int) -> bool:
        try:
            Tokens(tmp_path).admit(order(1, dispatched), "lab")
        except Refused:
            everybody.wait(20)
            return False
        everybody.wait(20)
        try:
            require_admitted()
        except Refused:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        passed = list(threads.map(lambda n: copy_context().run(goes_on, n), range(10, 18)))
    assert passed == [False] * 7 + [True]


@pytest.mark.parametrize("turn", ["first", "second"])
def test_no_test_goes_on_as_a_hand_of_the_test_before_it(tmp_path: Path, turn: str) -> None:
    require_admitted()
    tokens = Tokens(tmp_path)
    tokens.admit(order(1, 10, turn), "lab")
    copy_context().run(lambda: tokens.admit(order(1, 20, turn), "lab"))
    with pytest.raises(Refused, match="later attempt"):
        require_admitted()


def test_what_an_attempt_overtook_is_not_kept(tmp_path: Path) -> None:
    for run, dispatched in ((1, 10), (1, 20), (2, 5), (2, 7)):
        Tokens(tmp_path).admit(order(run, dispatched), "lab")
    assert len(list((tmp_path / "fence" / "lab").iterdir())) == 1


@pytest.mark.parametrize("step", ["start:hasura", "../../escape", "a/b", "~", ""])
def test_a_step_may_have_any_name(tmp_path: Path, step: str) -> None:
    tokens = Tokens(tmp_path)
    tokens.admit(order(1, 20, step), "lab")
    with pytest.raises(Refused, match="later attempt"):
        tokens.admit(order(1, 10, step), "lab")
    assert {path.parent for path in tmp_path.rglob("*") if path.is_file()} == {tmp_path / "fence" / "lab"}


def test_a_request_that_is_about_to_leave_when_its_hand_is_overtaken_does_not_leave(tmp_path: Path) -> None:
    """F-A4: frozen after a call had asked, and before its request was sent."""
    client = docker.DockerClient(base_url="tcp://127.0.0.1:1", version="1.41")
    Engine(client)

    def frozen_within_a_call() -> None:
        Tokens(tmp_path).admit(order(1, 10), "lab")
        copy_context().run(lambda: Tokens(tmp_path).admit(order(1, 20), "lab"))
        with pytest.raises(Refused, match="later attempt"):
            client.api.stop("x")
        with pytest.raises(requests.ConnectionError):
            client.api.inspect_container("x")

    copy_context().run(frozen_within_a_call)


def test_a_hand_that_was_frozen_while_its_request_connected_sends_nothing(tmp_path: Path) -> None:
    """F-A4: the question at the begin was answered, the engine let it wait, and another did the work."""
    path = tmp_path / "engine"
    received: list[bytes] = []
    Tokens(tmp_path).admit(order(1, 10), "lab")

    def engine(listening: socket.socket) -> None:
        one, _ = listening.accept()
        with one:
            one.settimeout(20)
            received.append(one.recv(65536))

    connect = UnixHTTPConnection.connect

    def slowly(self: UnixHTTPConnection) -> None:
        connect(self)
        copy_context().run(lambda: Tokens(tmp_path).admit(order(1, 20), "lab"))

    with socket.socket(socket.AF_UNIX) as listening, patch.object(UnixHTTPConnection, "connect", slowly):
        listening.bind(str(path))
        listening.listen()
        answering = Thread(target=engine, args=(listening,), daemon=True)
        answering.start()
        client = docker.DockerClient(base_url=f"unix://{path}", version="1.41")
        Engine(client)
        with pytest.raises(Refused, match="later attempt"):
            client.api.stop("x")
        answering.join(20)
        client.close()
    assert received == [b""]
