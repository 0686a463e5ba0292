"""Hasura's metadata, backed up by hand or by schedule."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.metadata_backup import MetadataBackups
    from domain.store_backups import StoreBackups
    from workflows.backup import ScheduledRequest, store_order
    from workflows.errand import errand


@workflow.defn(name="MetadataBackup")
class MetadataBackup:
    """Export what Hasura was told about the database, sealed with the backup key."""

    @workflow.run
    async def run(self, request: ScheduledRequest = ScheduledRequest()) -> StoreBackups:  # noqa: B008 - frozen
        """Export, seal, open once."""
        order = await store_order(request)
        return await errand("Back up Hasura's metadata", MetadataBackups.ensure_metadata_backup, order)
