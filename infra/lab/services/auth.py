"""Stand-in for hasura-auth: sign-in against auth.users, rotating refresh tokens, the real start order."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import bcrypt
import psycopg
from aiohttp import web
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from .common import LOG, Tokens, answer, database, die, serve, setting

VERSION = "0.36.0-lab"
TRACKED = (
    "provider_requests",
    "refresh_token_types",
    "refresh_tokens",
    "roles",
    "user_providers",
    "user_roles",
    "users",
    "providers",
    "user_security_keys",
)
REFRESH_LIFETIME = timedelta(days=30)
POOL = web.AppKey("pool", AsyncConnectionPool)
TOKENS = web.AppKey("tokens", Tokens)


def refused(code: str, message: str, status: int) -> web.Response:
    """Return an error in hasura-auth's form."""
    return answer({"error": code, "message": message, "status": status}, status)


async def body_of(request: web.Request) -> dict[str, Any]:
    """Return the JSON object of a request, empty when there is none."""
    with contextlib.suppress(ValueError):
        body = await request.json()
        if isinstance(body, dict):
            return body
    return {}


@web.middleware  # type: ignore[untyped-decorator]  # aiohttp is installed in the image alone
async def errors(request: web.Request, handler: Any) -> web.StreamResponse:  # noqa: ANN401 - aiohttp's own type
    """Answer 500 for whatever the database does not let us do."""
    try:
        found: web.StreamResponse = await handler(request)
    except (psycopg.Error, PoolTimeout) as error:
        LOG.warning("database: %s", str(error).splitlines()[:1])
        return refused("internal-server-error", "Internal server error", 500)
    return found


async def sign_in(request: web.Request) -> web.Response:
    """Check a password and open a session."""
    body = await body_of(request)
    email, password = str(body.get("email", "")), str(body.get("password", ""))
    if not re.fullmatch(r"[^@\s]+@[^@\s]+", email):
        return refused("invalid-request", "The request payload is incorrect", 400)
    user = await account(request, "email = %s::auth.email", email)
    stored = str(user["password_hash"] or "") if user else ""
    if (
        not user
        or not stored
        or not await asyncio.to_thread(bcrypt.checkpw, password.encode(), stored.encode())
    ):
        return refused("invalid-email-password", "Incorrect email or password", 401)
    if user["disabled"]:
        return refused("disabled-user", "User is disabled", 401)
    if not user["email_verified"]:
        return refused("unverified-user", "User is not verified.", 401)
    return answer({"session": await open_session(request, user), "mfa": None})


async def refresh(request: web.Request) -> web.Response:
    """Spend a refresh token for a new session."""
    presented = str((await body_of(request)).get("refreshToken", ""))
    async with request.app[POOL].connection() as connection:
        spent = await (
            await connection.execute(
                "DELETE FROM auth.refresh_tokens WHERE refresh_token_hash = %s AND expires_at > now()"
                " AND type = 'regular' RETURNING user_id",
                (digest(presented),),
            )
        ).fetchone()
    user = await account(request, "id = %s", spent[0]) if spent else None
    if user is None or user["disabled"]:
        return refused("invalid-refresh-token", "Invalid or expired refresh token", 401)
    return answer(await open_session(request, user))


async def account(request: web.Request, condition: str, value: object) -> dict[str, Any] | None:
    """Return one account with its roles."""
    async with request.app[POOL].connection() as connection:
        cursor = connection.cursor(row_factory=dict_row)
        await cursor.execute(
            "SELECT u.*, array(SELECT role FROM auth.user_roles r WHERE r.user_id = u.id) AS roles"  # noqa: S608 - fixed texts
            f" FROM auth.users u WHERE {condition}",
            (value,),
        )
        found: dict[str, Any] | None = await cursor.fetchone()
    return found


def digest(token: str) -> str:
    """Return what is stored of a refresh token."""
    return f"\\x{hashlib.sha256(token.encode()).hexdigest()}"


async def open_session(request: web.Request, user: dict[str, Any]) -> dict[str, Any]:
    """Store a new refresh token and return the session."""
    token = str(uuid.uuid4())
    async with request.app[POOL].connection() as connection, connection.transaction():
        row = await (
            await connection.execute(
                "INSERT INTO auth.refresh_tokens (expires_at, user_id, refresh_token_hash)"
                " VALUES (%s, %s, %s) RETURNING id",
                (datetime.now(UTC) + REFRESH_LIFETIME, user["id"], digest(token)),
            )
        ).fetchone()
        await connection.execute("UPDATE auth.users SET last_seen = now() WHERE id = %s", (user["id"],))
    access = request.app[TOKENS].issue(str(user["id"]), user["roles"], user["default_role"])
    return {
        "accessToken": access,
        "accessTokenExpiresIn": Tokens.lifetime_seconds,
        "refreshToken": token,
        "refreshTokenId": row[0] if row else None,
        "user": public(user),
    }


def public(user: dict[str, Any]) -> dict[str, Any]:
    """Return an account as clients see it."""
    return {
        "id": user["id"],
        "createdAt": user["created_at"],
        "displayName": user["display_name"],
        "avatarUrl": user["avatar_url"],
        "locale": user["locale"],
        "email": user["email"],
        "isAnonymous": user["is_anonymous"],
        "defaultRole": user["default_role"],
        "metadata": user["metadata"] or {},
        "emailVerified": user["email_verified"],
        "phoneNumber": user["phone_number"],
        "phoneNumberVerified": user["phone_number_verified"],
        "roles": user["roles"],
    }


async def verify(request: web.Request) -> web.Response:
    """Say whether a token is good; the database is not asked."""
    token = str((await body_of(request)).get("token", ""))
    header = f"Bearer {token}" if token else request.headers.get("Authorization", "")
    if request.app[TOKENS].claims(header) is None:
        return refused("invalid-request", "Invalid access token", 401)
    return answer("OK")


async def whoami(request: web.Request) -> web.Response:
    """Return the account that is signed in."""
    claims = request.app[TOKENS].claims(request.headers.get("Authorization", ""))
    if claims is None:
        return refused("invalid-request", "Missing or invalid access token", 401)
    user = await account(request, "id = %s", claims["x-hasura-user-id"])
    if user is None:
        return refused("user-not-found", "No user found", 400)
    return answer(public(user))


async def healthy(_request: web.Request) -> web.Response:
    """Say "OK" always: it proves the process, not the database."""
    return answer("OK")


async def version(_request: web.Request) -> web.Response:
    """Return the version."""
    return answer({"version": VERSION})


async def keys(_request: web.Request) -> web.Response:
    """Return no key: the secret is symmetric."""
    return answer({"keys": None})


async def start(app: web.Application) -> None:
    """Migrate, track the tables through Hasura, insert the default roles; a failure ends the program."""
    try:
        async with await psycopg.AsyncConnection.connect(
            setting("HASURA_GRAPHQL_DATABASE_URL"), connect_timeout=2, autocommit=True
        ) as connection:
            dirty = await (
                await connection.execute("SELECT bool_or(dirty) FROM auth.schema_migrations")
            ).fetchone()
            if dirty and dirty[0]:
                die("failed to apply migrations: Dirty database version. Fix and force version.")
            await track_tables()
            LOG.info("inserting default roles")
            await connection.execute(
                "INSERT INTO auth.roles VALUES ('user'), ('anonymous'), ('me') ON CONFLICT DO NOTHING"
            )
    except psycopg.Error as error:
        die(f"failed to apply migrations: {error}")
    except (aiohttp.ClientError, TimeoutError) as error:
        die(f"failed to apply hasura metadata: {error}")
    await app[POOL].open(wait=False)


async def track_tables() -> None:
    """Track each table with a call of its own; a tracked one is fine."""
    url = setting("HASURA_GRAPHQL_GRAPHQL_URL").replace("/v1/graphql", "/v1/metadata")
    headers = {"X-Hasura-Admin-Secret": setting("HASURA_GRAPHQL_ADMIN_SECRET")}
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10), headers=headers) as session:
        for name in TRACKED:
            call = {
                "type": "pg_track_table",
                "args": {"source": "default", "table": {"schema": "auth", "name": name}},
            }
            async with session.post(url, json=call) as said:
                if said.status >= 400 and (await said.json()).get("code") != "already-tracked":  # noqa: PLR2004 - HTTP
                    die(f"failed to apply hasura metadata: {await said.text()}")


async def life(app: web.Application) -> Any:  # noqa: ANN401 - an aiohttp cleanup context
    """Start in the real order, and close the pool at the end."""
    app[POOL] = database()
    await start(app)
    yield
    await app[POOL].close()


def application() -> web.Application:
    """Return the stand-in as an application."""
    app = web.Application(middlewares=[errors])
    app[TOKENS] = Tokens()
    app.cleanup_ctx.append(life)
    app.add_routes(
        [
            web.get("/healthz", healthy),
            web.get("/version", version),
            web.get("/.well-known/jwks.json", keys),
            web.post("/signin/email-password", sign_in),
            web.post("/token", refresh),
            web.post("/token/verify", verify),
            web.get("/user", whoami),
        ]
    )
    return app


if __name__ == "__main__":
    serve(application, 4000)
