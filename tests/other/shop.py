"""A small shop that runs in a container: an order is a row in PostgreSQL and a counter in Redis."""

import os
from pathlib import Path
from urllib.parse import quote

import psycopg
import redis
from aiohttp import web

PASSWORD = Path(os.environ["DATABASE_PASSWORD_FILE"]).read_text().strip()
DATABASE_URL = f"postgres://shopkeeper:{quote(PASSWORD)}@db:5432/shop"


def counter() -> redis.Redis:
    return redis.Redis(host="Cache.1", password=os.environ["REDIS_PASSWORD"], socket_timeout=2)


async def order(_: web.Request) -> web.Response:
    try:
        async with await psycopg.AsyncConnection.connect(DATABASE_URL, connect_timeout=2) as connection:
            row = await (
                await connection.execute("INSERT INTO orders (item) VALUES ('tea') RETURNING id")
            ).fetchone()
        counter().incr("orders")
    except (psycopg.Error, redis.RedisError) as error:
        raise web.HTTPServiceUnavailable(text=type(error).__name__) from None
    return web.json_response({"id": row[0] if row else None, "said": "thank you"})


async def health(_: web.Request) -> web.Response:
    return web.Response(text="well")


if __name__ == "__main__":
    shop = web.Application()
    shop.add_routes([web.post("/orders", order), web.get("/health", health)])
    web.run_app(shop, host="0.0.0.0", port=8000, access_log=None, print=None)  # noqa: S104 - in a container
