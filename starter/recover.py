"""``dr recover``: the plan first, then the stack's name, then the run."""

import asyncio
import getpass
import secrets
import sys
from functools import partial
from typing import Any

import typer
from rich.console import Console
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle

from domain import names
from domain.approval import Message
from domain.durations import spoken
from domain.errors import Refused
from domain.incident import RecoveryRequest, RecoveryResult, StatusView
from starter import orchestrator
from starter.answer import OUTCOME_EXIT, Exit, answer, people, plain, say
from starter.progress import Line, said_by
from worker.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Recover a stack from a disaster.")

_LOOK_EVERY_SECONDS = 0.5


@app.command("corruption")
def corruption(
    stack: str = typer.Option("", help="The stack; the worker's default one when not given."),
    *,
    plan: bool = typer.Option(False, "--plan", help="Only look, and say what a recovery would do."),
    no_plan: bool = typer.Option(False, "--no-plan", help="Do not look first; the run looks anyway."),
    yes_stack: str = typer.Option("", "--yes-stack", help="The stack's name, instead of typing it."),
    by: str = typer.Option("", help="Who asks for it; your login name when not given."),
    reason: str = typer.Option("", help="Why."),
    detach: bool = typer.Option(False, "--detach", help="Start it and return."),
    as_json: bool = typer.Option(False, "--json"),
) -> None:
    """Recover a corrupted PostgreSQL: restore while people decide, then swap."""
    request = RecoveryRequest(stack=stack or yes_stack, requested_by=by or getpass.getuser(), reason=reason)

    async def work(client: Client, settings: Settings) -> Exit:
        if plan or not no_plan:
            exit_status = await _plan(client, settings, request, as_json=as_json and plan)
            if plan or exit_status is not Exit.DONE:
                return exit_status
        name = _confirmed(yes_stack, stack or settings.default_stack)
        confirmed = request.model_copy(update={"stack": name})
        handle = await orchestrator.start(
            client,
            settings,
            "DatabaseCorruption",
            confirmed,
            names.recovery_workflow_id(name),
            RecoveryResult,
        )
        say(
            f"started: {orchestrator.link(settings, client.namespace, handle.id, handle.result_run_id or '')}"
        )
        if detach:
            data = {"workflow_id": handle.id, "run_id": handle.result_run_id}
            answer("recover", data, as_json=as_json, human=lambda c: c.print(plain(str(handle.id))))
            return Exit.DONE
        return await follow_to_end(client, handle, as_json=as_json)

    raise typer.Exit(orchestrator.run(work))


async def _plan(client: Client, settings: Settings, request: RecoveryRequest, *, as_json: bool) -> Exit:
    say("looking, without changing anything …")
    planned = request.model_copy(update={"mode": "plan"})
    plan_id = f"plan/{request.stack or 'default'}/{secrets.token_hex(4)}"
    handle = await orchestrator.start(
        client, settings, "DatabaseCorruption", planned, plan_id, RecoveryResult
    )
    ended = asyncio.create_task(orchestrator.result_of(handle))
    parked = await parked_plan(client, handle, ended)
    if parked is not None:
        ended.cancel()
        return _parked(parked, as_json=as_json, over=True)
    result = await ended
    if as_json:
        answer("recover", result, as_json=True, human=lambda _: None)
    else:
        say(result.rule)
    if _was_refused(result):
        return Exit.REFUSED
    return Exit.DONE if result.rule.startswith("Plan") else Exit.STOOD_DOWN


async def parked_plan(
    client: Client, handle: WorkflowHandle[Any, RecoveryResult], ended: "asyncio.Task[RecoveryResult]"
) -> StatusView | None:
    """Wait for a plan; return where it stands when it waits for a person, and end it: it is asked anew."""
    while not (await asyncio.wait({ended}, timeout=_LOOK_EVERY_SECONDS))[0]:
        view = await orchestrator.look(client, handle.id)
        if view is not None and view.state == "needs_human":
            said = Message(by=getpass.getuser(), step=view.parked_step, reason="a plan is not waited for")
            await handle.signal("abort", said)
            return view
    return None


def _was_refused(result: RecoveryResult) -> bool:
    """Tell a run that was refused at its start from one that looked and stood down."""
    return result.outcome == "stood_down" and result.rule.startswith("Refused:")


def _confirmed(yes_stack: str, stack: str) -> str:
    if yes_stack:
        if stack and stack != yes_stack:
            raise Refused(f"--yes-stack says {yes_stack!r}, --stack says {stack!r}", code="stack-mismatch")
        return yes_stack
    if not sys.stdin.isatty():
        raise Refused(
            "nobody confirmed the stack's name",
            hint="on a terminal it is asked for; elsewhere pass --yes-stack NAME",
            code="not-confirmed",
        )
    typed = typer.prompt("Type the stack's name to start its recovery", err=True).strip()
    if stack and typed != stack:
        raise Refused(f"{typed!r} is not {stack!r}; nothing was started", code="stack-mismatch")
    return str(typed)


async def follow_to_end(
    client: Client, handle: WorkflowHandle[object, RecoveryResult], *, as_json: bool
) -> Exit:
    """Print the timeline until the run ends or parks; return the exit status it deserves."""
    with Line() as line:
        return await _followed(client, handle, line, as_json=as_json)


async def _followed(
    client: Client, handle: WorkflowHandle[object, RecoveryResult], line: Line, *, as_json: bool
) -> Exit:
    seen: set[str] = set()
    asked = ""
    while True:
        described = await client.get_workflow_handle(handle.id, run_id=handle.result_run_id).describe()
        view = await orchestrator.look(client, handle.id)
        line.show(await said_by(described))
        if view is not None:
            print_news(view, seen)
            if view.state == "gate" and view.digest != asked:
                asked = view.digest
                print_brief(view)
            if view.state == "needs_human":
                return _parked(view, as_json=as_json)
        if described.status is not WorkflowExecutionStatus.RUNNING:
            result = await orchestrator.result_of(handle)
            answer("recover", result, as_json=as_json, human=partial(_print_result, result=result))
            return Exit.REFUSED if _was_refused(result) else OUTCOME_EXIT[result.outcome]
        await asyncio.sleep(_LOOK_EVERY_SECONDS)


def _parked(view: StatusView, *, as_json: bool, over: bool = False) -> Exit:
    """Print why a run waits for a person; one that is ``over`` was a plan, which nobody can answer."""
    ways = f"  dr retry | {'dr skip --reason … | ' if view.skippable else ''}dr abort --reason …"
    answer(
        "recover",
        view,
        as_json=as_json,
        human=lambda c: c.print(
            f"[bold yellow]needs a human[/] at {plain(view.parked_step)}: {plain(view.parked_reason)}\n"
            f"{'  the plan ended; nothing was changed' if over else ways}"
        ),
    )
    verification = view.parked_code in {"verification-failed", "copy-damaged-by-wal", "journey-failed"}
    return Exit.VERIFICATION_FAILED if verification else Exit.PARKED


def print_news(view: StatusView, seen: set[str]) -> None:
    """Print the lines of the timeline that were not printed yet."""
    for line in view.lines:
        if line not in seen and " running " not in line[:20]:
            say(line)
        seen.add(line)


def print_brief(view: StatusView) -> None:
    """Print the brief of the open gate with the command that answers it."""
    people.print(f"\n[bold]Gate {plain(view.gate)}[/]: {plain(view.question)}")
    for fact in view.brief:
        people.print(f"  · {plain(fact)}")
    if view.quorum > 1:
        so_far = ", ".join(view.approved_by) or "nobody yet"
        people.print(f"  {view.quorum} people must approve; so far: {plain(so_far)}")
    if view.signed == "required":
        people.print("  signed decisions alone count here: add --key FILE")
    people.print(f"  dr approve {plain(view.gate)}    or    dr reject {plain(view.gate)} --reason …\n")


def _print_result(console: Console, result: RecoveryResult) -> None:
    colour = "green" if result.outcome == "recovered" else "yellow"
    console.print(f"[bold {colour}]{result.outcome}[/]: {plain(result.rule)}")
    console.print(f"  RTO {spoken(result.rto_seconds)}, downtime {spoken(result.downtime_seconds)}")
    if result.report:
        console.print(f"  report: {plain(result.report)}")
