"""``dr offsite``: copy backups off this site, list them, bring them back."""

import typer
from rich.console import Console
from temporalio.client import Client

from domain.jobs import Job, lock_of
from domain.objects_copy import STORE as OBJECTS
from domain.offsite_copies import CopiedOffsite, FarEntry, Fetched
from domain.offsite_look import OffsiteList
from starter import orchestrator
from starter.answer import Exit, answer, columns, plain, say
from worker.settings import Settings
from workflows.offsite_copy import FetchRequest, OffsiteRequest

app = typer.Typer(no_args_is_help=True, help="Off-site copies of backups: make, list, fetch.")

_STACK = typer.Option("", help="The stack; the worker's default one when not given.")


@app.command("copy")
def copy(
    stack: str = _STACK,
    reason: str = typer.Option("by hand", help="Why."),
    *,
    as_json: bool = typer.Option(False, "--json"),
) -> None:
    """Copy what is finished on the shelf to the second place, sealed, and prove that it arrived."""

    async def work(client: Client, settings: Settings) -> Exit:
        say("copying backups off-site …")
        handle = await orchestrator.start(
            client,
            settings,
            "OffsiteCopy",
            OffsiteRequest(stack=stack, reason=reason),
            lock_of(settings.stack_for(stack), Job.OFFSITE),
            CopiedOffsite,
        )
        copied = await orchestrator.result_of(handle)

        def draw(console: Console) -> None:
            console.print(plain(copied.sentence))
            for strange in copied.strangers:
                console.print(f"not ours or broken: {plain(strange.id)}: {plain(strange.reason)}")

        answer("offsite copy", copied, as_json=as_json, human=draw)
        return Exit.DONE

    raise typer.Exit(orchestrator.run(work))


@app.command("list")
def list_(stack: str = _STACK, *, as_json: bool = typer.Option(False, "--json")) -> None:
    """List what is off-site; the newest of each kind by names and sizes with its manifest."""

    async def work(client: Client, settings: Settings) -> Exit:
        found = await orchestrator.execute(
            client, settings, "ListOffsite", OffsiteRequest(stack=stack), OffsiteList
        )

        def draw(console: Console) -> None:
            table = columns("id", "store", "kind", "copied", "size", "state", whole=("id",))
            for entry in found.entries:
                checked = {
                    True: "whole, all sizes right",
                    False: f"[red]{plain(entry.problem) or 'not as its manifest'}[/]",
                    None: "whole",
                }
                table.add_row(
                    plain(entry.id),
                    plain(entry.store),
                    plain(entry.kind),
                    f"{entry.copied_at:%Y-%m-%d %H:%M:%SZ}" if entry.copied_at else "",
                    f"{entry.bytes / 2**20:.0f} MiB",
                    checked[entry.checked] + _beside(entry) if entry.finished else "[yellow]unfinished[/]",
                )
            console.print(table)
            for entry in found.entries:
                if entry.wal and entry.follows is not True:
                    console.print(f"[red]the WAL of {plain(entry.id)} off-site[/]: {plain(entry.wal)}")
            for said in found.unopened:
                console.print(f"[red]{plain(said)}[/]")
            console.print(plain(found.sentence))

        answer("offsite list", found, as_json=as_json, human=draw)
        return Exit.DONE

    raise typer.Exit(orchestrator.run(work))


@app.command("fetch")
def fetch(
    entry: str = typer.Argument("", help="The entry's id; the newest base backup when not given."),
    stack: str = _STACK,
    *,
    wal: bool = typer.Option(True, help="With a base backup, bring its WAL too."),
    as_json: bool = typer.Option(False, "--json"),
) -> None:
    """Bring a copy back to the shelf; what is there already stays as it is."""

    async def work(client: Client, settings: Settings) -> Exit:
        say("fetching …")
        request = FetchRequest(stack=stack, entry_id=entry, wal=wal)
        place = f"backup/{settings.stack_for(stack)}/offsite/fetch"
        handle = await orchestrator.start(client, settings, "FetchOffsite", request, place, Fetched)
        fetched = await orchestrator.result_of(handle)
        answer("offsite fetch", fetched, as_json=as_json, human=lambda c: c.print(plain(fetched.sentence)))
        return Exit.DONE

    raise typer.Exit(orchestrator.run(work))


def _beside(entry: FarEntry) -> str:
    """Return what went along with a copy of objects that was compared."""
    if entry.store != OBJECTS or not entry.checked:
        return ""
    return f", {entry.contents:,} contents" if entry.contents is not None else ", its listing alone"
