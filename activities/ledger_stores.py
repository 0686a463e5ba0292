"""How a marker is written to each store, found again and pruned; every call has a short deadline."""

import io
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Protocol

import httpx
import minio
import redis
import urllib3
from minio.deleteobjects import DeleteObject
from minio.error import S3Error
from redis.backoff import NoBackoff
from redis.retry import Retry

from activities.ledger_deadlines import ANSWER_SECONDS, CONNECT_SECONDS, speaking
from activities.ledger_places import Place
from activities.ledger_postgres import PostgresMarkers
from domain.ledger import Store

BUCKET = "dr-ledger"
KEY_PREFIX = "dr:marker:"
INDEX = "dr_marker"
_OBJECT_PREFIX = "marker/"
_ALL = 1_000_000
_NOT_FOUND = 404


class MarkerStore(Protocol):
    """One open connection to a store. Every method raises ``Unavailable``."""

    def write(self, n: int) -> None:
        """Return when the store has acknowledged the marker."""

    def present(self) -> set[int]:
        """Return the numbers that are there; a place that was never made is empty."""

    def prune(self, numbers: Sequence[int]) -> None:
        """Remove these markers; those that are gone already are fine."""

    def close(self) -> None:
        """Let go of the connection."""


class RedisMarkers:
    """One key a marker."""

    def __init__(self, place: Place, *, may_create: bool = True) -> None:
        """Connect lazily: the first command does; there is nothing to make."""
        del may_create
        self._client = redis.Redis(
            host=place.host,
            port=place.port,
            password=place.secrets.get("password") or None,
            socket_timeout=ANSWER_SECONDS,
            socket_connect_timeout=CONNECT_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )

    def write(self, n: int) -> None:
        """Set one key."""
        with speaking(Store.REDIS):
            self._client.set(f"{KEY_PREFIX}{n}", datetime.now(UTC).isoformat())

    def present(self) -> set[int]:
        """Scan for the keys; a scan returns every key that is there from its start to its end."""
        with speaking(Store.REDIS):
            keys = self._client.scan_iter(match=f"{KEY_PREFIX}*", count=5000)
            return {int(key[len(KEY_PREFIX) :]) for key in keys}

    def prune(self, numbers: Sequence[int]) -> None:
        """Delete keys."""
        with speaking(Store.REDIS):
            self._client.delete(*(f"{KEY_PREFIX}{n}" for n in numbers))

    def close(self) -> None:
        """Close the connection."""
        with suppress(redis.RedisError, OSError):
            self._client.close()


class ObjectMarkers:
    """One small object a marker, in a bucket of its own."""

    def __init__(self, place: Place, *, may_create: bool = True) -> None:
        """Make the bucket when it is missing."""
        self._pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=ANSWER_SECONDS), retries=False
        )
        self._client = minio.Minio(
            endpoint=f"{place.host}:{place.port}",
            access_key=place.secrets.get("access_key", ""),
            secret_key=place.secrets.get("secret_key", ""),
            secure=False,
            region="us-east-1",
            http_client=self._pool,
        )
        with speaking(Store.OBJECTS):
            if may_create and not self._client.bucket_exists(bucket_name=BUCKET):
                self._client.make_bucket(bucket_name=BUCKET)

    def write(self, n: int) -> None:
        """Put one object."""
        body = datetime.now(UTC).isoformat().encode()
        with speaking(Store.OBJECTS):
            self._client.put_object(
                bucket_name=BUCKET,
                object_name=f"{_OBJECT_PREFIX}{n}",
                data=io.BytesIO(body),
                length=len(body),
            )

    def present(self) -> set[int]:
        """List the objects."""
        with speaking(Store.OBJECTS):
            try:
                found = self._client.list_objects(bucket_name=BUCKET, prefix=_OBJECT_PREFIX)
                return {int(str(entry.object_name)[len(_OBJECT_PREFIX) :]) for entry in found}
            except S3Error as error:
                if error.code == "NoSuchBucket":
                    return set()
                raise

    def prune(self, numbers: Sequence[int]) -> None:
        """Remove objects."""
        names = [DeleteObject(f"{_OBJECT_PREFIX}{n}") for n in numbers]
        with speaking(Store.OBJECTS):
            errors = list(self._client.remove_objects(bucket_name=BUCKET, delete_object_list=names))
            if errors:
                message = f"{len(errors)} objects were not removed"
                raise OSError(message)

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()


class SearchMarkers:
    """One document a marker; acknowledged when the task that adds it has succeeded."""

    def __init__(self, place: Place, *, may_create: bool = True) -> None:
        """Connect lazily; the first document makes the index."""
        del may_create
        key = place.secrets.get("master_key", "")
        self._client = httpx.Client(
            base_url=f"http://{place.host}:{place.port}",
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            trust_env=False,
        )

    def write(self, n: int) -> None:
        """Add one document and wait for its task."""
        with speaking(Store.SEARCH):
            document = {"n": n, "at": datetime.now(UTC).isoformat()}
            self._settled(
                self._client.post(f"/indexes/{INDEX}/documents", params={"primaryKey": "n"}, json=[document])
            )

    def present(self) -> set[int]:
        """Return the documents in one answer: pages move while others are removed."""
        with speaking(Store.SEARCH):
            answer = self._client.get(
                f"/indexes/{INDEX}/documents", params={"limit": _ALL, "fields": "n"}, timeout=30
            )
            if answer.status_code == _NOT_FOUND and answer.json().get("code") == "index_not_found":
                return set()
            answer.raise_for_status()
            return {int(document["n"]) for document in answer.json()["results"]}

    def prune(self, numbers: Sequence[int]) -> None:
        """Delete documents and wait for the task."""
        with speaking(Store.SEARCH):
            self._settled(self._client.post(f"/indexes/{INDEX}/documents/delete-batch", json=list(numbers)))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _settled(self, answer: httpx.Response) -> None:
        answer.raise_for_status()
        task = int(answer.json()["taskUid"])
        deadline = time.monotonic() + ANSWER_SECONDS
        while time.monotonic() < deadline:
            answer = self._client.get(f"/tasks/{task}")
            answer.raise_for_status()
            status = answer.json()["status"]
            if status == "succeeded":
                return
            if status not in {"enqueued", "processing"}:
                message = f"task {task} is {status}"
                raise OSError(message)
            time.sleep(0.1)
        message = f"task {task} did not end within {ANSWER_SECONDS} s"
        raise TimeoutError(message)


OPENERS: dict[Store, Callable[..., MarkerStore]] = {
    Store.POSTGRES: PostgresMarkers,
    Store.REDIS: RedisMarkers,
    Store.OBJECTS: ObjectMarkers,
    Store.SEARCH: SearchMarkers,
}


def open_store(store: Store, place: Place, *, may_create: bool = True) -> MarkerStore:
    """Connect to a store; ``may_create`` false makes nothing that is missing there."""
    return OPENERS[store](place, may_create=may_create)
