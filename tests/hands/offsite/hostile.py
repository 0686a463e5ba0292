"""Stands between us and a far store and misbehaves as a test says: seen by what it counts."""

import http.client
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

Deed = Literal["error", "cut", "hold", "hold answer", "lie about size", "other bytes", "cut answer"]
_HOP = {"connection", "transfer-encoding", "keep-alive", "content-length", "date", "server"}
_ERROR = "<?xml version='1.0'?><Error><Code>{code}</Code><Message>as a test wants it</Message></Error>"


@dataclass
class Trouble:
    """What happens to requests that match; ``after`` of them pass before, ``times`` are met."""

    deed: Deed
    method: str = "PUT"
    pattern: str = ""
    times: int = 1
    after: int = 0
    status: int = 503
    code: str = "SlowDown"
    met: int = 0


@dataclass
class Weather:
    """What the store's neighbourhood does, and what it saw."""

    troubles: list[Trouble] = field(default_factory=list)
    without_checksums: bool = False
    without_conditions: bool = False
    requests: list[tuple[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    """Every byte that left us, request by request."""
    holding: threading.Event = field(default_factory=threading.Event)
    """Set while a request is held."""
    released: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, method: str, pattern: str) -> int:
        """Return how many requests of a kind came."""
        return sum(1 for m, path in self.requests if m == method and re.search(pattern, path))

    def trouble_for(self, method: str, path: str) -> Trouble | None:
        """Return what this request meets."""
        with self.lock:
            for one in self.troubles:
                if one.method != method or not re.search(one.pattern, path):
                    continue
                if one.after > 0:
                    one.after -= 1
                elif one.met < one.times:
                    one.met += 1
                    return one
        return None


@contextmanager
def misbehaving(upstream: int) -> Iterator[tuple[str, Weather]]:
    """Forward a new port of 127.0.0.1 to ``upstream``; yield the address and the weather."""
    weather = Weather()
    server = _Server(upstream, weather)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", weather
    finally:
        weather.released.set()
        server.shutdown()
        server.server_close()
        thread.join(10)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, upstream: int, weather: Weather) -> None:
        super().__init__(("127.0.0.1", 0), _Forwarding)
        self.upstream = upstream
        self.weather = weather


class _Forwarding(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    @property
    def weather(self) -> Weather:
        return self.server.weather

    def handle_any(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        with self.weather.lock:
            self.weather.requests.append((self.command, self.path))
            self.weather.bodies.append(body)
        trouble = self.weather.trouble_for(self.command, self.path)
        if trouble is not None and self._before(trouble):
            return
        if self.weather.without_conditions and "If-None-Match" in self.headers:
            self._refuse(501, "NotImplemented")
            return
        status, headers, content = self._ask(body)
        if trouble is not None and trouble.deed == "hold answer":
            self.weather.holding.set()
            self.weather.released.wait(60)
            self.close_connection = True
            return
        self._answer(status, headers, content, trouble)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any  # noqa: N815 - names of the library

    def _before(self, trouble: Trouble) -> bool:
        """Do what happens before the store hears of it; tell whether it never does."""
        match trouble.deed:
            case "error":
                self._refuse(trouble.status, trouble.code)
                return True
            case "cut":
                self.close_connection = True
                self.connection.close()
                return True
            case "hold":
                self.weather.holding.set()
                self.weather.released.wait(60)
                self.close_connection = True
                return True
            case _:
                return False

    def _ask(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        there = http.client.HTTPConnection("127.0.0.1", self.server.upstream, timeout=30)
        try:
            headers = {k: v for k, v in self.headers.items() if k.lower() != "expect"}
            there.request(self.command, self.path, body=body or None, headers=headers)
            answer = there.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            there.close()

    def _answer(
        self, status: int, headers: list[tuple[str, str]], content: bytes, trouble: Trouble | None
    ) -> None:
        deed = trouble.deed if trouble is not None else ""
        length = {k.lower(): v for k, v in headers}.get("content-length", str(len(content)))
        if deed == "other bytes":
            content = bytes(255 - one for one in content)
        if deed == "lie about size":
            length = str(int(length) - 1)
        self.send_response(status)
        for key, value in headers:
            bare = key.lower()
            if bare in _HOP or (self.weather.without_checksums and bare.startswith("x-amz-checksum")):
                continue
            self.send_header(key, value)
        self.send_header("Content-Length", length if self.command == "HEAD" else str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if deed == "cut answer" else content)
        if deed == "cut answer":
            self.close_connection = True

    def _refuse(self, status: int, code: str) -> None:
        content = b"" if self.command == "HEAD" else _ERROR.format(code=code).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing: a test fails by what it asserts."""

    def handle(self) -> None:
        try:
            super().handle()
        except (ConnectionError, ValueError):
            self.close_connection = True


def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until something holds; fail when it does not come to pass."""
    ticking = threading.Event()
    for _ in range(int(seconds / 0.05)):
        if holds():
            return
        ticking.wait(0.05)
    raise AssertionError("it did not come to pass")
