"""What is known of the backups: listed, shown, verified again, and said anew where it was lost."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.objects_proof import ObjectsProof
    from activities.postgres.backup import Backups
    from activities.postgres.dump import Dumps
    from activities.rebuild import Rebuilding
    from activities.shelf import Shelf
    from domain.backups import ShelfOrder, VerifyBackupOrder
    from domain.dumps import EntryTargetOrder, Rebuilt, RestoreProven
    from domain.entries import BASE, Entry, EntryList, EntryOrder, bare, entry_of
    from domain.objects_copy import STORE as OBJECTS
    from domain.objects_copy import ObjectsProofOrder
    from domain.order import Facts, TargetOrder
    from workflows.backup import BackupRequest, EntryRequest, VerifyRequest, load
    from workflows.errand import errand
    from workflows.verification_restores import prove


@workflow.defn(name="ListBackups")
class ListBackups:
    """Read the catalogue of a stack's shelf."""

    @workflow.run
    async def run(self, request: BackupRequest = BackupRequest()) -> EntryList:  # noqa: B008 - frozen
        """Look only."""
        target = (await load(request)).target
        order = ShelfOrder(shelf=target.shelf, stack=target.stack)
        return await errand("Read the catalogue", Shelf.observe_entries, order)


@workflow.defn(name="ShowBackup")
class ShowBackup:
    """Show one backup with its files and what it held."""

    @workflow.run
    async def run(self, request: EntryRequest = EntryRequest()) -> Entry:  # noqa: B008 - frozen
        """Look only."""
        shelf = (await load(request)).target.shelf
        order = EntryOrder(shelf=shelf, entry_id=request.backup_id, whole=True)
        return await errand("Read the entry", Shelf.observe_entry, order)


@workflow.defn(name="VerifyBackup")
class VerifyBackup:
    """Verify one backup again: its files against their record, and if wanted by restoring it."""

    @workflow.run
    async def run(self, request: VerifyRequest = VerifyRequest()) -> RestoreProven:  # noqa: B008 - frozen
        """Verify, and record level and date."""
        facts = await load(request)
        target = facts.target
        order = EntryOrder(shelf=target.shelf, entry_id=request.backup_id)
        entry = await errand("Read the entry", Shelf.observe_entry, order)
        if request.restore:
            return await prove(facts, entry)
        found = bare(await self._read(facts, entry))
        return RestoreProven(entry=found, passed=True, sentence=found.sentence)

    async def _read(self, facts: Facts, entry: Entry) -> Entry:
        target = facts.target
        if entry.store == OBJECTS:
            second = facts.stack.backup.second_store
            copy = ObjectsProofOrder(target=target, entry_id=entry.id, second_store=second)
            return await errand("Verify the contents", ObjectsProof.verify_objects_copy, copy)
        if entry.store != "postgres":
            order = EntryOrder(shelf=target.shelf, entry_id=entry.id)
            return await errand("Verify the files", Shelf.verify_files, order)
        if entry.kind != BASE:
            wanted = EntryTargetOrder(target=target, entry_id=entry.id)
            return await errand("Verify the dump", Dumps.verify_dump, wanted)
        base = VerifyBackupOrder(target=target, backup_id=entry.id)
        return entry_of(await errand("Verify the backup", Backups.verify_backup, base))


@workflow.defn(name="RebuildCatalogue")
class RebuildCatalogue:
    """Make the entries anew that backups have lost."""

    @workflow.run
    async def run(self, request: BackupRequest = BackupRequest()) -> Rebuilt:  # noqa: B008 - frozen
        """Read what the backups themselves say."""
        target = (await load(request)).target
        order = TargetOrder(target=target)
        return await errand("Rebuild the catalogue", Rebuilding.ensure_catalogue_rebuilt, order)
