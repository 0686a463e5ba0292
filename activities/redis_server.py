"""The narrow client to one Redis server: replies are judged by their words, and refusals have names.

A server that wants a password answers every command, ``PING`` too, and one that loads its files does so as
well: that something came back says nothing (F-J4).
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, BusyLoadingError, NoPermissionError, ResponseError
from redis.retry import Retry

from activities.address import address
from activities.engine import Engine
from activities.secrets import Secrets
from domain.errors import DrError, Refused, Unavailable
from domain.order import ServiceTarget, Target
from domain.redis_backups import RedisFiles
from domain.stack import Kind

LOADING = "redis-loading"
FORBIDDEN = "redis-forbidden"
_ANSWER_SECONDS = 30.0
_CONNECT_SECONDS = 5.0
_RUNS = ("already in progress", "child process is active", "can't bgsave while")
_UNKNOWN = ("unknown command", "unknown subcommand", "command not allowed", "not allowed.")


class BusyError(Exception):
    """Another child of the server saves or rewrites at the moment."""


class RedisServer:
    """One connection to a server; every failure is an error of ours."""

    def __init__(self, client: "redis.Redis", where: str) -> None:
        """Speak through ``client``; ``where`` is what errors name."""
        self._client = client
        self.where = where

    def ask(self, *words: str | bytes | int) -> Any:  # noqa: ANN401 - each command has its own reply
        """Send one command and return its reply; bytes stay bytes."""
        try:
            return self._client.execute_command(*words)  # type: ignore[no-untyped-call]
        except (redis.RedisError, OSError) as error:
            raise self._named(error, str(words[0])) from None

    def info(self, section: str) -> dict[str, Any]:
        """Return one section of what the server says of itself."""
        found = self.ask("INFO", section)
        return {str(key): value for key, value in dict(found).items()}

    def setting(self, name: str) -> str | None:
        """Return one of its settings, or ``None`` when it has none of this name."""
        found = {_text(key): _text(value) for key, value in dict(self.ask("CONFIG GET", name)).items()}
        return found.get(name)

    def set(self, name: str, value: str) -> None:
        """Change one of its settings until it is started again."""
        self.ask("CONFIG SET", name, value)

    def seconds(self) -> int:
        """Return its own clock, as Unix seconds."""
        return int(self.ask("TIME")[0])

    def save_in_background(self) -> None:
        """Begin a snapshot. Raises ``BusyError`` while another child runs, ``Unavailable`` without a fork."""
        try:
            self._client.execute_command("BGSAVE")  # type: ignore[no-untyped-call]
        except (redis.RedisError, OSError) as error:
            if any(word in str(error).lower() for word in _RUNS):
                raise BusyError(str(error)) from None
            raise self._named(error, "BGSAVE") from None

    def files(self) -> RedisFiles:
        """Return where it keeps its files. ``Refused`` when it does not let us see its settings."""
        usual = RedisFiles()
        return RedisFiles(
            directory=self.setting("dir") or usual.directory,
            snapshot=self.setting("dbfilename") or usual.snapshot,
            aof_directory=self.setting("appenddirname") or usual.aof_directory,
            aof_name=self.setting("appendfilename") or usual.aof_name,
            append_only=self.setting("appendonly") == "yes",
        ).checked()

    def _named(self, error: Exception, command: str) -> DrError:
        said = (str(error).splitlines() or [""])[0][:200] or type(error).__name__
        if isinstance(error, BusyLoadingError):
            return Unavailable("Redis still loads its files", where=self.where, code=LOADING)
        if isinstance(error, AuthenticationError) or said.startswith("NOAUTH"):
            return Refused(
                f"Redis does not accept the password that we have, or wants one: {said}",
                where=self.where,
                hint="name the account and the password of the service in the stack file as Redis knows them",
                code="redis-password",
            )
        if isinstance(error, NoPermissionError) or said.startswith("NOPERM"):
            return _forbidden(command, "the account may not use it", self.where)
        if isinstance(error, ResponseError) and any(word in said.lower() for word in _UNKNOWN):
            return _forbidden(command, "it is renamed or switched off", self.where)
        return Unavailable(f"Redis: {command}: {said}", where=self.where, code="redis-unavailable")


def _forbidden(command: str, why: str, where: str) -> Refused:
    return Refused(
        f"Redis does not carry out {command}: {why}",
        where=where,
        hint="a backup needs INFO, TIME, BGSAVE, CONFIG GET, and CONFIG SET where append-only files are on",
        code=FORBIDDEN,
    )


@contextmanager
def live(engine: Engine, secrets: Secrets, target: Target, service: ServiceTarget) -> Iterator[RedisServer]:
    """Connect to the stack's own server, with its password if it has one. Raises what ``ask`` raises."""
    host, port = address(engine, service)
    reference = service.secrets.get("password")
    client = redis.Redis(
        host=host,
        port=port,
        username=service.user if reference else None,
        password=secrets.reveal(reference, target.project) if reference else None,
        socket_timeout=_ANSWER_SECONDS,
        socket_connect_timeout=_CONNECT_SECONDS,
        retry=Retry(NoBackoff(), 0),
        # The older protocol: every version speaks it, and says NOAUTH where the newer one says HELLO.
        protocol=2,
    )
    with _closing(client):
        yield RedisServer(client, service.container_name)


@contextmanager
def at_socket(path: str, where: str) -> Iterator[RedisServer]:
    """Connect to a server of ours by its socket; one connection, so that a chosen database stays chosen."""
    client = redis.Redis(
        unix_socket_path=path,
        socket_timeout=_ANSWER_SECONDS,
        retry=Retry(NoBackoff(), 0),
        # The older protocol: every version speaks it, and says NOAUTH where the newer one says HELLO.
        protocol=2,
        max_connections=1,
    )
    with _closing(client):
        yield RedisServer(client, where)


@contextmanager
def _closing(client: "redis.Redis") -> Iterator[None]:
    try:
        yield
    finally:
        with suppress(redis.RedisError, OSError):
            client.close()


def service_of(target: Target, name: str) -> ServiceTarget:
    """Return the Redis service of a stack. Raises ``Refused`` (``service-missing``) when there is none."""
    found = [one for one in target.services if one.kind is Kind.REDIS and name in {"", one.name}]
    if not found:
        raise Refused(
            f"the stack has no Redis service {name}".rstrip(), where=target.stack, code="service-missing"
        )
    return found[0]


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
