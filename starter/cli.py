"""The ``dr`` command."""

import os
import sys

import typer
from pydantic import ValidationError
from temporalio.service import RPCError

from domain.errors import DrError, Refused, Unavailable
from infra import down as infra_down
from infra import up as infra_up
from starter import backup_keys, clear, decide, init, keys, look, offsite, protect, recover, reopen, schedules
from starter.answer import Exit, answer, answer_error, exit_of, plain, say

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Recover a self-hosted Docker stack from disaster, on Temporal.",
)
app.add_typer(recover.app, name="recover")
app.add_typer(protect.app, name="backup")
app.add_typer(offsite.app, name="offsite")
keys.app.add_typer(backup_keys.app, name="backup")
app.add_typer(keys.app, name="keys")
app.add_typer(schedules.app, name="schedules")
for command in (
    look.status,
    decide.approve,
    decide.reject,
    decide.hold,
    decide.resume,
    decide.retry,
    decide.skip,
    decide.abort,
    reopen.reopen,
    keys.sign,
    look.timeline,
    look.report,
    protect.release,
    protect.discard,
    clear.retention,
    look.doctor,
    init.init,
):
    app.command()(command)


@app.command()
def up(
    *,
    lab: bool = typer.Option(False, "--lab", help="Start the lab stack too, and protect it."),
    as_json: bool = typer.Option(False, "--json"),
) -> None:
    """Start what is missing: Temporal with its Web UI, the worker, the ledger."""
    started = infra_up.ensure_up(say, lab=lab)
    answer("up", started, as_json=as_json, human=lambda c: c.print(plain(started["ui"])))


@app.command()
def down(
    *,
    everything: bool = typer.Option(False, "--all", help="The lab, its images and our state too: make down."),
    as_json: bool = typer.Option(False, "--json"),
) -> None:
    """Stop our own processes; the protected stack and the backups stay."""
    stopped = infra_down.take_down(say, everything=everything)
    answer("down", stopped, as_json=as_json, human=lambda c: c.print("down"))


_GROUPS = {"recover", "backup", "schedules", "offsite", "keys", "keys backup"}
"""Commands that have commands of their own."""


def main() -> None:
    """Run ``dr`` and exit with the status that the answer deserves."""
    try:
        status = _run()
    except SystemExit as told:
        status = told.code if isinstance(told.code, int) else Exit.ERROR
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads of Temporal's client outlive the connection; now and then one that meets an interpreter which
    # is being taken down aborts the process (temporalio/sdk-python#300), and the status would be lost.
    os._exit(status)


def _run() -> int:
    as_json = "--json" in sys.argv
    name = _named(sys.argv[1:])
    try:
        status = app(standalone_mode=False)
    except DrError as error:
        answer_error(name, error, as_json=as_json)
        return exit_of(error)
    except ValidationError as error:
        answer_error(name, _unusable(error), as_json=as_json)
        return Exit.USAGE
    except RPCError as error:
        refused = Unavailable(f"Temporal refused: {error.message}", code="temporal-refused")
        answer_error(name, refused, as_json=as_json)
        return exit_of(refused)
    except typer.TyperException as error:
        answer_error(name, Refused(error.format_message(), code="usage"), as_json=as_json)
        return Exit.USAGE
    except typer.Abort:
        answer_error(name, Refused("nothing was done", code="not-confirmed"), as_json=as_json)
        return Exit.USAGE
    return status if isinstance(status, int) else 0


def _named(words: list[str]) -> str:
    """Return the command that was given, with the groups that it belongs to."""
    name = ""
    for word in words:
        if not word.startswith("-"):
            name = f"{name} {word}".lstrip()
            if name not in _GROUPS:
                break
    return name


def _unusable(error: ValidationError) -> Refused:
    """Say which word of the command line cannot be used; the word itself is not repeated."""
    said = error.errors(include_url=False, include_input=False, include_context=False)
    names = ", ".join(f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in said)
    return Refused(f"a word of the command cannot be used: {names}", code="usage")
