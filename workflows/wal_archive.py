"""The archive of WAL by hand or by schedule: it is streamed, and it is whole."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.postgres.archiving import Archiving
    from domain.order import StackOrder
    from domain.wal_archive import Archived
    from workflows.backup import ScheduledRequest
    from workflows.errand import errand


@workflow.defn(name="ArchiveWal")
class ArchiveWal:
    """See that the WAL of a stack's database is streamed into the archive, and that the archive is whole."""

    @workflow.run
    async def run(self, request: ScheduledRequest = ScheduledRequest()) -> Archived:  # noqa: B008 - frozen
        """One hand does it all and finds the stack itself: of runs so many each is kept small."""
        order = StackOrder(stack=request.stack)
        return await errand("See that the WAL is archived", Archiving.ensure_wal_archived, order)
