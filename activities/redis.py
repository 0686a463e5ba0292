"""Redis: does it answer to the one who knows its password, and does it take writes."""

import redis

from domain.recovery import Proof

_SECONDS = 3.0


def probe(name: str, host: str, port: int, password: str | None) -> Proof:
    """Return whether an authenticated PING is answered and no write is refused for lack of disk.

    A server that still loads its files, or wants a password that we do not have, is not healthy.
    """
    client = redis.Redis(
        host=host,
        port=port,
        password=password,
        socket_timeout=_SECONDS,
        socket_connect_timeout=_SECONDS,
    )
    try:
        client.ping()
        persistence = client.info("persistence")
    except redis.RedisError as error:
        return Proof(name=name, passed=False, evidence=f"PING: {_first_line(error)}")
    finally:
        client.close()
    if persistence.get("aof_last_write_status", "ok") != "ok":
        return Proof(name=name, passed=False, evidence="its last write to the AOF failed")
    return Proof(name=name, passed=True, evidence="PING answered, AOF writes are good")


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
