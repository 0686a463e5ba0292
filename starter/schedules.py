"""``dr schedules``: the jobs of a stack on Temporal's schedules, as its file states them."""

import getpass
from collections.abc import Awaitable, Callable

import typer
from rich.console import Console
from temporalio.client import Client

from domain.errors import Refused
from domain.jobs import Job
from domain.stack import Stack
from domain.stack_file import parse_stack
from starter import orchestrator
from starter.agenda import Agenda, Line
from starter.answer import Exit, answer, columns, plain
from worker.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Schedules: apply the stack file, list, pause, resume.")

_STACK = typer.Option("", help="The stack; the worker's default one when not given.")
_JOBS = typer.Argument(None, help="The jobs, such as postgres-daily.")
_ALL = typer.Option(False, "--all", help="Every job that has a schedule.")
_REASON = typer.Option(..., help="Why; it is kept with the schedule.")
_BY = typer.Option("", help="Who decides; your login name when not given.")
_JSON = typer.Option(False, "--json")


@app.command("apply")
def apply(
    stack: str = _STACK,
    *,
    prune: bool = typer.Option(False, "--prune", help="Remove schedules that the file no longer has."),
    as_json: bool = _JSON,
) -> None:
    """Make the schedules what the stack file says; what a person paused stays paused."""
    _do("apply", stack, lambda agenda: agenda.apply(prune=prune), as_json=as_json)


@app.command("list")
def list_(stack: str = _STACK, *, as_json: bool = _JSON) -> None:
    """Show each schedule with its next run, and where it is not what the stack file says."""
    _do("list", stack, lambda agenda: agenda.look(), as_json=as_json)


@app.command("pause")
def pause(
    jobs: list[Job] | None = _JOBS,
    stack: str = _STACK,
    reason: str = _REASON,
    by: str = _BY,
    *,
    every: bool = _ALL,
    as_json: bool = _JSON,
) -> None:
    """Pause schedules: they stay so until somebody resumes them."""
    named, who = _named(jobs, every=every), by or getpass.getuser()
    _do("pause", stack, lambda agenda: agenda.pause(named, who, reason), as_json=as_json)


@app.command("resume")
def resume(
    jobs: list[Job] | None = _JOBS,
    stack: str = _STACK,
    reason: str = _REASON,
    by: str = _BY,
    *,
    every: bool = _ALL,
    as_json: bool = _JSON,
) -> None:
    """Let paused schedules go on; one that the stack file pauses is resumed there."""
    named, who = _named(jobs, every=every), by or getpass.getuser()
    _do("resume", stack, lambda agenda: agenda.resume(named, who, reason), as_json=as_json)


def _named(jobs: list[Job] | None, *, every: bool) -> list[Job]:
    if bool(jobs) == every:
        raise Refused("say which jobs, or --all", hint=f"there are: {', '.join(Job)}", code="which-job")
    return jobs or []


def _do(verb: str, stack: str, act: Callable[[Agenda], Awaitable[list[Line]]], *, as_json: bool) -> None:
    async def work(client: Client, settings: Settings) -> Exit:
        lines = await act(Agenda(client, stack_named(settings, stack), settings.control_queue))
        answer(f"schedules {verb}", lines, as_json=as_json, human=lambda c: _draw(c, lines))
        return Exit.DONE

    raise typer.Exit(orchestrator.run(work, worker_needed=False))


def stack_named(settings: Settings, name: str) -> Stack:
    """Return a stack as its file states it, the default one for no name. Raises ``Refused``."""
    stacks = settings.stacks()
    chosen = settings.stack_for(name)
    path = stacks.get(chosen)
    if path is None:
        raise Refused(
            f"there is no stack {chosen!r}",
            hint=f"there are: {', '.join(stacks) or 'none'}",
            code="stack-unknown",
        )
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise Refused(f"the stack file cannot be read: {error}", where=str(path), code="stack-file") from None
    return parse_stack(text, str(path))[0]


def _draw(console: Console, lines: list[Line]) -> None:
    table = columns("job", "state", "at", "next", "what")
    for line in lines:
        coming = f"{line.next:%Y-%m-%d %H:%MZ}" if line.next else ""
        said = "; ".join(filter(None, (line.did, line.note if line.state == "paused" else line.comment)))
        table.add_row(*(plain(cell) for cell in (line.job or line.id, line.state, line.at, coming, said)))
    console.print(table)
    for line in lines:
        for difference in line.drift:
            console.print(f"[yellow]drift[/] {plain(line.id)}: {plain(difference)}")
