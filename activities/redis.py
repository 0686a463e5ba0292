"""Redis: does it answer to the one who knows its password, and does it take writes."""

import secrets

import redis

from domain.recovery import Proof

_SECONDS = 3.0
_KEY = "dr:probe"
_KEPT_SECONDS = 10


def probe(name: str, host: str, port: int, password: str | None, user: str | None = None) -> Proof:
    """Return whether an authenticated write is read back, and none is refused for lack of disk.

    A server that still loads its files, or wants a password that we do not have, is not healthy: it
    answers, and its reply is an error (F-J4). An account that may not write proves less, which is said.
    """
    client = redis.Redis(
        host=host,
        port=port,
        username=user if password else None,
        password=password,
        socket_timeout=_SECONDS,
        socket_connect_timeout=_SECONDS,
    )
    try:
        client.ping()
        persistence = client.info("persistence")
        written = _written(client)
    except redis.RedisError as error:
        return Proof(name=name, passed=False, evidence=f"PING: {_first_line(error)}")
    finally:
        client.close()
    if persistence.get("aof_last_write_status", "ok") != "ok":
        return Proof(name=name, passed=False, evidence="its last write to the AOF failed")
    return Proof(name=name, passed=True, evidence=f"PING answered, {written}, AOF writes are good")


def _written(client: "redis.Redis") -> str:
    """Write a key that is gone in a moment, and read it back."""
    word = secrets.token_hex(8)
    try:
        client.set(_KEY, word, ex=_KEPT_SECONDS)
        if client.get(_KEY) != word.encode():
            message = "what was just written is not there"
            raise redis.RedisError(message)
    except redis.exceptions.NoPermissionError:
        return "the account may not write"
    return "a write read back"


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
