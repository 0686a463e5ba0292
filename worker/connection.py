"""The connection to Temporal: one configuration for worker, starter and tests."""

import asyncio
import os
import socket

import structlog
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.envconfig import ClientConfig
from temporalio.runtime import Runtime

from domain.errors import Unavailable

_DEFAULT_ADDRESS = "127.0.0.1:7233"


def address() -> str:
    """Return the address that ``temporalio.envconfig`` gives, else the embedded default."""
    return str(ClientConfig.load_client_connect_config().get("target_host") or _DEFAULT_ADDRESS)


async def connect(role: str, *, runtime: Runtime | None = None) -> Client:
    """Connect once; raise ``Unavailable`` with the cure when nothing answers.

    Address, namespace, TLS and keys come from ``temporalio.envconfig`` (``TEMPORAL_ADDRESS``,
    ``TEMPORAL_NAMESPACE``, a profile file …), so that another server needs settings only.
    """
    config = ClientConfig.load_client_connect_config()
    config.setdefault("target_host", _DEFAULT_ADDRESS)
    identity = f"{role}@{socket.gethostname()}/{os.getpid()}"
    try:
        return await Client.connect(
            **config,
            data_converter=pydantic_data_converter,
            identity=identity,
            runtime=runtime,
        )
    except RuntimeError as error:
        raise Unavailable(
            "Temporal does not answer",
            where=str(config["target_host"]),
            hint="start it with 'dr up', or set TEMPORAL_ADDRESS",
            code="temporal-unavailable",
        ) from error


async def connect_patiently(role: str, *, runtime: Runtime | None = None) -> Client:
    """Connect, and try again for ever: a worker waits for its server."""
    pause = 0.2
    while True:
        try:
            return await connect(role, runtime=runtime)
        except Unavailable as error:
            structlog.get_logger().warning("waiting for Temporal", reason=str(error))
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5.0)
