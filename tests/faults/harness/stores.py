"""Decorated clients of the stores beside PostgreSQL, where a test asks for that."""

from typing import TYPE_CHECKING, Any

import redis
from botocore.httpsession import URLLib3Session

if TYPE_CHECKING:
    from tests.faults.harness.decorate import Numbering

_READS = {"GET", "HEAD", "OPTIONS"}
_CHANGING = {"CONFIG SET", "BGSAVE", "SAVE"}


def install(numbering: "Numbering") -> None:
    """Number what changes a Redis or an object store, in wide mode."""
    _redis(numbering)
    _objects(numbering)


def _redis(numbering: "Numbering") -> None:
    original = redis.Redis.execute_command

    def execute(self: Any, *words: Any, **named: Any) -> Any:
        def effect() -> Any:
            return original(self, *words, **named)  # type: ignore[no-untyped-call]  # redis has no types here

        if not numbering.wide or words[0] not in _CHANGING:
            return effect()
        return numbering.around("redis", " ".join(str(word) for word in words), effect)

    redis.Redis.execute_command = execute  # type: ignore[method-assign] # that is the decoration


def _objects(numbering: "Numbering") -> None:
    original = URLLib3Session.send

    def send(self: Any, request: Any) -> Any:
        def effect() -> Any:
            return original(self, request)

        if not numbering.wide or request.method in _READS:
            return effect()
        # Of the address only the path is the same in each run.
        path = request.url.partition("://")[2].partition("/")[2]
        return numbering.around("s3", f"{request.method} /{path}", effect)

    URLLib3Session.send = send
