"""Services that answer too much, too deeply, for ever, or with words that are not theirs to say."""

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from activities import auth, proxy
from activities.answers import LIMIT_BYTES, AnswerTooLarge, ask, json_in
from activities.hasura import ask_metadata
from activities.traffic import _once, _Texts
from domain.errors import Unavailable
from domain.recovery import Proof
from domain.stack import Call
from tests.faults.record import Seen

pytestmark = pytest.mark.timeout(120)
MARKUP = "![x](http://evil.example/i) <script>alert(1)</script>\x1b[2J\nFORGED postgres://u:S3cret-dsn@db/x"


@contextmanager
def answering(
    body: bytes, *, status: int = 200, packed: bool = False, endless: bool = False
) -> Iterator[str]:
    """Serve one answer to every question, and give out the address."""
    asked: list[str] = []

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            if packed:
                self.send_header("Content-Encoding", "gzip")
            if not endless:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            try:
                self.wfile.write(body)
                while endless:
                    self.wfile.write(body)
            except OSError:
                return

        do_POST = do_GET  # noqa: N815 - the name is the library's

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


@pytest.mark.fault("K7")
@pytest.mark.parametrize("kind", ["packed", "endless", "large"])
def test_an_answer_without_end_stops_at_the_cap(kind: str, seen: Seen) -> None:
    """F-K7: a packed gigabyte, an endless stream and a large answer of a service."""
    body = gzip.compress(b"x" * 300_000_000) if kind == "packed" else b"x" * (LIMIT_BYTES + 1)
    with (
        answering(body, packed=kind == "packed", endless=kind == "endless") as url,
        httpx.Client(base_url=url, timeout=5, trust_env=False) as client,
    ):
        with pytest.raises(AnswerTooLarge):
            ask(client, "GET", "/")
        found = [proxy.probe("web", url, "/"), auth.probe("auth", url, "a@b", "p")]
        trouble, _ = _trouble(client)
    assert [proof.passed for proof in found] == [False, False]
    assert "AnswerTooLarge" in trouble
    seen(f"{len(body)} bytes on the wire: {found[0].evidence}")


def _trouble(client: httpx.Client) -> tuple[str, str]:
    try:
        said, status = _once(client, Call(name="look", path="/", capture={"id": "a"}), _Texts({}))
    except httpx.HTTPError as error:
        return type(error).__name__, ""
    return said or "", status


@pytest.mark.fault("K7")
def test_an_answer_that_nests_without_end_is_no_json(seen: Seen) -> None:
    """F-K7: deep JSON in the answers that are read."""
    with (
        answering(b"[" * 500_000) as url,
        httpx.Client(base_url=url, timeout=5, trust_env=False) as client,
    ):
        assert json_in(ask(client, "GET", "/")) is None
        assert _trouble(client)[0] == "status 200, but the answer has no a"
        assert auth.probe("auth", url, "a@b", "p").passed is False
        with pytest.raises(Unavailable):
            ask_metadata(client, "reload_metadata", {})
    seen("taken for no JSON by each reader")


@pytest.mark.fault("K8")
def test_what_a_service_replies_is_quoted_harmlessly_and_without_its_secret(seen: Seen) -> None:
    """F-K8: markup, escapes and a password in the error that a service gives."""
    body = json.dumps({"error": MARKUP}).encode()
    with answering(body, status=500) as url, httpx.Client(base_url=url, trust_env=False) as client:
        with pytest.raises(Unavailable) as refused:
            ask_metadata(client, "reload_metadata", {})
        said = [str(refused.value)]
    with answering(b'{"error":"x"}') as url:
        said.append(auth.probe("auth", url, "a@b", "p").evidence)
    said.append(Proof(name="x", passed=False, evidence=MARKUP).evidence)
    for one in said:
        assert one.isprintable()
        assert "S3cret-dsn" not in one
    seen(said[0])


def test_a_captured_value_is_one_part_of_a_path_and_never_another_host() -> None:
    texts = _Texts({})
    texts.keep({"id": "../../admin?x=//evil.example/ \r\nHost: evil"})
    path = texts.fill_path("/functions/files/{id}/{unknown}")
    assert path.startswith("/functions/files/..%2F..%2Fadmin%3Fx%3D%2F%2Fevil.example")
    assert path.endswith("/{unknown}")
    assert not set(path) & set("\r\n ?")
