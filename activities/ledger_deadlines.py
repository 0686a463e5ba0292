"""Short deadlines and one kind of error for everything that speaks to a store of markers."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx
import psycopg
import redis
import urllib3
from minio.error import MinioException

from domain.errors import Unavailable
from domain.ledger import Store

CONNECT_SECONDS = 2
ANSWER_SECONDS = 4


@contextmanager
def speaking(store: Store) -> Iterator[None]:
    """Turn the errors of the clients into ``Unavailable``; no message of theirs holds a secret."""
    try:
        yield
    except (
        psycopg.Error,
        redis.RedisError,
        MinioException,
        urllib3.exceptions.HTTPError,
        httpx.HTTPError,
        ValueError,
        OSError,
    ) as error:
        lines = str(error).strip().splitlines()
        raise Unavailable(
            f"{type(error).__name__}: {lines[0] if lines else 'no reason given'}",
            where=store.value,
            code="store-unavailable",
        ) from error


@contextmanager
def shut_when_late(fd: int) -> Iterator[None]:
    """Shut our end of the socket ``fd`` when the block takes too long.

    A frozen server keeps its side of TCP alive, so that neither a statement timeout nor keepalives
    end the wait.
    """
    lock = threading.Lock()
    over = False

    def shut() -> None:
        with lock:
            # Once the block has ended the number may belong to another socket.
            if not over:
                with socket.socket(fileno=os.dup(fd)) as ours, suppress(OSError):
                    ours.shutdown(socket.SHUT_RDWR)

    watch = threading.Timer(ANSWER_SECONDS, shut)
    watch.daemon = True
    watch.start()
    try:
        yield
    finally:
        with lock:
            over = True
        watch.cancel()
