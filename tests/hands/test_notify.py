"""Telling people through real channels: HTTP servers of the test, as Apprise calls them."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import pytest

from activities.engine import Engine
from activities.notify import Channels
from activities.people import People, TellOrder
from activities.secrets import Secrets
from domain.errors import Refused
from domain.notify import Occasion
from tests.faults.record import Seen

pytestmark = pytest.mark.hand

WORD = "Kq7-only-the-channel-may-know"
STACK = """\
stack: shop
project: shop
services:
  postgres: {kind: postgres}
notify:
"""


class Inbox:
    """What arrived at one address; it may hang or refuse."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        self.status = 200
        self.go = threading.Event()
        self.go.set()

    @contextmanager
    def open(self) -> Iterator[str]:
        inbox = self

        class Answering(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                inbox.go.wait(30)
                inbox.taken.append({"path": self.path, **json.loads(body)})
                self.send_response(inbox.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"json://127.0.0.1:{server.server_port}/{WORD}"
        finally:
            self.go.set()
            server.shutdown()
            thread.join()
            server.server_close()


class Host:
    """A host with one stack, whose channels a test names."""

    def __init__(self, directory: Path, **addresses: str) -> None:
        self.directory = directory
        self.file = directory / "shop.yaml"
        self.variables = {f"{name.upper()}_URL": url for name, url in addresses.items()}

    def people(self, *channels: str, patience_seconds: float = 10.0) -> People:
        self.file.write_text(STACK + "".join(f"  - {one}\n" for one in channels))
        secrets = Secrets(cast("Engine", None), self.variables)
        known = Channels({"shop": self.file}, "shop", secrets, patience_seconds=patience_seconds)
        return People(self.directory, known)

    def notices(self) -> list[str]:
        lines = (self.directory / "notices.jsonl").read_text().splitlines()
        return [json.loads(line)["sentence"] for line in lines]


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def address(inbox: Inbox) -> Iterator[str]:
    with inbox.open() as url:
        yield url


def told(sentence: str = "Gate swap waits", occasion: Occasion = Occasion.RECOVERY) -> TellOrder:
    return TellOrder(stack="shop", sentence=sentence, occasion=occasion)


def test_a_sentence_arrives_with_the_stack_and_the_occasion(
    tmp_path: Path, inbox: Inbox, address: str
) -> None:
    people = Host(tmp_path, ops=address).people("{name: ops, url: env:OPS_URL, on: [failed]}")
    people.ensure_told(told("daily: fresh: 48 h old", Occasion.FAILED))
    (message,) = inbox.taken
    assert (message["title"], message["message"]) == ("dr, stack shop: failed", "daily: fresh: 48 h old")
    assert message["path"] == f"/{WORD}"


def test_a_channel_hears_only_what_it_is_for(tmp_path: Path, inbox: Inbox, address: str) -> None:
    people = Host(tmp_path, ops=address).people("{name: ops, url: env:OPS_URL, on: [passed]}")
    for occasion in Occasion:
        people.ensure_told(told(occasion.value, occasion))
    assert [one["message"] for one in inbox.taken] == ["passed"]


def test_an_order_that_names_no_stack_is_told_by_the_default_one(
    tmp_path: Path, inbox: Inbox, address: str
) -> None:
    host = Host(tmp_path, ops=address)
    host.people("{name: ops, url: env:OPS_URL}").ensure_told(TellOrder(sentence="it could not be loaded"))
    assert len(inbox.taken) == 1
    assert host.notices() == ["it could not be loaded"]


@pytest.mark.fault("F10")
def test_a_channel_that_refuses_connections_keeps_nobody_from_being_told_by_the_other(
    tmp_path: Path,
    inbox: Inbox,
    address: str,
    seen: Seen,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """F-F10: nobody listens at the address of one of two channels."""
    caplog.set_level("DEBUG")
    host = Host(tmp_path, pager=f"json://user:{WORD}@127.0.0.1:9/{WORD}", ops=address)
    people = host.people("{name: pager, url: env:PAGER_URL}", "{name: ops, url: env:OPS_URL}")
    with pytest.raises(Refused) as refused:
        people.ensure_told(told())
    assert refused.value.what == "not told by pager (it did not take the message); told by ops"
    assert [one["message"] for one in inbox.taken] == ["Gate swap waits"]
    assert host.notices() == ["Gate swap waits"]
    seen(refused.value.what)
    said = capfd.readouterr()
    assert WORD not in f"{refused.value}{said.out}{said.err}"
    ours = [r.getMessage() for r in caplog.records if not r.name.startswith("urllib3")]
    assert not [line for line in ours if WORD in line]


@pytest.mark.fault("F10")
def test_a_channel_that_hangs_is_given_up_and_the_others_are_told_meanwhile(
    tmp_path: Path, inbox: Inbox, address: str, seen: Seen
) -> None:
    """F-F10: one channel takes the message and never answers."""
    slow = Inbox()
    slow.go.clear()
    with slow.open() as hanging:
        host = Host(tmp_path, slow=hanging, ops=address)
        people = host.people(
            "{name: slow, url: env:SLOW_URL}", "{name: ops, url: env:OPS_URL}", patience_seconds=3.0
        )
        with pytest.raises(Refused) as refused:
            people.ensure_told(told())
    assert refused.value.what == "not told by slow (no answer within 3 s); told by ops"
    assert len(inbox.taken) == 1
    seen(refused.value.what)


@pytest.mark.parametrize(
    ("url", "because"),
    [
        ("nothing of the kind", "its address is none that Apprise understands"),
        ("", "its address is none that Apprise understands"),
        (None, "the secret env:OPS_URL cannot be read"),
    ],
)
def test_an_address_that_is_none_or_missing_is_said_without_being_repeated(
    tmp_path: Path, url: str | None, because: str
) -> None:
    host = Host(tmp_path, **({} if url is None else {"ops": url}))
    with pytest.raises(Refused) as refused:
        host.people("{name: ops, url: env:OPS_URL}").ensure_told(told())
    assert refused.value.what == f"not told by ops ({because}); by no channel at all"
    assert host.notices() == ["Gate swap waits"]


def test_the_other_side_may_refuse_what_it_took(tmp_path: Path, inbox: Inbox, address: str) -> None:
    inbox.status = 500
    with pytest.raises(Refused, match="not told by ops"):
        Host(tmp_path, ops=address).people("{name: ops, url: env:OPS_URL}").ensure_told(told())


def test_a_broken_stack_file_keeps_the_notice_of_the_host_and_says_that_nobody_else_was_told(
    tmp_path: Path,
) -> None:
    host = Host(tmp_path)
    people = host.people("{name: ops, url: env:OPS_URL}")
    host.file.write_text("stack: [")
    for order in (told(), told().model_copy(update={"stack": "another"})):
        with pytest.raises(Refused) as refused:
            people.ensure_told(order)
        assert refused.value.what.startswith("not told by any channel (no stack file says by which)")
    assert host.notices() == ["Gate swap waits"] * 2
