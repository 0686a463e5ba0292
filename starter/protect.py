"""``dr backup``, ``dr release`` and ``dr discard``."""

from enum import StrEnum
from pathlib import Path

import typer
from rich.console import Console
from temporalio.client import Client

from domain import names
from domain.backups import Backup
from domain.configuration import Extracted
from domain.dumps import DumpKind, Rebuilt, RestoreProven
from domain.entries import BASE, Entry, EntryList, entry_of
from domain.errors import BackupUnusable, DrError, Refused, VerificationFailed
from domain.inert import visible
from domain.jobs import WORK, Job, lock_of
from domain.release import Released
from domain.store_backups import StoreBackups
from domain.wal_archive import Archived
from starter import orchestrator
from starter.answer import Exit, answer, columns, plain, say
from starter.selftest import self_test
from starter.verification import verify_all
from worker.settings import Settings
from workflows.backup import BackupRequest, DumpRequest, EntryRequest, ScheduledRequest, VerifyRequest
from workflows.configuration_backup import ExtractRequest
from workflows.release import DiscardRequest, ReleaseRequest

app = typer.Typer(no_args_is_help=True, help="Backups: take, list, show, verify.")

_STACK = typer.Option("", help="The stack; the worker's default one when not given.")
_NAMED = 5


class What(StrEnum):
    """What ``dr backup now`` takes."""

    WAL = "wal"
    BASE = "base"
    DAILY = "daily"
    WEEKLY = "weekly"
    REDIS = "redis"
    MINIO = "minio"
    MEILISEARCH = "meilisearch"
    HASURA = "hasura"
    STACK = "stack"

    @property
    def job(self) -> Job:
        """Return the job whose lock it takes."""
        return Job(f"postgres-{self.value}" if self in {What.WAL, What.BASE, *_DUMPS} else self.value)


_DUMPS = (What.DAILY, What.WEEKLY)


@app.command("now")
def now(
    what: What = typer.Argument(
        What.BASE, help="base, a dump (daily or weekly), another store; wal sees to the archive."
    ),
    stack: str = _STACK,
    reason: str = typer.Option("by hand", help="Why."),
    *,
    as_json: bool = typer.Option(False, "--json"),
) -> None:
    """Take a backup now and verify it."""

    async def work(client: Client, settings: Settings) -> Exit:
        workflow_id = lock_of(settings.stack_for(stack), what.job)
        if what is What.BASE:
            say("streaming WAL, taking and verifying a base backup …")
            request = ScheduledRequest(stack=stack, reason=reason)
            made = await orchestrator.start(client, settings, "BaseBackup", request, workflow_id, Backup)
            entry = entry_of(await orchestrator.result_of(made))
        elif what is What.WAL:
            return await _archive(client, settings, stack, reason, as_json=as_json)
        elif what not in _DUMPS:
            return await _store(client, settings, what, stack, reason, as_json=as_json)
        else:
            say("dumping every database and the globals, and reading all of it …")
            wanted = DumpRequest(stack=stack, reason=reason, kind=DumpKind(what.value))
            begun = await orchestrator.start(client, settings, "Dump", wanted, workflow_id, Entry)
            entry = await orchestrator.result_of(begun)
        answer("backup now", _row(entry), as_json=as_json, human=lambda c: c.print(plain(entry.sentence)))
        return Exit.DONE

    raise typer.Exit(orchestrator.run(work))


async def _archive(client: Client, settings: Settings, stack: str, reason: str, *, as_json: bool) -> Exit:
    """See that the WAL is in the archive; that is no backup of its own, so it has no entry."""
    say("streaming WAL, waiting until the archive has it, and following it …")
    request = ScheduledRequest(stack=stack, reason=reason)
    lock = lock_of(settings.stack_for(stack), Job.POSTGRES_WAL)
    begun = await orchestrator.start(
        client, settings, WORK[Job.POSTGRES_WAL].workflow, request, lock, Archived
    )
    found = await orchestrator.result_of(begun)
    answer("backup now", found, as_json=as_json, human=lambda c: c.print(plain(found.sentence)))
    return Exit.DONE


async def _store(
    client: Client, settings: Settings, what: What, stack: str, reason: str, *, as_json: bool
) -> Exit:
    """Back up a store other than PostgreSQL; it may make several entries."""
    say(f"backing up {what.value} …")
    request = ScheduledRequest(stack=stack, reason=reason)
    lock = lock_of(settings.stack_for(stack), what.job)
    begun = await orchestrator.start(client, settings, WORK[what.job].workflow, request, lock, StoreBackups)
    made = await orchestrator.result_of(begun)
    rows = [_row(entry) for entry in made.entries]
    answer("backup now", rows, as_json=as_json, human=lambda c: c.print(plain(made.sentence)))
    return Exit.DONE


@app.command("list")
def list_(stack: str = _STACK, *, as_json: bool = typer.Option(False, "--json")) -> None:
    """List the backups of a stack, newest first."""

    async def work(client: Client, settings: Settings) -> Exit:
        found = await orchestrator.execute(
            client, settings, "ListBackups", BackupRequest(stack=stack), EntryList
        )
        rows = [_row(entry) for entry in found.entries]
        answer("backup list", rows, as_json=as_json, human=lambda console: _draw_list(console, found))
        return Exit.DONE

    raise typer.Exit(orchestrator.run(work))


@app.command("show")
def show(
    backup: str = typer.Argument("", help="The backup's id; the newest when not given."),
    stack: str = _STACK,
    *,
    as_json: bool = typer.Option(False, "--json"),
) -> None:
    """Show one backup: what it was taken from, its files, what it held."""

    async def work(client: Client, settings: Settings) -> Exit:
        request = EntryRequest(stack=stack, backup_id=backup)
        found = await orchestrator.execute(client, settings, "ShowBackup", request, Entry)
        answer("backup show", found, as_json=as_json, human=lambda console: _draw_entry(console, found))
        return Exit.DONE

    raise typer.Exit(orchestrator.run(work))


@app.command("verify")
def verify(
    backup: str = typer.Argument("", help="The backup's id; the newest when not given."),
    stack: str = _STACK,
    *,
    restore: bool = typer.Option(
        False, "--restore", help="Restore it into a server of its own, and compare."
    ),
    selftest: bool = typer.Option(
        False, "--self-test", help="Verify the checks instead: damage copies, and see each check find it."
    ),
    every: bool = typer.Option(False, "--all", help="Every due backup, as the schedule does it."),
    as_json: bool = typer.Option(False, "--json"),
) -> None:
    """Verify a backup again: every file of it, and if wanted by restoring it; or all, as each day."""
    if every + selftest + bool(backup or restore) > 1:
        # One of them would be left undone, and the exit status of the other taken for both.
        raise Refused("--all, --self-test and one backup exclude each other", code="usage")
    if every:
        raise typer.Exit(verify_all(stack, as_json=as_json))

    async def work(client: Client, settings: Settings) -> Exit:
        if selftest:
            return await self_test(client, settings, stack, as_json=as_json)
        request = VerifyRequest(stack=stack, backup_id=backup, restore=restore)
        try:
            found = await orchestrator.execute(client, settings, "VerifyBackup", request, RestoreProven)
        except BackupUnusable as error:
            raise _damaged(error) from None

        def draw(console: Console) -> None:
            for proof in found.proofs:
                said = {True: "ok", False: "WRONG", None: "not shown"}[proof.passed]
                console.print(f"{said:>9}  {plain(proof.name)}: {plain(proof.evidence)}")
            console.print(plain(found.sentence))

        proofs = [proof.model_dump(mode="json") for proof in found.proofs]
        row = {**_row(found.entry), "passed": found.passed, "proofs": proofs}
        answer("backup verify", row, as_json=as_json, human=draw)
        return Exit.DONE if found.passed else Exit.VERIFICATION_FAILED

    raise typer.Exit(orchestrator.run(work))


@app.command("extract")
def extract(
    backup: str = typer.Argument("", help="The id of a backup of the configuration; empty for the newest."),
    to: str = typer.Option(..., "--to", help="Where: a new or empty directory, which only root will enter."),
    stack: str = _STACK,
    *,
    as_json: bool = typer.Option(False, "--json"),
) -> None:
    """Open a backup of the configuration and its secrets, in clear, into a directory of the host."""
    place = str(Path(to).absolute())

    async def work(client: Client, settings: Settings) -> Exit:
        request = ExtractRequest(stack=stack, backup_id=backup, to=place)
        found = await orchestrator.execute(client, settings, "ExtractConfiguration", request, Extracted)
        answer("backup extract", found, as_json=as_json, human=lambda c: c.print(plain(found.sentence)))
        return Exit.DONE

    raise typer.Exit(orchestrator.run(work))


@app.command("rebuild-catalogue")
def rebuild_catalogue(stack: str = _STACK, *, as_json: bool = typer.Option(False, "--json")) -> None:
    """Give backups that lost their entry a new one, from their own files; status 8 if one stays without."""

    async def work(client: Client, settings: Settings) -> Exit:
        request = BackupRequest(stack=stack)
        found = await orchestrator.execute(client, settings, "RebuildCatalogue", request, Rebuilt)

        def draw(console: Console) -> None:
            console.print(plain(found.sentence))
            for problem in found.problems:
                console.print(f"stays without: {plain(problem)}")
            for strange in found.disbelieved:
                console.print(f"says less: {plain(strange)}")

        data = {name: list(getattr(found, name)) for name in ("rebuilt", "problems", "disbelieved")}
        answer("backup rebuild-catalogue", data, as_json=as_json, human=draw)
        whole = not found.problems and not found.disbelieved
        return Exit.DONE if whole else Exit.VERIFICATION_FAILED

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
        name = settings.stack_for(stack)
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


def _damaged(error: BackupUnusable) -> DrError:
    """Return what it means to a verification: a backup that cannot be used has failed it."""
    if error.code == "backup-unknown":
        return error
    return VerificationFailed(error.what, where=error.where, hint=error.hint, code=error.code)


def _draw_list(console: Console, found: EntryList) -> None:
    # An id that is cut is none: it is what the other commands want.
    table = columns("id", "store", "kind", "ended", "size", "verified", "by", whole=("id",))
    for entry in found.entries:
        table.add_row(
            plain(entry.id),
            plain(entry.store),
            plain(entry.kind),
            f"{entry.ended_at:%Y-%m-%d %H:%M:%SZ}",
            f"{entry.bytes / 2**20:.1f} MiB",
            entry.verified,
            plain(entry.verified_by),
        )
    console.print(table)
    for strange in found.strangers:
        console.print(f"not ours or broken: {plain(strange.id)}: {plain(strange.reason)}")


def _draw_entry(console: Console, entry: Entry) -> None:
    source = entry.source
    lines = {
        "id": entry.id,
        "store": f"{entry.store}, {entry.kind}",
        "path": entry.path,
        "taken": f"{entry.started_at:%Y-%m-%d %H:%M:%SZ} to {entry.ended_at:%Y-%m-%d %H:%M:%SZ}",
        "why": entry.reason or "not said",
        "size": f"{entry.bytes / 2**20:.1f} MiB" + (f" in {len(entry.files)} files" if entry.files else ""),
        "sha256": entry.sha256,
        "source": f"system {source.system_identifier or 'unknown'}, version {source.version or 'unknown'},"
        f" image {source.image_id.removeprefix('sha256:')[:12] or 'unknown'}",
        "encrypted": f"with key {entry.key_id}" if entry.key_id else "no",
        "verified": f"{entry.verified} at {entry.verified_at:%Y-%m-%d %H:%M:%SZ} by {entry.verified_by}"
        if entry.verified_at
        else entry.verified,
    }
    for name, text in lines.items():
        console.print(f"{name:>10}  {plain(text)}")
    for file in entry.files:
        console.print(f"{'file':>10}  {plain(file.path)}  {file.bytes:,} bytes  {file.sha256[:16]}…")
    for database in entry.contents.databases:
        rows = sum(table.rows for table in database.tables)
        said = f"{database.name}: {len(database.tables)} tables, {rows:,} rows"
        console.print(f"{'database':>10}  {plain(said)}")
        for left in database.left_out[:_NAMED]:
            console.print(f"{'':>10}  {plain(left)}")


def _row(entry: Entry) -> dict[str, object]:
    """Return what programs are told of an entry; ``path`` of a base backup is its data directory."""
    return {
        "id": entry.id,
        "store": entry.store,
        "kind": entry.kind,
        "path": f"{entry.path}/data" if entry.kind == BASE else entry.path,
        "ended_at": entry.ended_at.isoformat(),
        "bytes": entry.bytes,
        "sha256": entry.sha256,
        "verified": entry.verified,
        "verified_at": entry.verified_at.isoformat() if entry.verified_at else None,
        "verified_by": entry.verified_by,
        "reason": entry.reason,
    }
