"""Backups of Redis by hand or by schedule."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.redis_backup import RedisBackups
    from domain.store_backups import StoreBackupOrder, StoreBackups
    from workflows.backup import ScheduledRequest, load
    from workflows.errand import errand


@workflow.defn(name="RedisBackup")
class RedisBackup:
    """Take a snapshot of a stack's Redis and its append-only files, each loaded once by a server of ours."""

    @workflow.run
    async def run(self, request: ScheduledRequest = ScheduledRequest()) -> StoreBackups:  # noqa: B008 - frozen
        """Save, copy, load, read."""
        target = (await load(request)).target
        order = StoreBackupOrder(
            target=target,
            label=workflow.info().run_id,
            reason=request.reason,
            scheduled_for=request.scheduled_for,
        )
        return await errand("Back up Redis", RedisBackups.ensure_redis_backup, order)
