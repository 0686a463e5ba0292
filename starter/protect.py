"""``dr backup``, ``dr release`` and ``dr discard``."""

import typer
from rich.console import Console
from rich.table import Table
from temporalio.client import Client

from domain import names
from domain.backups import Backup, BackupList
from domain.inert import visible
from domain.release import Released
from starter import orchestrator
from starter.answer import Exit, answer, plain, say
from worker.settings import Settings
from workflows.backup import BackupRequest, VerifyRequest
from workflows.release import DiscardRequest, ReleaseRequest

app = typer.Typer(no_args_is_help=True, help="Backups: take, list, verify.")

_STACK = typer.Option("", help="The stack; the worker's default one when not given.")


@app.command("now")
def now(
    stack: str = _STACK,
    reason: str = typer.Option("by hand", help="Why."),
    *,
    as_json: bool = typer.Option(False, "--json"),
) -> None:
    """Take a base backup now and verify it."""

    async def work(client: Client, settings: Settings) -> Exit:
        say("streaming WAL, taking and verifying a base backup …")
        handle = await orchestrator.start(
            client,
            settings,
            "BaseBackup",
            BackupRequest(stack=stack, reason=reason),
            f"backup/{stack or 'default'}/postgres/base",
            Backup,
        )
        backup = await orchestrator.result_of(handle)
        answer("backup now", _row(backup), as_json=as_json, human=lambda c: c.print(plain(backup.sentence)))
        return Exit.DONE

    raise typer.Exit(orchestrator.run(work))


@app.command("list")
def list_(stack: str = _STACK, *, as_json: bool = typer.Option(False, "--json")) -> None:
    """List the backups of a stack, newest first."""

    async def work(client: Client, settings: Settings) -> Exit:
        found = await orchestrator.execute(
            client, settings, "ListBackups", BackupRequest(stack=stack), BackupList
        )
        rows = [_row(backup) for backup in found.backups]

        def draw(console: Console) -> None:
            table = Table("id", "kind", "ended", "size", "verified", box=None)
            for backup in found.backups:
                size = f"{backup.bytes / 2**20:.0f} MiB"
                table.add_row(
                    plain(backup.id),
                    plain(backup.kind),
                    f"{backup.ended_at:%Y-%m-%d %H:%M:%SZ}",
                    size,
                    backup.verified,
                )
            console.print(table)
            for strange in found.strangers:
                console.print(f"not ours or broken: {plain(strange.id)}: {plain(strange.reason)}")

        answer("backup list", rows, as_json=as_json, human=draw)
        return Exit.DONE

    raise typer.Exit(orchestrator.run(work))


@app.command("verify")
def verify(
    backup: str = typer.Argument("", help="The backup's id; the newest when not given."),
    stack: str = _STACK,
    *,
    as_json: bool = typer.Option(False, "--json"),
) -> None:
    """Verify a backup's manifest and checksums again."""

    async def work(client: Client, settings: Settings) -> Exit:
        request = VerifyRequest(stack=stack, backup_id=backup)
        found = await orchestrator.execute(client, settings, "VerifyBackup", request, Backup)
        answer("backup verify", _row(found), as_json=as_json, human=lambda c: c.print(plain(found.sentence)))
        return Exit.DONE

    raise typer.Exit(orchestrator.run(work))


def release(
    recovery: str = typer.Argument(..., help="The recovery id whose kept data is removed."),
    *,
    yes: bool = typer.Option(False, "--yes", help="Do not ask."),
    as_json: bool = typer.Option(False, "--json"),
) -> None:
    """Remove the old data that a recovery kept aside."""
    if not yes:
        typer.confirm(f"Remove for good what recovery {visible(recovery)} kept aside?", abort=True, err=True)

    async def work(client: Client, settings: Settings) -> Exit:
        request = ReleaseRequest(recovery_id=recovery)
        found = await orchestrator.execute(client, settings, "Release", request, Released)
        answer("release", found, as_json=as_json, human=lambda c: c.print(plain(found.sentence)))
        return Exit.DONE

    raise typer.Exit(orchestrator.run(work))


def discard(
    recovery: str = typer.Argument(..., help="The recovery id whose restored copy is removed."),
    stack: str = _STACK,
    *,
    yes: bool = typer.Option(False, "--yes", help="Do not ask."),
    as_json: bool = typer.Option(False, "--json"),
) -> None:
    """Remove what a recovery that ended in the middle left, and undo what it changed; kept data stays."""
    if not yes:
        typer.confirm(f"Remove for good the copy that recovery {recovery} restored?", abort=True, err=True)

    async def work(client: Client, settings: Settings) -> Exit:
        name = stack or settings.default_stack
        # The stack's lock: no recovery is open meanwhile, whose copy it might be.
        handle = await orchestrator.start(
            client,
            settings,
            "Discard",
            DiscardRequest(stack=name, recovery_id=recovery),
            names.recovery_workflow_id(name),
            Released,
        )
        found = await orchestrator.result_of(handle)
        answer("discard", found, as_json=as_json, human=lambda c: c.print(plain(found.sentence)))
        return Exit.DONE

    raise typer.Exit(orchestrator.run(work))


def _row(backup: Backup) -> dict[str, object]:
    return {
        "id": backup.id,
        "store": backup.store,
        "kind": backup.kind,
        "path": backup.path,
        "ended_at": backup.ended_at.isoformat(),
        "bytes": backup.bytes,
        "verified": backup.verified,
        "verified_at": backup.verified_at.isoformat() if backup.verified_at else None,
    }
