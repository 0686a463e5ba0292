"""Small throwaway servers of the other stores' images, on the network of the stage, and what is in them."""

import hashlib
import io
import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import minio
import redis
import urllib3

from activities.engine import Job
from activities.search_index import SearchIndex
from activities.selftest.stage import Stage
from domain.errors import Unavailable
from domain.holdings import SAMPLES, Holding, Sample
from domain.names import LABEL_ROLE, LABEL_STACK
from domain.order import ServiceTarget

BUCKET, INDEX = "specimen", "specimen"
_THINGS = 12
_SECONDS = 5.0


class Keys:
    """A Redis with a few keys of every usual type."""

    def __init__(self, client: redis.Redis) -> None:
        """Fill it through ``client``."""
        self.client = client
        for number in range(_THINGS):
            client.set(f"session:{number}", f"user {number}")
        client.hset("presence", mapping={"5": "online", "6": "away"})
        client.rpush("queue", "one", "two")

    def held(self) -> tuple[Holding, ...]:
        """Return the keys with a digest of what each holds."""
        names = sorted(bytes(name).decode() for name in self.client.scan_iter(count=1000))
        samples = [
            Sample(name=name, digest=hashlib.sha256(self.client.dump(name) or b"").hexdigest())
            for name in names[:SAMPLES]
        ]
        return (Holding(name="db0", count=len(names), samples=tuple(samples)),)


class Objects:
    """A bucket with a few objects."""

    def __init__(self, client: minio.Minio) -> None:
        """Fill it through ``client``."""
        self.client = client
        client.make_bucket(bucket_name=BUCKET)
        for number in range(_THINGS):
            self.put(f"file/{number}", f"content {number}".encode())

    def put(self, name: str, content: bytes) -> None:
        """Store an object."""
        self.client.put_object(
            bucket_name=BUCKET, object_name=name, data=io.BytesIO(content), length=len(content)
        )

    def get(self, name: str) -> bytes:
        """Return an object's content."""
        answer = self.client.get_object(bucket_name=BUCKET, object_name=name)
        try:
            return bytes(answer.read())
        finally:
            answer.close()
            answer.release_conn()

    def names(self) -> list[str]:
        """Return the names of all objects, sorted."""
        listed = self.client.list_objects(bucket_name=BUCKET, recursive=True)
        return sorted(str(entry.object_name) for entry in listed)

    def held(self) -> tuple[Holding, ...]:
        """Return the bucket, with a digest over every name and all content."""
        whole = hashlib.sha256()
        names = self.names()
        for name in names:
            whole.update(f"{name} {hashlib.sha256(self.get(name)).hexdigest()}\n".encode())
        return (Holding(name=BUCKET, count=len(names), digest=whole.hexdigest()),)


class Documents:
    """An index with a few documents."""

    def __init__(self, client: httpx.Client) -> None:
        """Fill it through ``client``."""
        self.client = client
        self.index = SearchIndex(client, INDEX)
        rows = [{"id": str(number), "content": f"message {number}"} for number in range(_THINGS)]
        self.index.wait([self.index.add(rows)])

    def documents(self) -> list[dict[str, object]]:
        """Return all documents by their ids."""
        answer = self.client.get(f"/indexes/{INDEX}/documents", params={"limit": 1000}).raise_for_status()
        found: list[dict[str, object]] = answer.json()["results"]
        return sorted(found, key=lambda one: str(one["id"]))

    def held(self) -> tuple[Holding, ...]:
        """Return the index with a digest of each document."""
        found = self.documents()
        samples = tuple(
            Sample(name=str(one["id"]), digest=_digest(json.dumps(one, sort_keys=True)))
            for one in found[:SAMPLES]
        )
        return (Holding(name=INDEX, count=len(found), samples=samples),)


@contextmanager
def keys(stage: Stage, service: ServiceTarget) -> Iterator[Keys]:
    """Give out a small Redis."""
    command = ("redis-server", "--save", "", "--appendonly", "no", "--protected-mode", "no")
    with _started(stage, service, "redis", command, {}) as address:
        client = redis.Redis(
            host=address, port=6379, socket_timeout=_SECONDS, socket_connect_timeout=_SECONDS
        )
        try:
            stage.wait(lambda: _answers(client.ping))
            yield Keys(client)
        finally:
            client.close()


@contextmanager
def objects(stage: Stage, service: ServiceTarget) -> Iterator[Objects]:
    """Give out a small object store."""
    user, word = "specimen", secrets.token_hex(16)
    environment = {"MINIO_ROOT_USER": user, "MINIO_ROOT_PASSWORD": word}
    with _started(stage, service, "objects", ("server", "/data"), environment) as address:
        pool = urllib3.PoolManager(timeout=urllib3.Timeout(_SECONDS), retries=False)
        client = minio.Minio(
            endpoint=f"{address}:9000",
            access_key=user,
            secret_key=word,
            secure=False,
            region="us-east-1",
            http_client=pool,
        )
        try:
            stage.wait(lambda: _answers(client.list_buckets))
            yield Objects(client)
        finally:
            pool.clear()


@contextmanager
def documents(stage: Stage, service: ServiceTarget) -> Iterator[Documents]:
    """Give out a small search engine."""
    word = secrets.token_hex(16)
    environment = {
        "MEILI_MASTER_KEY": word,
        "MEILI_NO_ANALYTICS": "true",
        "MEILI_HTTP_ADDR": "0.0.0.0:7700",
    }
    with _started(stage, service, "search", (), environment) as address:
        headers = {"Authorization": f"Bearer {word}"}
        with httpx.Client(
            base_url=f"http://{address}:7700", headers=headers, timeout=_SECONDS, trust_env=False
        ) as client:
            stage.wait(lambda: _answers(lambda: client.get("/health").raise_for_status()))
            yield Documents(client)


@contextmanager
def _started(
    stage: Stage, service: ServiceTarget, what: str, command: tuple[str, ...], environment: dict[str, str]
) -> Iterator[str]:
    """Start a server of a service's image and give out its address; it has no volume and nothing real."""
    job = Job(
        name=f"{stage.name}-{what}",
        image_id=service.image_id,
        command=command,
        environment=environment,
        labels={LABEL_STACK: stage.stack, LABEL_ROLE: "selftest-store"},
        network=stage.name,
        capabilities=("CHOWN", "SETUID", "SETGID"),
    )
    try:
        stage.engine.ensure_job(job)
        state = stage.engine.look(job.name)
        networks = state.raw["NetworkSettings"]["Networks"] if state is not None else {}
        address = next((str(one["IPAddress"]) for one in networks.values() if one.get("IPAddress")), "")
        if not address:
            raise Unavailable(
                f"the small server of {service.name} does not run: {_log(stage, job.name)}",
                where=job.name,
                code="selftest-server",
            )
        yield address
    finally:
        stage.engine.remove(job.name, force=True)


def _log(stage: Stage, name: str) -> str:
    return (stage.engine.logs(name, tail=3).strip().splitlines() or ["it says nothing"])[-1][:200]


def _answers(ask: Callable[[], object]) -> None:
    try:
        ask()
    except (
        redis.RedisError,
        httpx.HTTPError,
        urllib3.exceptions.HTTPError,
        minio.error.MinioException,
    ) as error:
        raise Unavailable(
            f"the small server does not answer: {type(error).__name__}", code="selftest-server"
        ) from None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
