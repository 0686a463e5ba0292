"""``dr keys backup``: the keys that backups are sealed with before they leave the host."""

from datetime import UTC, datetime

import typer
from rich.console import Console

from domain.backup_keys import KeyFact
from domain.errors import Refused
from starter.answer import answer, columns, plain, say
from worker.backup_keys import BackupKeys
from worker.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Keys that backups are sealed with.")


@app.command("new")
def new(*, as_json: bool = typer.Option(False, "--json")) -> None:
    """Make a key; it seals what is new, and older keys go on opening what is old."""
    keys = BackupKeys(Settings().state)
    made = keys.new(datetime.now(UTC))
    say(f"The key is in {keys.directory / made.id}.key. Without it nothing that it sealed opens again.")
    say(f"Copy it to where the loss of this host does not reach, then: dr keys backup confirm {made.id}")
    answer("keys backup new", made, as_json=as_json, human=lambda c: c.print(plain(made.id)))


@app.command("list")
def list_(*, as_json: bool = typer.Option(False, "--json")) -> None:
    """List the keys of this host, newest first; the first one is in use."""
    known = BackupKeys(Settings().state).known()

    def draw(console: Console) -> None:
        table = columns("id", "made", "kept elsewhere too")
        for one in known:
            table.add_row(one.id, f"{one.made_at:%Y-%m-%d %H:%M:%SZ}", _said(one))
        console.print(table)

    answer("keys backup list", known, as_json=as_json, human=draw)


@app.command("confirm")
def confirm(
    key: str = typer.Argument("", help="The key's id; the newest when not given."),
    by: str = typer.Option(..., help="Who keeps the copy."),
    *,
    as_json: bool = typer.Option(False, "--json"),
) -> None:
    """Say that a key is kept elsewhere too; until then 'dr doctor' is red."""
    keys = BackupKeys(Settings().state)
    known = keys.known()
    if not known:
        raise Refused(
            "there is no backup key", hint="make one with 'dr keys backup new'", code="backup-key-missing"
        )
    said = keys.confirm(key or known[0].id, by, datetime.now(UTC))
    answer("keys backup confirm", said, as_json=as_json, human=lambda c: c.print(f"{said.id}: {_said(said)}"))


def _said(one: KeyFact) -> str:
    if one.confirmed_at is None:
        return "[red]nobody said so[/]"
    return f"{plain(one.confirmed_by)}, {one.confirmed_at:%Y-%m-%d}"
