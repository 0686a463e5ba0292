"""``dr reopen``: a recovery that was terminated goes on where it was, by Temporal's reset of its run."""

import getpass
import uuid
from functools import partial

import typer
from rich.console import Console
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client, WorkflowExecutionDescription, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from domain import names
from domain.errors import Refused
from starter import orchestrator
from starter.answer import Busy, Exit, answer, plain
from worker.settings import Settings

_NOT_A_RECOVERY = {"Discard"}
"""Other work that holds the same lock."""


def reopen(
    stack: str = typer.Option("", help="The stack; the worker's default one when not given."),
    by: str = typer.Option("", help="Who asks for it; your login name when not given."),
    reason: str = typer.Option(..., help="Why; it goes on the record."),
    *,
    as_json: bool = typer.Option(False, "--json"),
) -> None:
    """Go on with a recovery that was terminated in the middle; what it did so far counts."""

    async def work(client: Client, settings: Settings) -> Exit:
        workflow_id = names.recovery_workflow_id(settings.stack_for(stack))
        found = await _latest(client, workflow_id)
        _require_broken_off(found, orchestrator.link(settings, client.namespace, workflow_id, found.run_id))
        run_id = await _reset(client, found, f"{by or getpass.getuser()}: {reason}")
        data = {"workflow_id": workflow_id, "run_id": run_id, "reopened_run_id": found.run_id}
        shown = orchestrator.link(settings, client.namespace, workflow_id, run_id)
        answer("reopen", data, as_json=as_json, human=partial(_draw, shown=shown))
        return Exit.DONE

    raise typer.Exit(orchestrator.run(work))


def _draw(console: Console, shown: str) -> None:
    console.print(f"goes on: {plain(shown)}")


async def _latest(client: Client, workflow_id: str) -> WorkflowExecutionDescription:
    try:
        return await client.get_workflow_handle(workflow_id).describe()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        raise Refused("no recovery of this stack is known", where=workflow_id, code="no-such-run") from None


def _require_broken_off(found: WorkflowExecutionDescription, link: str) -> None:
    if found.status is WorkflowExecutionStatus.RUNNING:
        raise Busy(
            "the recovery is open", where=link, hint="'dr status' shows what it waits for", code="busy"
        )
    if found.status is WorkflowExecutionStatus.COMPLETED or found.workflow_type in _NOT_A_RECOVERY:
        raise Refused(
            f"the latest run of this stack, {found.workflow_type}, came to its own end",
            where=link,
            hint="only a run that was terminated goes on; else start a new recovery",
            code="run-ended",
        )


async def _reset(client: Client, found: WorkflowExecutionDescription, reason: str) -> str:
    """Reset a run to its last workflow task: what hands did after it is done again, and found done."""
    handle = client.get_workflow_handle(found.id, run_id=found.run_id)
    finished = 0
    async for event in handle.fetch_history_events():
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
            finished = event.event_id
    if not finished:
        raise Refused("the run had not begun", where=found.id, hint="start a new one", code="run-ended")
    reset = await client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=found.id, run_id=found.run_id),
            reason=reason,
            workflow_task_finish_event_id=finished,
            request_id=str(uuid.uuid4()),
        )
    )
    return reset.run_id
