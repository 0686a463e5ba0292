"""What the stand-ins share: settings from the environment, a database pool, tokens, the start of a server."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import uuid
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NoReturn

import jwt
from aiohttp import web
from psycopg_pool import AsyncConnectionPool

CLAIMS = "https://hasura.io/jwt/claims"
LOG = logging.getLogger("service")


def die(reason: str) -> NoReturn:
    """End the program at once with a reason, whatever else it is doing; a restart policy brings it back."""
    print(reason, file=sys.stderr, flush=True)  # noqa: T201 - the last words of a program
    os._exit(1)


def setting(name: str, default: str | None = None) -> str:
    """Return a setting; the program ends when a needed one is missing, as the real ones do."""
    value = os.environ.get(name, default)
    if value is None:
        die(f"{name} is not set")
    return value


def database() -> AsyncConnectionPool:
    """Return a closed pool: connections are checked before use, nobody waits longer than two seconds."""
    return AsyncConnectionPool(
        setting("HASURA_GRAPHQL_DATABASE_URL", os.environ.get("DATABASE_URL")),
        min_size=1,
        max_size=8,
        timeout=2.0,
        # One attempt a request: a longer series backs off and would go on failing after the database is back.
        reconnect_timeout=0.0,
        check=AsyncConnectionPool.check_connection,
        kwargs={"autocommit": True, "connect_timeout": 2},
        open=False,
    )


def plain(value: object) -> Any:  # noqa: ANN401 - whatever JSON can say
    """Return a database value as JSON can say it."""
    if isinstance(value, uuid.UUID | Decimal):
        return str(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict | str | int | float | bool) or value is None:
        return value
    return str(value)


def answer(body: object, status: int = 200) -> web.Response:
    """Return a JSON answer."""
    return web.json_response(body, status=status, dumps=lambda data: json.dumps(data, default=plain))


class Tokens:
    """Access tokens in the form that Hasura and Auth share."""

    lifetime_seconds = 900

    def __init__(self) -> None:
        secret = json.loads(setting("HASURA_GRAPHQL_JWT_SECRET"))
        self._algorithm, self._key = str(secret["type"]), str(secret["key"])

    def issue(self, user: str, roles: list[str], default: str) -> str:
        """Return a signed token for an account."""
        now = int(time.time())
        claims = {"x-hasura-user-id": user, "x-hasura-default-role": default, "x-hasura-allowed-roles": roles}
        body = {
            "sub": user,
            "iat": now,
            "exp": now + self.lifetime_seconds,
            "iss": "hasura-auth",
            CLAIMS: claims,
        }
        return str(jwt.encode(body, self._key, algorithm=self._algorithm))

    def claims(self, header: str) -> dict[str, Any] | None:
        """Return the claims of an Authorization header, or None when it is not good."""
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer":
            return None
        try:
            body: dict[str, Any] = jwt.decode(token, self._key, algorithms=[self._algorithm])
        except jwt.PyJWTError:
            return None
        found = body.get(CLAIMS)
        return found if isinstance(found, dict) else None


def serve(make: Callable[[], web.Application], port: int) -> None:
    """Serve an application on every address of the container until it is stopped."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stdout)
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    web.run_app(make(), host="0.0.0.0", port=port, access_log=None, print=None, shutdown_timeout=0.5)  # noqa: S104 - in a container
