"""A second object store beside a stand, and plain copies through S3 for comparison."""

import contextlib
import secrets
import socket
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from activities.backup_keys import BackupKeys
from activities.offsite_side import FarAddress
from bench.plain import until
from bench.stand import Stand
from domain.names import LABEL_STACK
from worker.far_store import s3_client

BUCKETS = ("objects", "offsite", "raw")
_USER = "bench"
_THREADS = 4


class Far:
    """MinIO in a container of the stand; removed with it."""

    def __init__(self, on: Stand) -> None:
        """Start it, make its buckets, and let the stand's stack file name it."""
        self._stand = on
        self._password = secrets.token_urlsafe(16)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        on.client.containers.run(
            on.facts().target.service("minio").image_id,
            ["server", "/data"],
            name=f"dr-{on.name}-far",
            labels={LABEL_STACK: on.name},
            environment={"MINIO_ROOT_USER": _USER, "MINIO_ROOT_PASSWORD": self._password},
            ports={"9000/tcp": ("127.0.0.1", self.port)},
            detach=True,
        )
        until(self._answers, "the far store answers")
        self.client = self._connected(self.port, _USER, self._password)
        for bucket in BUCKETS:
            self.client.create_bucket(Bucket=bucket)
        BackupKeys(on.settings.state).new(datetime.now(UTC))
        self._name_it()

    def live(self) -> Any:  # noqa: ANN401 - boto3 makes its classes at run time
        """Return a client of the stand's own object store."""
        target = self._stand.facts().target
        service = target.service("minio")
        keys = [
            self._stand.secrets().reveal(service.secrets[name], target.project)
            for name in ("access_key", "secret_key")
        ]
        return self._connected(service.published["9000"], *keys)

    def put_files(self, files: Iterable[Path], prefix: str) -> float:
        """Put files into the scratch bucket as a plain script would; return the seconds."""
        began = time.monotonic()
        with ThreadPoolExecutor(_THREADS) as threads:
            list(
                threads.map(
                    lambda path: self.client.upload_file(str(path), "raw", f"{prefix}/{path.name}"), files
                )
            )
        return time.monotonic() - began

    def copy_objects(self, live: Any) -> float:  # noqa: ANN401 - boto3 makes its classes at run time
        """Copy all current objects into the scratch bucket as a plain script would; return the seconds."""
        began = time.monotonic()

        def copy(one: tuple[str, str]) -> None:
            with contextlib.closing(live.get_object(Bucket=one[0], Key=one[1])["Body"]) as body:
                self.client.upload_fileobj(body, "raw", f"{one[0]}/{one[1]}")

        with ThreadPoolExecutor(_THREADS) as threads:
            list(threads.map(copy, objects_of(live)))
        return time.monotonic() - began

    def _answers(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            url = f"http://127.0.0.1:{self.port}/minio/health/live"
            return httpx.get(url, timeout=2, trust_env=False).status_code == httpx.codes.OK
        return False

    def _connected(self, port: int, user: str, password: str) -> Any:  # noqa: ANN401 - boto3's
        return s3_client(FarAddress(f"http://127.0.0.1:{port}", "us-east-1", user, password))

    def _name_it(self) -> None:
        state = self._stand.settings.state
        for name, text in {"far-access": _USER, "far-secret": self._password}.items():
            (state / name).write_text(text)
            (state / name).chmod(0o600)
        keys = f"access_key: file:{state}/far-access, secret_key: file:{state}/far-secret"
        where = f"endpoint: http://127.0.0.1:{self.port}, {keys}"
        file = state / "stacks" / f"{self._stand.name}.yaml"
        text = file.read_text(encoding="utf-8")
        text = text.replace("second_store: null", f"second_store: {{{where}, bucket: objects}}", 1)
        text += f"\noffsite: {{{where}, bucket: offsite, storage_class: STANDARD, sse: none}}\n"
        file.write_text(text, encoding="utf-8")


def objects_of(live: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - boto3 makes its classes at run time
    """Yield bucket and key of all current objects that users have."""
    for bucket in live.list_buckets()["Buckets"]:
        if bucket["Name"] != "dr-ledger":
            for page in live.get_paginator("list_objects_v2").paginate(Bucket=bucket["Name"]):
                for one in page.get("Contents") or []:
                    yield bucket["Name"], one["Key"]


def fill(live: Any, wanted_bytes: int) -> None:  # noqa: ANN401 - boto3 makes its classes at run time
    """Put new objects, large and small ones, until they have a size."""
    sizes = (64 << 10, 256 << 10, 1 << 20, 8 << 20)
    done = number = 0
    while done < wanted_bytes:
        size = sizes[number % len(sizes)]
        live.put_object(Bucket="uploads", Key=f"bench/{number}", Body=secrets.token_bytes(size))
        done, number = done + size, number + 1
