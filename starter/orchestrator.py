"""What the operator's side asks of Temporal: start, look, decide."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from pydantic import BaseModel
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import (
    Client,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
)
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import ActivityError, ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from domain import names
from domain.errors import BackupUnusable, DrError, Refused, Unavailable, VerificationFailed
from domain.incident import StatusView
from starter.answer import Busy
from starter.progress import Line, shown_while
from worker.connection import connect, ui_address
from worker.settings import Settings

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")

_ANSWER_WITHIN = timedelta(seconds=20)
_POLLED_WITHIN = timedelta(seconds=75)
"""A poll that waits for work is renewed every minute."""
_POLLERS_EVERY_SECONDS = 5.0
_OF_RECOVERIES = "look at it with 'dr timeline -f', or end it with 'dr abort'"
_OF_JOBS = "wait for its end, or look at it and cancel it there"
_KINDS: dict[str, type[DrError]] = {
    kind.__name__: kind for kind in (Refused, BackupUnusable, Unavailable, VerificationFailed)
}


def run(work: Callable[[Client, Settings], Awaitable[T]], *, worker_needed: bool = True) -> T:
    """Connect and do ``work``; refuse with the cure when Temporal or a worker is not there."""

    async def connected() -> T:
        settings = Settings()
        client = await connect("dr", settings.state)
        try:
            if worker_needed:
                await _require_pollers(client, settings)
            return await work(client, settings)
        except RPCError as error:
            raise _of_server(error, client.namespace) from None

    return asyncio.run(connected())


def _of_server(error: RPCError, namespace: str) -> DrError:
    """Return what a refusal of the server means to a person."""
    where = f"namespace {namespace}"
    match error.status:
        case RPCStatusCode.PERMISSION_DENIED | RPCStatusCode.UNAUTHENTICATED:
            said = f"Temporal does not let us do this: {error.message}"
            return Refused(said, where=where, hint="check certificate or key", code="temporal-denied")
        case RPCStatusCode.NOT_FOUND if "namespace" in error.message.lower():
            hint = "check TEMPORAL_NAMESPACE; 'dr up' says how one is made"
            return Refused(
                "the server has no such namespace", where=where, hint=hint, code="namespace-missing"
            )
        case _:
            return Unavailable(f"Temporal failed: {error.message}", where=where, code="temporal-failed")


async def pollers(client: Client, queue: str, kind: "TaskQueueType.ValueType") -> int:
    """Return how many workers poll a queue; the server goes on naming one that is gone for minutes."""
    found = await client.workflow_service.describe_task_queue(
        DescribeTaskQueueRequest(
            namespace=client.namespace, task_queue=TaskQueue(name=queue), task_queue_type=kind
        )
    )
    since = datetime.now(UTC) - _POLLED_WITHIN
    return sum(one.last_access_time.ToDatetime(UTC) > since for one in found.pollers)


async def _require_pollers(client: Client, settings: Settings) -> None:
    wanted = (
        (settings.control_queue, TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW),
        (names.host_queue(settings.site), TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY),
    )
    for queue, kind in wanted:
        if not await pollers(client, queue, kind):
            raise Unavailable(
                "no worker polls the queue",
                where=queue,
                hint="start one with 'dr up' or 'python -m worker', and look into its log",
                code="worker-missing",
            )


async def execute(
    client: Client, settings: Settings, workflow: str, request: BaseModel, result: type[M]
) -> M:
    """Run a short workflow to its end and return its result; its failure becomes one of our errors."""
    handle = await start(client, settings, workflow, request, f"errand/{workflow}/{_unique()}", result)
    return await _while_polled(result_of(handle), client, settings)


async def start(
    client: Client, settings: Settings, workflow: str, request: BaseModel, workflow_id: str, result: type[M]
) -> WorkflowHandle[Any, M]:
    """Start a workflow; raise ``Busy`` with the holder's ids when its id is taken by an open run."""
    try:
        return await client.start_workflow(
            workflow,
            request,
            id=workflow_id,
            task_queue=settings.control_queue,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            result_type=result,
        )
    except WorkflowAlreadyStartedError as error:
        raise Busy(
            f"another run is open: {workflow_id}, run {error.run_id}",
            where=link(settings, client.namespace, workflow_id, error.run_id or ""),
            hint=_OF_RECOVERIES if workflow_id.startswith("recovery/") else _OF_JOBS,
            code="busy",
        ) from None


async def result_of(handle: WorkflowHandle[Any, M]) -> M:
    """Wait for the end of a run, showing how far it is, and return its result."""
    with Line() as line:
        beside = asyncio.create_task(shown_while(handle, line))
        try:
            return await handle.result()
        except WorkflowFailureError as error:
            raise _ours(error.cause) from None
        finally:
            beside.cancel()


async def _while_polled(result: Coroutine[Any, Any, M], client: Client, settings: Settings) -> M:
    """Wait for a result as long as a worker polls; without one it would never come."""
    waiting = asyncio.create_task(result)
    try:
        while True:
            done, _ = await asyncio.wait({waiting}, timeout=_POLLERS_EVERY_SECONDS)
            if done:
                return waiting.result()
            await _require_pollers(client, settings)
    finally:
        waiting.cancel()


def _ours(cause: BaseException) -> DrError:
    while isinstance(cause, ActivityError) and cause.cause is not None:
        cause = cause.cause
    if isinstance(cause, ApplicationError):
        code = str(cause.details[0]) if cause.details else "failed"
        told = cause.details[1] if len(cause.details) > 1 else None
        parts = told if isinstance(told, dict) else {}
        what = str(parts.get("what") or (cause.message or "failed").removesuffix(f" [{code}]"))
        where, hint = (str(parts.get(name) or "") for name in ("where", "hint"))
        return _KINDS.get(cause.type or "", Unavailable)(what, where=where, hint=hint, code=code)
    return Unavailable(str(cause), code="failed")


async def look(client: Client, workflow_id: str) -> StatusView | None:
    """Return the state of a run, or ``None`` when there is none."""
    handle = client.get_workflow_handle(workflow_id)
    try:
        view: StatusView = await handle.query("status", result_type=StatusView, rpc_timeout=_ANSWER_WITHIN)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise Unavailable(
            f"the run does not answer: {error.message}",
            where=workflow_id,
            hint="is a worker running?",
            code="run-silent",
        ) from None
    except WorkflowQueryFailedError as error:
        raise Unavailable(f"the run does not answer: {error}", where=workflow_id, code="run-silent") from None
    return view


async def open_recoveries(client: Client) -> list[str]:
    """Return the workflow ids of the open recoveries."""
    query = "ExecutionStatus='Running' AND WorkflowId STARTS_WITH 'recovery/'"
    return [found.id async for found in client.list_workflows(query)]


async def the_open_one(client: Client, stack: str) -> str:
    """Return the workflow id of the recovery that a decision is about."""
    if stack:
        return names.recovery_workflow_id(stack)
    found = await open_recoveries(client)
    if len(found) == 1:
        return found[0]
    if not found:
        raise Refused("no recovery is open", hint="'dr status' shows what runs", code="no-open-run")
    raise Refused(
        f"{len(found)} recoveries are open: {', '.join(found)}",
        hint="say which with --stack",
        code="which-run",
    )


def link(settings: Settings, namespace: str, workflow_id: str, run_id: str) -> str:
    """Return the address of a run in the Web UI."""
    run_part = f"/{run_id}/history" if run_id else ""
    return f"{ui_address(settings)}/namespaces/{namespace}/workflows/{quote(workflow_id, safe='')}{run_part}"


def default_state() -> Path:
    """Return the state directory in force."""
    return Settings().state


def _unique() -> str:
    import secrets  # noqa: PLC0415 - used here only

    return secrets.token_hex(4)
