"""Backups of Redis by hand or by schedule."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.redis_backup import RedisBackups
    from domain.store_backups import StoreBackups
    from workflows.backup import ScheduledRequest, store_order
    from workflows.errand import errand


@workflow.defn(name="RedisBackup")
class RedisBackup:
    """Take a snapshot of a stack's Redis and its append-only files, each loaded once by a server of ours."""

    @workflow.run
    async def run(self, request: ScheduledRequest = ScheduledRequest()) -> StoreBackups:  # noqa: B008 - frozen
        """Save, copy, load, read."""
        order = await store_order(request)
        return await errand("Back up Redis", RedisBackups.ensure_redis_backup, order)
