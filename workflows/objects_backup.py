"""Copies of the object store, by hand or by schedule."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.objects_backup import ObjectBackups
    from domain.objects_copy import ObjectsBackupOrder
    from domain.store_backups import StoreBackups
    from workflows.backup import ScheduledRequest, load
    from workflows.errand import errand


@workflow.defn(name="ObjectsBackup")
class ObjectsBackup:
    """Have every bucket of a stack's object store keep versions, and copy all of them to the second store."""

    @workflow.run
    async def run(self, request: ScheduledRequest = ScheduledRequest()) -> StoreBackups:  # noqa: B008 - frozen
        """Copy what is new; without a second store the shelf holds the copy."""
        facts = await load(request)
        policy = facts.stack.backup
        order = ObjectsBackupOrder(
            target=facts.target,
            label=workflow.info().run_id,
            reason=request.reason,
            scheduled_for=request.scheduled_for,
            keep_versions=policy.keep_versions,
            objects=policy.objects,
            second_store=policy.second_store,
        )
        return await errand("Copy the objects", ObjectBackups.ensure_objects_backup, order)
