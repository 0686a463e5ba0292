"""Telling people from a workflow: tried, never waited for, and never a reason to fail."""

from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.people import People, TellOrder
    from workflows.pace import NOTICE, SCHEDULE_TO_START, Trouble

# The hand has a patience of its own with each channel; this ends one whose worker is gone.
_LIMIT = timedelta(seconds=30)


async def why_not_told(order: TellOrder) -> str:
    """Tell people; return why they were not told, or nothing."""
    try:
        await workflow.execute_activity_method(
            People.ensure_told,
            order,
            summary="Tell people",
            start_to_close_timeout=_LIMIT,
            schedule_to_start_timeout=SCHEDULE_TO_START,
            retry_policy=NOTICE,
        )
    except ActivityError as error:
        return Trouble.of(error).sentence or "no reason given"
    return ""
