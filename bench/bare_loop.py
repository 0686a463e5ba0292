"""As many activities as a recovery has, and nothing around them: what Temporal itself costs."""

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain import names
    from domain.order import Order

ACTIVITY = "answer_at_once"


@workflow.defn(name="BareLoop")
class BareLoop:
    """Activities one after the other."""

    @workflow.run
    async def run(self, steps: int) -> int:
        """Run ``steps`` activities on the host's queue."""
        for _ in range(steps):
            await workflow.execute_activity(
                ACTIVITY,
                Order(),
                task_queue=names.host_queue(),
                start_to_close_timeout=timedelta(minutes=1),
            )
        return steps
