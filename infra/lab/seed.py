"""The fixture: made once by the servers themselves, kept as volumes, copied into labs."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import docker
import httpx
from docker.errors import APIError, NotFound
from docker.models.containers import Container

from domain.errors import Unavailable
from domain.names import LABEL_MADE_BY
from infra.images.build import Images, Progress
from infra.images.recipes import SERVICES
from infra.lab.documents import DOCUMENTS
from infra.lab.settings import Scale

SCHEMA = Path(__file__).parent / "schema"
LABEL_CACHE, LABEL_PART = "dr.cache", "dr.seed."
COUNTS: dict[Scale, dict[str, int]] = {
    "small": {
        "users": 200,
        "channels": 20,
        "messages": 2_000,
        "files": 40,
        "notifications": 1_000,
        "audit_logs": 1_500,
    },
    "demo": {
        "users": 2_000,
        "channels": 200,
        "messages": 100_000,
        "files": 300,
        "notifications": 200_000,
        "audit_logs": 420_000,
    },
}
# A seed that is lost in a crash is made again, so speed goes before safety here and only here.
FAST = {
    "fsync": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "8GB",
    "maintenance_work_mem": "256MB",
    "work_mem": "64MB",
    "autovacuum": "off",
    "shared_buffers": "512MB",
}
BATCH = 5_000


class SeedCache:
    """Volumes with the fixture of one scale, for one state of the schema and of the images."""

    def __init__(self, client: docker.DockerClient, images: Images, progress: Progress) -> None:
        self._client, self._images, self._progress = client, images, progress

    def ensure(self, scale: Scale) -> dict[str, str]:
        """Return the names of the volumes ``postgres`` and ``search``, made when they are not there yet."""
        marker = f"dr-seed-{scale}-{self._digest(scale)}"
        if found := self._found(marker):
            return found
        with _one_process(marker):
            return self._found(marker) or self._make(marker, scale)

    def _found(self, marker: str) -> dict[str, str] | None:
        try:
            labels = self._client.volumes.get(marker).attrs["Labels"]
            names = {part: str(labels[LABEL_PART + part]) for part in ("postgres", "search")}
            for name in names.values():
                self._client.volumes.get(name)
        except NotFound:
            return None
        return names

    def _digest(self, scale: Scale) -> str:
        total = hashlib.sha256(json.dumps([COUNTS[scale], DOCUMENTS]).encode())
        total.update(self._images.reference("postgres").encode())
        if self._images.registry_answers():
            total.update(self._images.reference("meilisearch").encode())
        else:
            # Of the stand-in only the form of its files matters: the other services share its image's tag.
            total.update((SERVICES / "search_store.py").read_bytes())
        for path in sorted(SCHEMA.glob("*.sql")):
            total.update(path.read_bytes())
        return total.hexdigest()[:12]

    def _make(self, marker: str, scale: Scale) -> dict[str, str]:
        labels = {LABEL_CACHE: "seed", LABEL_MADE_BY: "dr"}
        names = {part: f"{marker}-{part}-{secrets.token_hex(4)}" for part in ("postgres", "search")}
        made: list[Container] = []
        for name in names.values():
            self._client.volumes.create(name, labels=labels)
        try:
            database = self._start_database(names["postgres"])
            made.append(database)
            self._load(database, scale)
            search, key = self._start_search(names["search"])
            made.append(search)
            self._index(database, search, key)
            for one in made:
                _stop_cleanly(one)
            os.sync()
        except BaseException:
            for one in made:
                one.remove(force=True, v=True)
            for name in names.values():
                self._client.volumes.get(name).remove(force=True)
            raise
        for one in made:
            one.remove(v=True)
        # The marker comes last: volumes without it are not used.
        parts = {LABEL_PART + part: name for part, name in names.items()}
        self._client.volumes.create(marker, labels={**labels, **parts})
        self._remove_older(scale, {marker, *names.values()})
        return names

    def _remove_older(self, scale: Scale, kept: set[str]) -> None:
        for volume in self._client.volumes.list(filters={"label": f"{LABEL_CACHE}=seed"}):
            if str(volume.name).startswith(f"dr-seed-{scale}-") and volume.name not in kept:
                with suppress(APIError):  # somebody copies it at this moment
                    volume.remove()

    def _start_database(self, volume: str) -> Container:
        command = ["postgres", *(word for key, value in FAST.items() for word in ("-c", f"{key}={value}"))]
        container = self._client.containers.run(
            self._images.ensure("postgres"),
            command,
            environment={
                "POSTGRES_PASSWORD": secrets.token_hex(16),
                "POSTGRES_DB": "nchat",
                "PGDATA": "/var/lib/postgresql/data",
            },
            volumes={
                volume: {"bind": "/var/lib/postgresql/data"},
                str(SCHEMA): {"bind": "/schema", "mode": "ro"},
            },
            network_mode="none",
            shm_size="1g",
            labels={LABEL_MADE_BY: "dr"},
            detach=True,
        )
        _wait(
            lambda: container.exec_run(["pg_isready", "-h", "127.0.0.1"]).exit_code == 0,
            "the seed's database",
        )
        return container

    def _load(self, database: Container, scale: Scale) -> None:
        options = " ".join(f"-c lab.{name}={count}" for name, count in COUNTS[scale].items())
        files = sorted(SCHEMA.glob("*.sql"))
        for number, file in enumerate(files):
            self._progress(f"seeding {scale}: {file.stem[3:].replace('_', ' ')}", number / (len(files) + 1))
            command = [
                "psql",
                "-qX",
                "-v",
                "ON_ERROR_STOP=1",
                "-U",
                "postgres",
                "-d",
                "nchat",
                "-f",
                f"/schema/{file.name}",
            ]
            done = database.exec_run(command, environment={"PGOPTIONS": options})
            if done.exit_code != 0:
                raise Unavailable(
                    f"seeding failed in {file.name}",
                    where=cast("bytes", done.output).decode()[-500:],
                    code="seed-failed",
                )

    def _start_search(self, volume: str) -> tuple[Container, str]:
        key = secrets.token_hex(16)
        container = self._client.containers.run(
            self._images.ensure("meilisearch"),
            environment={
                "MEILI_MASTER_KEY": key,
                "MEILI_DB_PATH": "/meili_data",
                "MEILI_NO_ANALYTICS": "true",
            },
            volumes={volume: {"bind": "/meili_data"}},
            ports={"7700/tcp": ("127.0.0.1", 0)},
            labels={LABEL_MADE_BY: "dr"},
            detach=True,
        )
        return container, key

    def _index(self, database: Container, search: Container, key: str) -> None:
        search.reload()
        port = search.attrs["NetworkSettings"]["Ports"]["7700/tcp"][0]["HostPort"]
        headers = {"Authorization": f"Bearer {key}"}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60) as client:
            _wait(lambda: _answers(client), "the seed's search")
            fill_search(client, lambda query: _rows(database, query), self._progress)


def fill_search(client: httpx.Client, rows: Any, progress: Progress) -> None:  # noqa: ANN401 - a callable
    """Index every live row: ``rows(query)`` yields one JSON document a row."""
    last = 0
    for index, query in DOCUMENTS.items():
        batch: list[str] = []
        for row in rows(query):
            batch.append(row)
            if len(batch) == BATCH:
                last = _send(client, index, batch)
                batch = []
        last = _send(client, index, batch)
        progress(f"indexing {index}", None)
    _wait(lambda: client.get(f"/tasks/{last}").json()["status"] == "succeeded", "indexing", seconds=300)


def _send(client: httpx.Client, index: str, batch: list[str]) -> int:
    url = f"/indexes/{index}/documents?primaryKey=id"
    headers = {"Content-Type": "application/json"}
    said = client.post(url, content=("[" + ",".join(batch) + "]").encode(), headers=headers)
    said.raise_for_status()
    return int(said.json()["taskUid"])


def _rows(database: Container, query: str) -> Iterator[str]:
    # Read in one piece: the engine's client leaves the socket of a streamed answer open.
    done = database.exec_run(["psql", "-AtX", "-U", "postgres", "-d", "nchat", "-c", query])
    output = cast("bytes", done.output)
    if done.exit_code != 0:
        raise Unavailable("reading the seed failed", where=output[-300:].decode(), code="seed-failed")
    yield from (line.decode() for line in output.splitlines() if line)


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/health").status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def _wait(ready: Any, what: str, seconds: float = 60) -> None:  # noqa: ANN401 - a callable
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise Unavailable(f"{what} was not ready within {seconds:.0f} s", code="seed-failed")
        time.sleep(0.2)


def _stop_cleanly(container: Container) -> None:
    container.stop(timeout=120)
    container.reload()
    if container.attrs["State"]["ExitCode"] != 0:
        raise Unavailable(
            "a server of the seed did not stop cleanly",
            where=container.logs(tail=5).decode(),
            code="seed-failed",
        )


@contextmanager
def _one_process(name: str) -> Iterator[None]:
    with (Path(tempfile.gettempdir()) / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def copy_volume(client: docker.DockerClient, image: str, source: str, target: str) -> bool:
    """Copy a volume into another one that is empty; False when it is not empty and was left alone."""
    script = '[ -z "$(ls -A /to)" ] || exit 3; cp -a --reflink=auto /from/. /to/ && sync -f /to'
    container = client.containers.run(
        image,
        ["sh", "-c", script],
        volumes={source: {"bind": "/from", "mode": "ro"}, target: {"bind": "/to"}},
        network_mode="none",
        labels={LABEL_MADE_BY: "dr"},
        name=f"dr-copy-{uuid.uuid4().hex[:8]}",
        detach=True,
    )
    try:
        code = container.wait()["StatusCode"]
        if code not in (0, 3):
            raise Unavailable(
                "the seed could not be copied", where=container.logs().decode()[-300:], code="seed-failed"
            )
    finally:
        container.remove(force=True)
    return bool(code == 0)


def object_bytes(key: str, size: int) -> bytes:
    """Return the content of a seeded object: its id's digest, repeated to its size."""
    block = hashlib.sha256(key.encode()).digest()
    return (block * (size // len(block) + 1))[:size]


def remove_seeds(client: docker.DockerClient) -> list[str]:
    """Remove the cached fixtures; returns the names of the volumes."""
    gone = []
    for volume in client.volumes.list(filters={"label": [f"{LABEL_CACHE}=seed", f"{LABEL_MADE_BY}=dr"]}):
        volume.remove()
        gone.append(str(volume.name))
    return gone
