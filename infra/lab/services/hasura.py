"""Stand-in for Hasura: strict health, metadata over hdb_catalog, and the queries of the lab."""

from __future__ import annotations

import asyncio
import hmac
import json
from typing import Any

import psycopg
from aiohttp import web
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from .common import LOG, Tokens, answer, database, die, serve, setting
from .hasura_metadata import Metadata, MetadataError
from .hasura_query import QueryError, read, statement

VERSION = "v2.44.0-lab"
CHANGING = {
    "replace_metadata",
    "pg_track_table",
    "pg_untrack_table",
    "pg_create_select_permission",
}
POOL = web.AppKey("pool", AsyncConnectionPool)
METADATA = web.AppKey("metadata", Metadata)
TOKENS = web.AppKey("tokens", Tokens)
LOCK = web.AppKey("lock", asyncio.Lock)


def error(message: str, path: str = "$", code: str = "unexpected", status: int = 400) -> web.Response:
    """Return an error of the metadata interface."""
    return answer({"code": code, "error": message, "path": path}, status)


def role_of(request: web.Request) -> tuple[str | None, dict[str, Any]]:
    """Return the role a request acts in, or None when its credentials are wrong."""
    secret = request.headers.get("X-Hasura-Admin-Secret")
    if secret is not None:
        good = hmac.compare_digest(secret.encode(), setting("HASURA_GRAPHQL_ADMIN_SECRET").encode())
        return (request.headers.get("X-Hasura-Role", "admin") if good else None), {}
    if "Authorization" in request.headers:
        claims = request.app[TOKENS].claims(request.headers["Authorization"])
        if claims is None:
            return None, {}
        wanted = request.headers.get("X-Hasura-Role", claims["x-hasura-default-role"])
        return (wanted if wanted in claims["x-hasura-allowed-roles"] else None), claims
    return None, {}


async def health(request: web.Request) -> web.Response:
    """200 OK, 200 WARN with inconsistent metadata (500 when strict), 500 when the database is down."""
    try:
        async with request.app[POOL].connection(timeout=2) as connection:
            await connection.execute("SELECT 1 FROM hdb_catalog.hdb_metadata")
    except (psycopg.Error, PoolTimeout):
        return web.Response(text="ERROR", status=500)
    if request.app[METADATA].inconsistent():
        if request.query.get("strict") == "true":
            return web.Response(text="ERROR: inconsistent objects in schema", status=500)
        return web.Response(text="WARN: inconsistent objects in schema")
    return web.Response(text="OK")


async def version(_request: web.Request) -> web.Response:
    """Return the version."""
    return answer({"version": VERSION, "server_type": "ce"})


async def metadata(request: web.Request) -> web.Response:
    """Answer one call of the metadata interface; only for the admin."""
    role, _ = role_of(request)
    if role != "admin":
        return error("restricted access : admin only", code="access-denied")
    try:
        call = await request.json()
        async with request.app[LOCK]:
            return answer(await one_call(request.app[METADATA], call))
    except (ValueError, KeyError, TypeError):
        return error("invalid call", code="parse-failed")
    except MetadataError as problem:
        return error(str(problem), "$.args", problem.code)
    except (psycopg.Error, PoolTimeout):
        return error("connection error", code="postgres-error", status=500)


async def one_call(kept: Metadata, call: dict[str, Any]) -> Any:  # noqa: ANN401 - one answer a call
    """Carry out one call and return its answer."""
    kind, arguments = str(call["type"]), call.get("args") or {}  # a list for the bulk calls
    if kind in {"bulk", "bulk_keep_going"}:
        return await many_calls(kept, list(arguments), go_on=kind == "bulk_keep_going")
    if kind == "export_metadata":
        newer = call.get("version") == 2  # noqa: PLR2004 - version of the call
        return {"resource_version": kept.version, "metadata": kept.document} if newer else kept.document
    if kind in {"get_inconsistent_metadata", "reload_metadata"}:
        if kind == "reload_metadata":
            await kept.reload()
        found = kept.inconsistent()
        return {"message": "success", "is_consistent": not found, "inconsistent_objects": found}
    if kind not in CHANGING:
        raise MetadataError("parse-failed", f"unknown metadata type {kind}")
    await kept.change(kind, arguments)
    return {"message": "success"}


async def many_calls(kept: Metadata, calls: list[dict[str, Any]], *, go_on: bool) -> list[Any]:
    """Carry out calls in their order; ``go_on`` puts an error into the answers instead of stopping at it."""
    answers = []
    for one in calls:
        try:
            answers.append(await one_call(kept, one))
        except MetadataError as problem:
            if not go_on:
                raise
            answers.append({"code": problem.code, "error": str(problem), "path": "$.args"})
    return answers


async def graphql(request: web.Request) -> web.Response:
    """Answer a query; errors come with status 200, as the real one sends them."""
    role, claims = role_of(request)
    if role is None:
        code = "access-denied" if "X-Hasura-Admin-Secret" in request.headers else "invalid-jwt"
        return failed(QueryError("the credentials were not accepted", code=code))
    try:
        call = await request.json()
        return answer({"data": await run(request.app, role, claims, call)})
    except (ValueError, KeyError, TypeError, AttributeError):
        return failed(QueryError("the request is not a graphql query", code="parse-failed"))
    except QueryError as problem:
        return failed(problem)
    except (psycopg.Error, PoolTimeout) as problem:
        return failed(explained(problem))


def explained(problem: Exception) -> QueryError:
    """Return what Hasura says about an error of the database."""
    if isinstance(problem, psycopg.DataError):
        return QueryError(str(problem).splitlines()[0], code="data-exception")
    if isinstance(problem, psycopg.OperationalError | PoolTimeout):
        return QueryError("connection error", code="postgres-error")
    LOG.warning("query failed: %s", problem)
    return QueryError("database query error", code="unexpected")


def failed(problem: QueryError) -> web.Response:
    """Return a GraphQL error."""
    extensions = {"path": problem.path, "code": problem.code}
    return answer({"errors": [{"message": str(problem), "extensions": extensions}]})


async def run(
    app: web.Application, role: str, claims: dict[str, Any], call: dict[str, Any]
) -> dict[str, Any]:
    """Run every root field of a query in one transaction, under the role's session variables."""
    data: dict[str, Any] = {}
    tables = app[METADATA].fields(role)
    fields = read(call["query"], call.get("variables") or {})
    session = json.dumps({"x-hasura-role": role, **{k: v for k, v in claims.items() if isinstance(v, str)}})
    async with app[POOL].connection() as connection, connection.transaction():
        cursor = connection.cursor(row_factory=dict_row)
        await cursor.execute("SELECT set_config('hasura.user', %s, true)", (session,))
        for key, node, arguments in fields:
            if node.name.value == "__typename":
                data[key] = "query_root"
                continue
            kind, (text, values) = statement(node, arguments, tables)
            rows = await (await cursor.execute(text, values)).fetchall()
            if kind == "count":
                data[key] = {"aggregate": {"count": rows[0]["count"]}}
            else:
                data[key] = rows if kind == "list" else (rows[0] if rows else None)
    return data


async def life(app: web.Application) -> Any:  # noqa: ANN401 - an aiohttp cleanup context
    """Migrate the catalogue and load the metadata; without a database the program ends."""
    app[POOL], app[LOCK] = database(), asyncio.Lock()
    await app[POOL].open(wait=False)
    app[METADATA] = Metadata(app[POOL])
    try:
        await app[METADATA].boot()
    except (psycopg.Error, PoolTimeout) as problem:
        die(f"could not connect to the database: {problem}")
    yield
    await app[POOL].close()


def application() -> web.Application:
    """Return the stand-in as an application."""
    app = web.Application(client_max_size=16 * 2**20)
    app[TOKENS] = Tokens()
    app.cleanup_ctx.append(life)
    app.add_routes(
        [
            web.get("/healthz", health),
            web.get("/v1/version", version),
            web.post("/v1/metadata", metadata),
            web.post("/v1/graphql", graphql),
        ]
    )
    return app


if __name__ == "__main__":
    serve(application, 8080)
