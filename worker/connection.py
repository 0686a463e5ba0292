"""The connection to Temporal: one configuration for worker, starter and tests."""

import asyncio
import os
import socket
from pathlib import Path

import structlog
from temporalio.client import Client, Interceptor
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.envconfig import ClientConfig, ClientConnectConfig
from temporalio.runtime import Runtime

from domain.errors import Refused, Unavailable
from infra.temporal import server
from worker.settings import Settings


def configured() -> ClientConnectConfig:
    """Return what variables and profile say of the server; ``target_host`` is there when they name one.

    Raises ``Refused`` (``temporal-settings``) for a profile or a certificate that cannot be read.
    """
    try:
        return ClientConfig.load_client_connect_config()
    except (OSError, ValueError, RuntimeError) as error:
        raise Refused(
            f"the settings of Temporal cannot be read: {error}",
            where="TEMPORAL_… variables, or the profile in TEMPORAL_CONFIG_FILE",
            code="temporal-settings",
        ) from None


def ui_address(settings: Settings) -> str:
    """Return where the Web UI is: as the settings say, else that of the embedded server of this state."""
    if "ui_address" not in settings.model_fields_set and "target_host" not in configured():
        embedded = server.status(server.TemporalSettings(state=settings.state))
        if embedded is not None:
            return embedded.ui
    return settings.ui_address


async def connect(
    role: str,
    state: Path,
    *,
    runtime: Runtime | None = None,
    interceptors: tuple[Interceptor, ...] = (),
) -> Client:
    """Connect once; raise ``Unavailable`` with the cure when nothing answers.

    Address, namespace, TLS and keys come from ``temporalio.envconfig`` (``TEMPORAL_ADDRESS``,
    ``TEMPORAL_NAMESPACE``, a profile file …), so that another server needs settings only. Without any,
    it is the embedded server of this state directory. ``Refused`` where they cannot be read.
    """
    config = configured()
    named = "target_host" in config
    if not named:
        embedded = server.status(server.TemporalSettings(state=state))
        if embedded is None:
            # Whatever listens on the usual port belongs to another state directory, and so to other stacks.
            raise Unavailable(
                "Temporal does not answer",
                where=f"the embedded server of {state}",
                hint="start it with 'dr up', or set TEMPORAL_ADDRESS",
                code="temporal-unavailable",
            )
        config["target_host"] = embedded.address
    identity = f"{role}@{socket.gethostname()}/{os.getpid()}"
    try:
        return await Client.connect(
            **config,
            data_converter=pydantic_data_converter,
            identity=identity,
            runtime=runtime,
            interceptors=list(interceptors),
        )
    except RuntimeError as error:
        raise Unavailable(
            "Temporal does not answer",
            where=str(config["target_host"]),
            hint="check address, certificates and key: TEMPORAL_ADDRESS, TEMPORAL_TLS_…, TEMPORAL_API_KEY"
            if named
            else "start it with 'dr up', or set TEMPORAL_ADDRESS",
            code="temporal-unavailable",
        ) from error


async def connect_patiently(
    role: str,
    state: Path,
    *,
    runtime: Runtime | None = None,
    interceptors: tuple[Interceptor, ...] = (),
) -> Client:
    """Connect, and try again for ever: a worker waits for its server."""
    pause = 0.1
    while True:
        try:
            return await connect(role, state, runtime=runtime, interceptors=interceptors)
        except Unavailable as error:
            structlog.get_logger().warning("waiting for Temporal", reason=str(error))
            await asyncio.sleep(pause)
            pause = min(pause * 2, 2.0)
