"""The worker's ``/metrics``: what Temporal's SDK measured, and behind it what is read at each scrape.

The SDK cannot take a series back once it was set, and an age that nobody can read any more must go.
"""

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import structlog
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.registry import Collector

_SECONDS = 5.0
_PATHS = {"/", "/metrics"}
_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def free_address() -> str:
    """Return an address on loopback that nobody listens at, for the SDK's own page."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


class MetricsPage:
    """Serves one page out of two until it is closed."""

    def __init__(self, bind: str, inner: str, *collectors: Collector) -> None:
        """Listen at ``bind`` (``host:port``); ``inner`` is where the SDK serves. Raises ``OSError``."""
        self._inner = inner
        self._registry = CollectorRegistry()
        for collector in collectors:
            self._registry.register(collector)
        host, _, port = bind.rpartition(":")
        self._server = ThreadingHTTPServer((host.strip("[]"), int(port)), self._handler())
        self._server.daemon_threads = True
        self.address = f"{self._server.server_address[0]!s}:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(_SECONDS)

    def text(self) -> bytes:
        """Return both pages; a half that cannot be had is missing, and its series with it."""
        return self._of_the_sdk() + self._read_now()

    def _of_the_sdk(self) -> bytes:
        try:
            answer = httpx.get(f"http://{self._inner}/metrics", timeout=_SECONDS, trust_env=False)
        except httpx.HTTPError as error:
            structlog.get_logger().warning("the SDK's metrics are missing", reason=type(error).__name__)
            return b""
        return answer.content if answer.is_success else b""

    def _read_now(self) -> bytes:
        try:
            return generate_latest(self._registry)
        except Exception:  # noqa: BLE001 - whatever it is, the other half is served
            structlog.get_logger().exception("the metrics of backups are missing")
            return b""

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        page = self

        class Answering(BaseHTTPRequestHandler):
            timeout = _SECONDS

            def do_GET(self) -> None:
                known = self.path.partition("?")[0] in _PATHS
                body = page.text() if known else b"there is /metrics\n"
                self.send_response(200 if known else 404)
                self.send_header("Content-Type", _TYPE)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library names it so
                """Say nothing: a scrape is no event."""

        return Answering
