"""The search engine, backed up by hand or by schedule."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.search_backup import SearchBackups
    from domain.store_backups import StoreBackups
    from workflows.backup import ScheduledRequest, store_order
    from workflows.errand import errand


@workflow.defn(name="SearchBackup")
class SearchBackup:
    """Have the search engine write a snapshot and a dump, and keep both."""

    @workflow.run
    async def run(self, request: ScheduledRequest = ScheduledRequest()) -> StoreBackups:  # noqa: B008 - frozen
        """Have them written, fetch them, read them to their end."""
        order = await store_order(request)
        return await errand("Back up the search engine", SearchBackups.ensure_search_backup, order)
