"""The search engine, backed up by hand or by schedule."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.search_backup import SearchBackups
    from domain.store_backups import StoreBackupOrder, StoreBackups
    from workflows.backup import ScheduledRequest, load
    from workflows.errand import errand


@workflow.defn(name="SearchBackup")
class SearchBackup:
    """Have the search engine write a snapshot and a dump, and keep both."""

    @workflow.run
    async def run(self, request: ScheduledRequest = ScheduledRequest()) -> StoreBackups:  # noqa: B008 - frozen
        """Have them written, fetch them, read them to their end."""
        order = StoreBackupOrder(
            target=(await load(request)).target,
            label=workflow.info().run_id,
            reason=request.reason,
            scheduled_for=request.scheduled_for,
        )
        return await errand("Back up the search engine", SearchBackups.ensure_search_backup, order)
