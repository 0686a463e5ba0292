"""The plan before a recovery: what it would do, and what it would wait for a person with."""

import asyncio
import secrets
from contextlib import suppress

from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.service import RPCError

from domain.errors import DrError, Unavailable
from domain.incident import RecoveryRequest, RecoveryResult, StatusView
from starter import orchestrator
from starter.answer import Exit, answer, plain, say
from worker.settings import Settings

_LOOK_EVERY_SECONDS = 0.5
_AWAY_WITHIN_SECONDS = 20.0

Handle = WorkflowHandle[object, RecoveryResult]


async def make_plan(client: Client, settings: Settings, request: RecoveryRequest, *, as_json: bool) -> Exit:
    """Look without changing anything, and say what was found.

    A plan waits for nobody: where a recovery would park, that is its answer, and the plan is ended.
    """
    say("looking, without changing anything …")
    planned = request.model_copy(update={"mode": "plan"})
    plan_id = f"plan/{request.stack or 'default'}/{secrets.token_hex(4)}"
    handle = await orchestrator.start(
        client, settings, "DatabaseCorruption", planned, plan_id, RecoveryResult
    )
    found = await _found(client, handle)
    if isinstance(found, StatusView):
        await _end(handle, request.requested_by)
        return _would_park(found, as_json=as_json)
    if as_json:
        answer("recover", found, as_json=True, human=lambda _: None)
    else:
        say(found.rule)
    if was_refused(found):
        return Exit.REFUSED
    return Exit.DONE if found.rule.startswith("Plan") else Exit.STOOD_DOWN


def was_refused(result: RecoveryResult) -> bool:
    """Tell a run that was refused at its start from one that looked and stood down."""
    return result.outcome == "stood_down" and result.rule.startswith("Refused:")


async def _found(client: Client, handle: Handle) -> RecoveryResult | StatusView:
    """Wait for the end of the plan, or until it would wait for a person."""
    ending = asyncio.create_task(orchestrator.result_of(handle))
    try:
        while True:
            done, _ = await asyncio.wait({ending}, timeout=_LOOK_EVERY_SECONDS)
            if done:
                return ending.result()
            with suppress(Unavailable):
                view = await orchestrator.look(client, handle.id)
                if view is not None and view.state == "needs_human":
                    return view
    finally:
        ending.cancel()


async def _end(handle: Handle, by: str) -> None:
    """Have the plan abort; where that does not count it is terminated, for it changed nothing."""
    said = {"by": by, "reason": "a plan waits for nobody", "id": f"abort:{secrets.token_hex(8)}"}
    with suppress(RPCError):
        await handle.signal("abort", said)
    with suppress(DrError, TimeoutError):
        await asyncio.wait_for(orchestrator.result_of(handle), _AWAY_WITHIN_SECONDS)
    if (await handle.describe()).status is WorkflowExecutionStatus.RUNNING:
        await handle.terminate("a plan waits for nobody")


def _would_park(view: StatusView, *, as_json: bool) -> Exit:
    answer(
        "recover",
        view,
        as_json=as_json,
        human=lambda c: c.print(
            f"[bold yellow]a recovery would need a human[/] at {plain(view.parked_step)}:"
            f" {plain(view.parked_reason)}\n  nothing was changed; with --no-plan it starts and waits there"
        ),
    )
    return Exit.PARKED
