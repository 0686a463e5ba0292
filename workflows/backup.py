"""Backups by hand or by schedule, and what is known of them."""

from pydantic import Field
from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.containers import Containers
    from activities.postgres.backup import Backups
    from activities.postgres.listing import Listing
    from activities.postgres.receiver import Protection
    from domain.backups import Backup, BackupList, BackupOrder, ReceiveOrder, ShelfOrder, VerifyBackupOrder
    from domain.order import Facts, Outcome, StackOrder, TargetOrder, Value
    from workflows.errand import errand


class BackupRequest(Value):
    """Which stack to protect; ``{}`` is the worker's default one."""

    stack: str = Field(default="", max_length=63, pattern=r"^([a-z0-9][a-z0-9_-]*)?$")
    reason: str = Field(default="", max_length=2000)


class VerifyRequest(BackupRequest):
    """Which backup to verify; an empty id is the newest."""

    backup_id: str = Field(default="", max_length=100, pattern=r"^([A-Za-z0-9][A-Za-z0-9_.-]*)?$")


async def load(request: BackupRequest) -> Facts:
    """Load the facts of the stack that a request names."""
    return await errand("Load the stack", Containers.observe_stack, StackOrder(stack=request.stack))


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
    async def run(self, request: BackupRequest = BackupRequest()) -> Backup:  # noqa: B008 - frozen
        """Stream, back up, verify."""
        target = (await load(request)).target
        await errand("Protect the database", Protection.ensure_protected, TargetOrder(target=target))
        await errand("Stream the WAL", Protection.ensure_receiving, ReceiveOrder(target=target))
        order = BackupOrder(target=target, label=workflow.info().run_id, reason=request.reason)
        return await errand("Take a base backup", Backups.ensure_base_backup, order)


@workflow.defn(name="ListBackups")
class ListBackups:
    """Read the catalogue of a stack's shelf."""

    @workflow.run
    async def run(self, request: BackupRequest = BackupRequest()) -> BackupList:  # noqa: B008 - frozen
        """Look only."""
        target = (await load(request)).target
        return await errand("Read the catalogue", Listing.observe_backups, ShelfOrder(shelf=target.shelf))


@workflow.defn(name="VerifyBackup")
class VerifyBackup:
    """Verify one backup's manifest and checksums again."""

    @workflow.run
    async def run(self, request: VerifyRequest = VerifyRequest()) -> Backup:  # noqa: B008 - frozen
        """Verify, and record level and date."""
        target = (await load(request)).target
        order = VerifyBackupOrder(target=target, backup_id=request.backup_id)
        return await errand("Verify the backup", Backups.verify_backup, order)
