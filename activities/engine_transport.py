"""The last moment before a request leaves for the Docker engine: a change is asked for once more (F-A4).

A hand is frozen anywhere: between the question at the begin of a call and the bytes on the socket lie looks,
pools and a connect, each of which may take until somebody else has done the work.
"""

from typing import Any, cast

import docker
import requests
from docker.transport import UnixHTTPAdapter
from docker.transport.unixconn import UnixHTTPConnection, UnixHTTPConnectionPool
from requests.adapters import BaseAdapter

from activities.tokens import require_admitted

_READS = {"GET", "HEAD"}


def ask_before_each_change(client: docker.DockerClient) -> None:
    """Have a client's requests that are not reads pass only for a hand that was not overtaken."""
    for prefix, transport in list(client.api.adapters.items()):
        if isinstance(transport, (_AskingSocket, _Asking)):
            continue
        asking = _AskingSocket(transport) if isinstance(transport, UnixHTTPAdapter) else _Asking(transport)
        client.api.mount(prefix, asking)


class _Connection(UnixHTTPConnection):
    """Connects first and asks then, so that nothing is waited for between the answer and the bytes."""

    changes = False

    def putrequest(self, method: str, *given: Any, **named: Any) -> None:  # noqa: ANN401 - as http.client takes it
        """Begin a request."""
        self.changes = method.upper() not in _READS
        super().putrequest(method, *given, **named)

    def send(self, data: Any) -> None:  # noqa: ANN401 - as http.client takes it
        """Send bytes of a request."""
        if self.sock is None:
            self.connect()
        if self.changes:
            require_admitted()
        super().send(data)


class _Pool(UnixHTTPConnectionPool):
    def _new_conn(self) -> Any:  # noqa: ANN401 - the stubs of the library do not agree with each other
        return _Connection(self.base_url, self.socket_path, cast("Any", self.timeout))


class _AskingSocket(UnixHTTPAdapter):
    """Docker's transport through its socket, with connections that ask."""

    def __init__(self, like: UnixHTTPAdapter) -> None:
        super().__init__(f"http+unix://{like.socket_path}", like.timeout, max_pool_size=like.max_pool_size)

    def get_connection(self, url: str | bytes, proxies: Any = None) -> _Pool:  # noqa: ANN401, ARG002 - as requests asks
        """Return the pool for a URL."""
        with self.pools.lock:
            pool: _Pool | None = self.pools.get(url)
            if pool is None:
                pool = _Pool(str(url), self.socket_path, self.timeout, maxsize=self.max_pool_size)
                self.pools[url] = pool
            return pool


class _Asking(BaseAdapter):
    """Stands before a transport over the network, whose connections are not ours."""

    def __init__(self, transport: BaseAdapter) -> None:
        super().__init__()
        self._transport = transport

    def send(self, request: requests.PreparedRequest, *given: Any, **named: Any) -> requests.Response:  # noqa: ANN401 - as the transport takes it
        """Ask, and send."""
        if request.method not in _READS:
            require_admitted()
        return self._transport.send(request, *given, **named)

    def close(self) -> None:
        """Close the transport."""
        self._transport.close()
