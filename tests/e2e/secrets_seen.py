"""Everything that a recovery says anywhere, gathered while it runs and after, so that it can be searched."""

import asyncio
import base64
import json
import threading
from collections.abc import Iterator, Mapping
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from typing import Self
from urllib.parse import quote

import grpc  # type: ignore[import-untyped]  # its authors give no types
import httpx
from docker.errors import DockerException

from domain import names
from tests.e2e.stand import Stand
from worker.connection import connect

# Where secrets are kept on purpose: the lab's own settings, what a test put there, the server's password
# file, and the users' data.
KEPT_ON_PURPOSE = ("lab/", "canary", "shelf/postgres/base", "shelf/postgres/wal", ".pgpass")


class Watching(threading.Thread):
    """Looks ten times a second at argument lists, at containers of ours and at what open runs beat."""

    def __init__(self, stand: Stand) -> None:
        """Watch a stand."""
        super().__init__(daemon=True, name="watching")
        self.seen: dict[str, set[str]] = {"argv of processes": set(), "containers": set(), "open runs": set()}
        self._stand = stand
        self._over = threading.Event()

    def __enter__(self) -> Self:
        """Begin."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End after the look in hand."""
        self._over.set()
        self.join(30)

    def run(self) -> None:
        """Look until it is over."""
        while not self._over.wait(0.1):
            self.look()

    def look(self) -> None:
        """Look once."""
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                self.seen["argv of processes"].add(path.read_bytes().decode(errors="replace"))
            except OSError:
                continue  # it ended meanwhile
        self.seen["containers"] |= set(self._containers())
        self.seen["open runs"] |= set(asyncio.run(described(self._stand, "ExecutionStatus = 'Running'")))

    def _containers(self) -> Iterator[str]:
        api = self._stand.client.api
        try:
            ours = api.containers(all=True, filters={"label": f"{names.LABEL_MADE_BY}=dr"})
        except DockerException:
            return
        for one in ours:
            try:
                yield json.dumps(api.inspect_container(one["Id"]))
            except DockerException:
                continue


async def described(stand: Stand, query: str = "") -> list[str]:
    """Return what the server shows of runs: search attributes, memo, pending activities with their beats."""
    try:
        client = await connect("test", stand.state)
        found = []
        async for run in client.list_workflows(query):
            handle = client.get_workflow_handle(run.id, run_id=run.run_id)
            found.append(
                (await handle.describe()).raw_description.SerializeToString().decode(errors="replace")
            )
    except Exception:  # noqa: BLE001 - a look that fails is made again
        return []
    return found


async def histories(stand: Stand) -> list[str]:
    """Return every history, payloads and failures included."""
    client = await connect("test", stand.state)
    found = []
    async for run in client.list_workflows():
        history = await client.get_workflow_handle(run.id, run_id=run.run_id).fetch_history()
        found += [event.SerializeToString().decode(errors="replace") for event in history.events]
    return found


@contextmanager
def spans() -> Iterator[tuple[str, list[str]]]:
    """Take the place of a collector of traces; give out its address and what was sent to it."""
    sent: list[str] = []

    class Collector(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
        def service(self, _: object) -> object:
            def export(request: bytes, __: object) -> bytes:
                sent.append(request.decode(errors="replace"))
                return b""

            return grpc.unary_unary_rpc_method_handler(export)

    server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
    server.add_generic_rpc_handlers((Collector(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"http://127.0.0.1:{port}", sent
    finally:
        server.stop(5).wait()


def files(stand: Stand) -> Iterator[tuple[str, str]]:
    """Yield every file of the state directory that holds no secret on purpose: logs, reports, histories."""
    for path in sorted(stand.state.rglob("*")):
        name = str(path.relative_to(stand.state))
        if path.is_file() and not any(kept in name for kept in KEPT_ON_PURPOSE):
            yield f"file {name}", path.read_bytes().decode(errors="replace")


def gathered(stand: Stand, watching: Watching, sent: list[str]) -> dict[str, str]:
    """Return all that can be searched, by the place where it was found."""
    metrics = httpx.get(f"http://{stand.environment['DR_METRICS_BIND']}/metrics", trust_env=False).text
    places = {place: "\n".join(texts) for place, texts in watching.seen.items()}
    places |= {
        "histories": "\n".join(asyncio.run(histories(stand))),
        "search attributes and memo": "\n".join(asyncio.run(described(stand))),
        "metrics": metrics,
        "traces": "\n".join(sent),
    }
    return places | dict(files(stand))


def spelled(secret: str) -> set[str]:
    """Return how a secret may be written."""
    return {
        secret,
        json.dumps(secret)[1:-1],
        quote(secret, safe=""),
        base64.b64encode(secret.encode()).decode().rstrip("="),
    }


def found_in(places: Mapping[str, str], secrets: Mapping[str, str]) -> list[str]:
    """Return which secret was found where."""
    return [
        f"{name} in {place}"
        for name, secret in secrets.items()
        for place, text in places.items()
        if any(written in text for written in spelled(secret))
    ]
