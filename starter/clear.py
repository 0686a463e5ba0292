"""``dr retention``: what the policy no longer keeps goes, or is shown."""

import typer
from rich.console import Console
from temporalio.client import Client

from domain.backups import spoken_bytes
from domain.jobs import Job, lock_of
from domain.retention_plan import Retained
from starter import orchestrator
from starter.answer import Exit, answer, plain
from worker.settings import Settings
from workflows.retention import RetentionRequest


def retention(
    stack: str = typer.Option("", help="The stack; the worker's default one when not given."),
    *,
    plan: bool = typer.Option(False, "--plan", help="Only show what goes and what stays, and why."),
    as_json: bool = typer.Option(False, "--json"),
) -> None:
    """Remove the backups and the archived WAL that the policy of the stack no longer keeps."""

    async def work(client: Client, settings: Settings) -> Exit:
        name = settings.stack_for(stack)
        if plan:
            request = RetentionRequest(stack=name, mode="plan")
            found = await orchestrator.execute(client, settings, "Retention", request, Retained)
        else:
            lock = lock_of(name, Job.RETENTION)
            request = RetentionRequest(stack=name, reason="by hand")
            handle = await orchestrator.start(client, settings, "Retention", request, lock, Retained)
            found = await orchestrator.result_of(handle)
        answer("retention", found, as_json=as_json, human=lambda c: _draw(c, found, plan=plan))
        return Exit.DONE

    raise typer.Exit(orchestrator.run(work))


def _draw(console: Console, found: Retained, *, plan: bool) -> None:
    console.print(plain(found.sentence))
    rulings = (*found.plan.going, *(found.plan.staying if plan else ()))
    for one in rulings:
        word = "[yellow]goes[/] " if one.goes else "[green]stays[/]"
        console.print(
            f"{word} {plain(one.store)} {plain(one.kind)} {plain(one.id)}"
            f" ({spoken_bytes(one.bytes)}): {plain(one.reason)}"
        )
    for wal in (*found.plan.wal_going, *(found.plan.wal_staying if plan else ())):
        word = "[yellow]goes[/] " if wal.goes else "[green]stays[/]"
        span = wal.first if wal.segments == 1 else f"{wal.first} to {wal.last}"
        console.print(
            f"{word} {wal.segments} WAL segments ({spoken_bytes(wal.bytes)}) {plain(wal.directory)}"
            f" {plain(span)}: {plain(wal.reason)}"
        )
    if found.plan.unlisted:
        console.print(f"and {found.plan.unlisted} more")
    for strange in found.plan.strangers:
        console.print(f"not ours or broken, left alone: {plain(strange.id)}: {plain(strange.reason)}")
