"""``dr init``: a stack file for a Compose project that runs here, from its labels."""

import os
import sys
from pathlib import Path

import typer
from rich.console import Console
from temporalio.client import Client

from domain.errors import Refused
from domain.inventory import Draft, Inventory, draft
from domain.questions import Question
from domain.stack_file import parse_stack
from starter import orchestrator
from starter.answer import Exit, answer, people, plain, say
from starter.stack_text import stack_text
from worker.settings import Settings
from workflows.inspection import ProjectRequest


def init(
    project: str = typer.Option(..., "--project", help="The Compose project, by its label."),
    stack: str = typer.Option("", help="Name of the stack; the project's when not given."),
    out: Path | None = typer.Option(
        None, "--out", help="The file; DR_STATE/stacks/STACK.yaml when not given."
    ),
    answers: list[str] = typer.Option([], "--answer", metavar="ID=VALUE", help="Answer a question."),
    *,
    force: bool = typer.Option(False, "--force", help="Overwrite the file when it is there."),
    as_json: bool = typer.Option(False, "--json"),
) -> None:
    """Write a stack file for a running Compose project; what cannot be told is asked."""

    async def work(client: Client, settings: Settings) -> Exit:
        name = stack or project
        path = (out or settings.state / "stacks" / f"{name}.yaml").absolute()
        _refuse_existing(path, force=force)
        seen = await orchestrator.execute(
            client, settings, "ObserveProject", ProjectRequest(project=project), Inventory
        )
        say(seen.sentence)
        known = _split(answers)
        drafted = draft(seen, name, known)
        if sys.stdin.isatty() and not as_json:
            drafted = _ask_people(seen, name, known)
        text = stack_text(drafted)
        # What would be refused later is refused before it is written.
        parse_stack(text, str(path))
        _write(path, text, force=force)
        data = {
            "path": str(path),
            "stack": name,
            "services": {key: value["kind"] for key, value in drafted.content["services"].items()},
            "left_out": drafted.left_out,
            "questions": drafted.questions,
            "next": _next(name, path, settings),
        }
        answer("init", data, as_json=as_json, human=lambda c: _draw(c, path, drafted, str(data["next"])))
        return Exit.DONE

    raise typer.Exit(orchestrator.run(work))


def _split(given: list[str]) -> dict[str, str]:
    """Return answers by the ids of their questions; ``Refused`` for what is no ``ID=VALUE``."""
    known = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not value:
            raise Refused("an answer is written ID=VALUE", where="--answer", code="answer-wrong")
        known[name] = value
    return known


def _ask_people(seen: Inventory, stack: str, known: dict[str, str]) -> Draft:
    """Ask each open question once; an empty line leaves it open, and a wrong answer is asked again."""
    passed: set[str] = set()
    while True:
        drafted = draft(seen, stack, known)
        waiting = [question for question in drafted.questions if question.id not in passed]
        if not waiting:
            return drafted
        question = waiting[0]
        said = _prompt(question)
        if not said:
            passed.add(question.id)
            continue
        try:
            draft(seen, stack, known | {question.id: said})
        except Refused as error:
            people.print(plain(error.what))
        else:
            known[question.id] = said


def _prompt(question: Question) -> str:
    people.print(f"\n[bold]{plain(question.asks)}[/]")
    if question.choices:
        people.print(f"  one of {plain(', '.join(question.choices))}")
    people.print(f"  without an answer: {plain(question.until_then)}")
    said: str = typer.prompt(question.id, default="", show_default=False, err=True)
    return said.strip()


def _refuse_existing(path: Path, *, force: bool) -> None:
    if path.exists() and not force:
        raise Refused(
            "the file is there already",
            where=str(path),
            hint="name another with --out, or say --force to overwrite it",
            code="file-exists",
        )


def _write(path: Path, text: str, *, force: bool) -> None:
    """Put the file in its place whole; without ``force`` nothing that is there is touched."""
    draft_path = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft_path.write_text(text, encoding="utf-8")
        if force:
            draft_path.replace(path)
        else:
            path.hardlink_to(draft_path)
    except FileExistsError:
        _refuse_existing(path, force=force)
    except OSError as error:
        raise Refused(
            f"the file cannot be written: {error.strerror}", where=str(path), code="file-unwritable"
        ) from error
    finally:
        draft_path.unlink(missing_ok=True)


def _next(name: str, path: Path, settings: Settings) -> str:
    if settings.stacks().get(name) != path:
        return f"the worker does not read {path}: put it into {settings.state / 'stacks'} or DR_STACK_FILES"
    return f"dr doctor --stack {name}, then dr up for the ledger and dr backup now --stack {name}"


def _draw(console: Console, path: Path, drafted: Draft, then: str) -> None:
    console.print(f"wrote {plain(str(path))}")
    for name, service in drafted.content["services"].items():
        console.print(f"  {plain(name)}: {plain(service['kind'])}")
    for line in drafted.left_out:
        console.print(f"  left out: {plain(line)}")
    for question in drafted.questions:
        console.print(f"[yellow]open[/] {plain(question.id)}: {plain(question.asks)}")
        console.print(f"     until then: {plain(question.until_then)}")
    console.print(f"next: {plain(then)}")
