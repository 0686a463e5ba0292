"""Backups by hand or by schedule."""

from pydantic import AwareDatetime, Field
from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.containers import Containers
    from activities.postgres.backup import Backups
    from activities.postgres.dump import Dumps
    from activities.postgres.receiver import Protection
    from domain.backups import Backup, BackupOrder, ReceiveOrder
    from domain.dumps import DumpKind, DumpOrder
    from domain.entries import Entry
    from domain.order import Facts, Outcome, StackOrder, TargetOrder, Value
    from domain.store_backups import StoreBackupOrder
    from workflows.errand import errand


class BackupRequest(Value):
    """Which stack to protect; ``{}`` is the worker's default one."""

    stack: str = Field(default="", max_length=63, pattern=r"^([a-z0-9][a-z0-9_-]*)?$")
    reason: str = Field(default="", max_length=2000)


class ScheduledRequest(BackupRequest):
    """A backup that a schedule may have asked for, and for which time it did."""

    scheduled_for: AwareDatetime | None = None


class DumpRequest(ScheduledRequest):
    """Which rotation a dump belongs to."""

    kind: DumpKind = DumpKind.DAILY


class EntryRequest(BackupRequest):
    """Which backup is meant; an empty id is the newest."""

    backup_id: str = Field(default="", max_length=100, pattern=r"^([A-Za-z0-9][A-Za-z0-9_.-]*)?$")


class VerifyRequest(EntryRequest):
    """How a backup is verified."""

    restore: bool = False
    """Restore it into a server of its own as well, and compare."""


async def load(request: BackupRequest) -> Facts:
    """Load the facts of the stack that a request names."""
    return await errand("Load the stack", Containers.observe_stack, StackOrder(stack=request.stack))


async def store_order(request: ScheduledRequest) -> StoreBackupOrder:
    """Return the order to back up a store of the stack that a request names; the run's id is its label."""
    return StoreBackupOrder(
        target=(await load(request)).target,
        label=workflow.info().run_id,
        reason=request.reason,
        scheduled_for=request.scheduled_for,
    )


@workflow.defn(name="Protect")
class Protect:
    """Stream the WAL of a stack's database into the archive."""

    @workflow.run
    async def run(self, request: BackupRequest = BackupRequest()) -> Outcome:  # noqa: B008 - frozen
        """Make the two things of ours in the database, and start the receiver."""
        target = (await load(request)).target
        await errand("Protect the database", Protection.ensure_protected, TargetOrder(target=target))
        receiving = await errand("Stream the WAL", Protection.ensure_receiving, ReceiveOrder(target=target))
        return Outcome(sentence=receiving.sentence)


@workflow.defn(name="BaseBackup")
class BaseBackup:
    """Take a base backup of a stack's database and verify its manifest."""

    @workflow.run
    async def run(self, request: ScheduledRequest = ScheduledRequest()) -> Backup:  # noqa: B008 - frozen
        """Stream, back up, verify."""
        target = (await load(request)).target
        await errand("Protect the database", Protection.ensure_protected, TargetOrder(target=target))
        await errand("Stream the WAL", Protection.ensure_receiving, ReceiveOrder(target=target))
        order = BackupOrder(
            target=target,
            label=workflow.info().run_id,
            reason=request.reason,
            scheduled_for=request.scheduled_for,
        )
        return await errand("Take a base backup", Backups.ensure_base_backup, order)


@workflow.defn(name="Dump")
class Dump:
    """Dump every database of a stack's server and its globals, with what each held."""

    @workflow.run
    async def run(self, request: DumpRequest = DumpRequest()) -> Entry:  # noqa: B008 - frozen
        """Dump, and read all of it once."""
        target = (await load(request)).target
        order = DumpOrder(
            target=target,
            kind=request.kind,
            label=workflow.info().run_id,
            reason=request.reason,
            scheduled_for=request.scheduled_for,
        )
        return await errand("Dump the databases", Dumps.ensure_dump, order)
