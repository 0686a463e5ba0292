"""The project's functions: sending a message goes through Redis, PostgreSQL and search, in that order.

Redis or PostgreSQL down: 503 and nothing is acknowledged. Search down: the message is acknowledged and its
document waits in a Redis queue. The object store down: uploads and downloads answer 503.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import uuid
from typing import Any

import aiohttp
import psycopg
from aiohttp import web
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from redis import asyncio as redis
from redis.exceptions import RedisError

from .common import LOG, Tokens, answer, database, serve, setting
from .objects import ObjectStore, ObjectStoreError

PORT = 3008
MESSAGES_A_MINUTE = 6000
QUEUE, SEARCH_QUEUE = "bull:default", "bull:search:wait"
POOL = web.AppKey("pool", AsyncConnectionPool)
REDIS: web.AppKey[Any] = web.AppKey("redis", redis.Redis)
TOKENS = web.AppKey("tokens", Tokens)
STORE = web.AppKey("store", ObjectStore)
DOWN = (psycopg.OperationalError, PoolTimeout, RedisError, ObjectStoreError, OSError)


def unavailable(what: str) -> web.Response:
    """Return the answer of a function whose store is down."""
    return answer({"error": f"{what}-unavailable", "message": f"The {what} does not answer"}, 503)


def caller(request: web.Request) -> str:
    """Return the account that calls; refuses who is not signed in."""
    claims = request.app[TOKENS].claims(request.headers.get("Authorization", ""))
    if claims is None:
        raise web.HTTPUnauthorized(text='{"error":"unauthenticated"}', content_type="application/json")
    return str(claims["x-hasura-user-id"])


async def body_of(request: web.Request) -> dict[str, Any]:
    """Return the JSON object of a request."""
    with contextlib.suppress(ValueError):
        body = await request.json()
        if isinstance(body, dict):
            return body
    raise web.HTTPBadRequest(text='{"error":"invalid-request"}', content_type="application/json")


def identifier(value: object) -> uuid.UUID:
    """Return a value as uuid; refuses what is none."""
    try:
        return uuid.UUID(str(value))
    except ValueError:
        raise web.HTTPBadRequest(text='{"error":"invalid-id"}', content_type="application/json") from None


async def send_message(request: web.Request) -> web.Response:
    """Count and queue in Redis, insert into PostgreSQL, hand to search; then acknowledge."""
    user, body = caller(request), await body_of(request)
    channel, content = identifier(body.get("channel_id")), str(body.get("content", ""))
    client, job = request.app[REDIS], str(uuid.uuid4())
    minute = f"ratelimit:{user}:{int(time.time()) // 60}"
    try:
        async with client.pipeline(transaction=True) as together:
            together.incr(minute).expire(minute, 120)
            together.hset(
                f"{QUEUE}:{job}", mapping={"name": "message", "channel": str(channel), "user": user}
            )
            together.lpush(f"{QUEUE}:wait", job)
            count = (await together.execute())[0]
    except (RedisError, OSError):
        return unavailable("queue")
    if count > MESSAGES_A_MINUTE:
        await finish(client, job)
        return answer({"error": "rate-limited"}, 429)
    try:
        stored = await insert_message(request.app[POOL], channel, user, content)
    except (psycopg.errors.ForeignKeyViolation, psycopg.errors.DataError) as error:
        await finish(client, job)
        return answer({"error": "invalid-message", "message": str(error).splitlines()[0]}, 400)
    except (psycopg.Error, PoolTimeout):
        return unavailable("database")
    await finish(client, job)
    await index(request.app, stored | {"author_id": user, "content": content})
    return answer(stored)


async def insert_message(
    pool: AsyncConnectionPool, channel: uuid.UUID, user: str, content: str
) -> dict[str, Any]:
    """Insert one message and return what is acknowledged."""
    async with pool.connection() as connection:
        row = await (
            await connection.execute(
                "INSERT INTO nchat_messages (channel_id, user_id, content, content_plain, is_deleted)"
                " VALUES (%s, %s, %s, %s, false) RETURNING id, channel_id, created_at",
                (channel, user, content, content),
            )
        ).fetchone()
    if row is None:
        raise psycopg.OperationalError("the insert returned no row")
    return {"id": str(row[0]), "channel_id": str(row[1]), "created_at": row[2].isoformat()}


async def finish(client: Any, job: str) -> None:  # noqa: ANN401 - redis ships incomplete types
    """Take a job out of the queue; what cannot be taken out stays for a worker, as with the real queue."""
    with contextlib.suppress(RedisError, OSError):
        async with client.pipeline(transaction=True) as together:
            await together.lrem(f"{QUEUE}:wait", 0, job).delete(f"{QUEUE}:{job}").execute()


async def index(app: web.Application, document: dict[str, Any]) -> None:
    """Hand a document to search; it waits in Redis when search is down."""
    if not await add_documents([document]):
        with contextlib.suppress(RedisError, OSError):
            await app[REDIS].rpush(SEARCH_QUEUE, json.dumps(document))


async def add_documents(documents: list[dict[str, Any]]) -> bool:
    """Add documents to the index of messages; False when search is down."""
    url = f"{setting('MEILISEARCH_URL')}/indexes/messages/documents?primaryKey=id"
    headers = {"Authorization": f"Bearer {setting('MEILI_MASTER_KEY')}"}
    timeout = aiohttp.ClientTimeout(total=3, connect=1)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(url, json=documents, headers=headers) as said,
        ):
            return bool(said.status == 202)  # noqa: PLR2004 - HTTP
    except (aiohttp.ClientError, TimeoutError):
        return False


async def drain(app: web.Application) -> None:
    """Hand on, once a second, the documents that search missed."""
    while True:
        await asyncio.sleep(1)
        with contextlib.suppress(RedisError, OSError):
            waiting = [json.loads(one) for one in await app[REDIS].lrange(SEARCH_QUEUE, 0, 499)]
            if waiting and await add_documents(waiting):
                await app[REDIS].ltrim(SEARCH_QUEUE, len(waiting), -1)


async def read_message(request: web.Request) -> web.Response:
    """Return one message."""
    caller(request)
    try:
        async with request.app[POOL].connection() as connection:
            row = await (
                await connection.execute(
                    "SELECT id, channel_id, user_id, content, created_at FROM nchat_messages WHERE id = %s",
                    (identifier(request.match_info["id"]),),
                )
            ).fetchone()
    except (psycopg.Error, PoolTimeout):
        return unavailable("database")
    if row is None:
        return answer({"error": "not-found"}, 404)
    return answer(dict(zip(("id", "channel_id", "user_id", "content", "created_at"), row, strict=True)))


async def upload(request: web.Request) -> web.Response:
    """Store the body as an object, then write the row that names it."""
    user, content, key = caller(request), await request.read(), str(uuid.uuid4())
    path, name = f"uploads/{key}", request.query.get("filename", f"{key}.bin")[:255]
    message = request.query.get("message_id")
    try:
        await request.app[STORE].put(path, content)
    except ObjectStoreError as error:
        LOG.warning("upload failed: %s", error)
        return unavailable("storage")
    try:
        async with request.app[POOL].connection() as connection:
            await connection.execute(
                "INSERT INTO nchat_attachments (id, message_id, user_id, filename, original_filename,"
                " file_path, url, type, mime_type, size_bytes, is_processed)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, 'other', %s, %s, true)",
                (
                    key,
                    identifier(message) if message else None,
                    user,
                    name,
                    name,
                    path,
                    f"/functions/files/{key}",
                    request.content_type[:100],
                    len(content),
                ),
            )
    except (psycopg.Error, PoolTimeout):
        return unavailable("database")
    return answer({"id": key, "size_bytes": len(content)})


async def fetch(request: web.Request) -> web.Response:
    """Return the bytes of a file."""
    caller(request)
    try:
        async with request.app[POOL].connection() as connection:
            row = await (
                await connection.execute(
                    "SELECT file_path, mime_type FROM nchat_attachments WHERE id = %s",
                    (identifier(request.match_info["id"]),),
                )
            ).fetchone()
    except (psycopg.Error, PoolTimeout):
        return unavailable("database")
    if row is None:
        return answer({"error": "not-found"}, 404)
    try:
        content = await request.app[STORE].get(str(row[0]))
    except ObjectStoreError:
        return unavailable("storage")
    if content is None:
        return answer({"error": "object-missing"}, 404)
    return web.Response(body=content, content_type=str(row[1]))


async def healthy(_request: web.Request) -> web.Response:
    """Say that the process lives; it says nothing about the stores."""
    return answer({"healthy": "healthy"})


async def life(app: web.Application) -> Any:  # noqa: ANN401 - an aiohttp cleanup context
    """Open what the functions hold while they serve."""
    app[POOL] = database()
    await app[POOL].open(wait=False)
    app[REDIS] = redis.Redis.from_url(
        setting("REDIS_URL"), socket_timeout=2, socket_connect_timeout=2, max_connections=20
    )
    drainer = asyncio.create_task(drain(app))
    yield
    drainer.cancel()
    await app[REDIS].aclose()
    await app[POOL].close()


def application() -> web.Application:
    """Return the functions as one application."""
    app = web.Application(client_max_size=16 * 2**20)
    app[TOKENS] = Tokens()
    app[STORE] = ObjectStore(setting("S3_ENDPOINT"), setting("S3_ACCESS_KEY"), setting("S3_SECRET_KEY"))
    app.cleanup_ctx.append(life)
    app.add_routes(
        [
            web.get("/healthz", healthy),
            web.post("/message-send", send_message),
            web.get("/messages/{id}", read_message),
            web.post("/upload", upload),
            web.get("/files/{id}", fetch),
        ]
    )
    return app


if __name__ == "__main__":
    serve(application, PORT)
