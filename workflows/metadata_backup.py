"""Hasura's metadata, backed up by hand or by schedule."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.metadata_backup import MetadataBackups
    from domain.store_backups import StoreBackupOrder, StoreBackups
    from workflows.backup import ScheduledRequest, load
    from workflows.errand import errand


@workflow.defn(name="MetadataBackup")
class MetadataBackup:
    """Export what Hasura was told about the database, sealed with the backup key."""

    @workflow.run
    async def run(self, request: ScheduledRequest = ScheduledRequest()) -> StoreBackups:  # noqa: B008 - frozen
        """Export, seal, open once."""
        order = StoreBackupOrder(
            target=(await load(request)).target,
            label=workflow.info().run_id,
            reason=request.reason,
            scheduled_for=request.scheduled_for,
        )
        return await errand("Back up Hasura's metadata", MetadataBackups.ensure_metadata_backup, order)
