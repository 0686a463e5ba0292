"""Small throwaway servers of the other stores' images, on the network of the stage, and what is in them.

To the hands each is a service of a stack of its own, so that it is backed up as any other one.
"""

import io
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
from domain.names import COMPOSE_PROJECT, COMPOSE_SERVICE, LABEL_ROLE, LABEL_STACK
from domain.order import ServiceTarget, Target, VolumeMount

BUCKET, INDEX = "specimen", "specimen"
_DATA = "/dr-data"
_THINGS = 12
_SECONDS = 5.0


class Keys:
    """A Redis with a few keys of every usual type."""

    def __init__(self, client: redis.Redis, target: Target) -> None:
        """Fill it through ``client``; ``target`` is how the hands take it."""
        self.client = client
        self.target = target
        for number in range(_THINGS):
            client.set(f"session:{number}", f"user {number}")
        client.hset("presence", mapping={"5": "online", "6": "away"})
        client.rpush("queue", "one", "two")


class Objects:
    """A bucket with a few objects."""

    def __init__(self, client: minio.Minio, target: Target) -> None:
        """Fill it through ``client``; ``target`` is how the hands take it."""
        self.client = client
        self.target = target
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


class Documents:
    """An index with a few documents."""

    def __init__(self, client: httpx.Client, target: Target) -> None:
        """Fill it through ``client``; ``target`` is how the hands take it."""
        self.client = client
        self.target = target
        self.index = SearchIndex(client, INDEX)
        rows = [{"id": str(number), "content": f"message {number}"} for number in range(_THINGS)]
        self.index.wait([self.index.add(rows)])

    def documents(self) -> list[dict[str, object]]:
        """Return all documents by their ids."""
        answer = self.client.get(f"/indexes/{INDEX}/documents", params={"limit": 1000}).raise_for_status()
        found: list[dict[str, object]] = answer.json()["results"]
        return sorted(found, key=lambda one: str(one["id"]))


@contextmanager
def keys(stage: Stage, service: ServiceTarget) -> Iterator[Keys]:
    """Give out a small Redis."""
    command = ("--dir", _DATA, "--save", "", "--appendonly", "no", "--protected-mode", "no")
    job = _job(stage, service, "redis", ("redis-server",), command, {})
    with _started(stage, service, job) as (address, target):
        client = redis.Redis(
            host=address, port=6379, socket_timeout=_SECONDS, socket_connect_timeout=_SECONDS
        )
        try:
            stage.wait(lambda: _answers(client.ping))
            yield Keys(client, target)
        finally:
            client.close()


@contextmanager
def objects(stage: Stage, service: ServiceTarget) -> Iterator[Objects]:
    """Give out a small object store."""
    user, word = "specimen", secrets.token_hex(16)
    environment = {"MINIO_ROOT_USER": user, "MINIO_ROOT_PASSWORD": word}
    job = _job(stage, service, "objects", ("minio",), ("server", _DATA), environment)
    with _started(stage, service, job) as (address, target):
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
            yield Objects(client, target)
        finally:
            pool.clear()


@contextmanager
def documents(stage: Stage, service: ServiceTarget) -> Iterator[Documents]:
    """Give out a small search engine."""
    environment = {
        # Nobody but us is on its network, so that it needs no key.
        "MEILI_ENV": "development",
        "MEILI_NO_ANALYTICS": "true",
        "MEILI_HTTP_ADDR": "0.0.0.0:7700",
        "MEILI_DB_PATH": f"{_DATA}/data.ms",
        "MEILI_SNAPSHOT_DIR": f"{_DATA}/snapshots",
        "MEILI_DUMP_DIR": f"{_DATA}/dumps",
    }
    job = _job(stage, service, "search", None, (), environment)
    with _started(stage, service, job) as (address, target):
        url = f"http://{address}:7700"
        with httpx.Client(base_url=url, timeout=_SECONDS, trust_env=False) as client:
            stage.wait(lambda: _answers(lambda: client.get("/health").raise_for_status()))
            yield Documents(client, target)


def _job(
    stage: Stage,
    service: ServiceTarget,
    what: str,
    entrypoint: tuple[str, ...] | None,
    command: tuple[str, ...],
    environment: dict[str, str],
) -> Job:
    """Return a server of a service's image with a volume of its own and nothing real."""
    name = f"{stage.name}-{what}"
    return Job(
        name=name,
        image_id=service.image_id,
        entrypoint=entrypoint,
        command=command,
        # Root without rights of its own: the new volume is its.
        user="0:0",
        binds={name: f"{_DATA}:rw"},
        environment=environment,
        labels={
            LABEL_STACK: stage.stack,
            LABEL_ROLE: "selftest-store",
            COMPOSE_PROJECT: stage.name,
            COMPOSE_SERVICE: what,
        },
        network=stage.name,
    )


@contextmanager
def _started(stage: Stage, service: ServiceTarget, job: Job) -> Iterator[tuple[str, Target]]:
    """Start a server, give out its address and how the hands take it, and remove it with its volume."""
    stage.engine.ensure_volume(job.name, {LABEL_STACK: stage.stack})
    try:
        stage.engine.ensure_job(job)
        state = stage.engine.look(job.name)
        networks = state.raw["NetworkSettings"]["Networks"] if state is not None else {}
        address = next((str(one["IPAddress"]) for one in networks.values() if one.get("IPAddress")), "")
        if state is None or not address:
            raise Unavailable(
                f"the small server of {service.name} does not run: {_log(stage, job.name)}",
                where=job.name,
                code="selftest-server",
            )
        small = ServiceTarget(
            name=job.labels[COMPOSE_SERVICE],
            kind=service.kind,
            container_id=state.id,
            container_name=job.name,
            image=service.image,
            image_id=state.image_id,
            state=state.status,
            volumes=(VolumeMount(volume=job.name, path=_DATA),),
            networks=(stage.name,),
        )
        yield address, stage.store_target(small)
    finally:
        stage.engine.remove(job.name, force=True)
        stage.engine.remove_volume(job.name)


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
