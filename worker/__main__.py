"""``python -m worker``: polls the queues of its roles until it is told to stop."""

import asyncio
import contextlib
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import structlog
from pydantic import ValidationError
from temporalio.client import Client
from temporalio.worker import Worker

from domain import names
from domain.errors import DrError
from worker import logs, metrics, telemetry
from worker.connection import connect_patiently
from worker.liveness import Liveness
from worker.metrics_page import MetricsPage, free_address
from worker.replay_gate import refuse_if_open_runs_cannot_replay
from worker.settings import Settings
from worker.wiring import Hands
from worker.workflows import WORKFLOWS

_DRAIN = timedelta(seconds=20)
_STICKY = timedelta(seconds=1)
_THROTTLE = timedelta(seconds=1)
_AT_ONCE = 8


async def serve(settings: Settings) -> None:
    """Connect, prove that open runs can be replayed, then poll until SIGTERM or SIGINT."""
    log = structlog.get_logger()
    inner = free_address() if settings.metrics_bind else ""
    runtime = telemetry.runtime(inner)
    client = await connect_patiently(
        "+".join(_roles(settings)),
        settings.state,
        runtime=runtime,
        interceptors=tuple(telemetry.tracing(settings)),
    )
    if "control" in _roles(settings):
        replayed = await refuse_if_open_runs_cannot_replay(client, settings.control_queue, WORKFLOWS)
        log.info("open runs can be replayed", runs=replayed)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with ThreadPoolExecutor(max_workers=2 * _AT_ONCE, thread_name_prefix="hand") as threads:
        hands = Hands(settings, client)
        workers = _workers(client, settings, hands, threads)
        async with contextlib.AsyncExitStack() as stack:
            if settings.metrics_bind:
                read = [hands.backup_metrics()] if "host" in _roles(settings) else []
                stack.callback(MetricsPage(settings.metrics_bind, inner, *read).close)
            for worker in workers:
                await stack.enter_async_context(worker)
            if "control" in _roles(settings):
                watching = asyncio.create_task(metrics.watch(client, runtime.metric_meter, settings))
                stack.callback(watching.cancel)
            log.info("polling", queues=[worker.task_queue for worker in workers], identity=client.identity)
            await stop.wait()
            log.info("draining")


def _roles(settings: Settings) -> list[str]:
    return [role.strip() for role in settings.roles.split(",") if role.strip()]


def _workers(client: Client, settings: Settings, hands: Hands, threads: ThreadPoolExecutor) -> list[Worker]:
    workers: list[Worker] = []
    common: dict[str, object] = {
        "activity_executor": threads,
        "interceptors": [Liveness(settings.heartbeat_every_seconds)],
        "max_concurrent_activities": _AT_ONCE,
        "max_heartbeat_throttle_interval": _THROTTLE,
        "default_heartbeat_throttle_interval": _THROTTLE,
        "graceful_shutdown_timeout": _DRAIN,
    }
    if "control" in _roles(settings):
        workers.append(
            Worker(
                client,
                task_queue=settings.control_queue,
                workflows=WORKFLOWS,
                activities=hands.control(),
                sticky_queue_schedule_to_start_timeout=_STICKY,
                workflow_failure_exception_types=[ValidationError],
                **common,  # type: ignore[arg-type]
            )
        )
    if "host" in _roles(settings):
        workers.append(
            Worker(
                client,
                task_queue=names.host_queue(settings.site),
                activities=hands.host(),
                **common,  # type: ignore[arg-type]
            )
        )
    return workers


def main() -> int:
    """Run the worker; the exit status is 5 for a refusal and 1 for a fatal error."""
    settings = Settings()
    logs.set_up(settings.log_format)
    try:
        asyncio.run(serve(settings))
    except DrError as error:
        structlog.get_logger().error(str(error), code=error.code)
        return 5
    except Exception:  # noqa: BLE001 - the last resort: say why, exit non-zero, be restarted
        structlog.get_logger().exception("the worker ends")
        return 1
    return 0


if __name__ == "__main__":
    status = main()
    telemetry.shut_down()
    sys.stderr.flush()
    # A thread of Temporal's client that meets an interpreter which is being taken down aborts the process.
    os._exit(status)
