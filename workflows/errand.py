"""Short workflows of one hand: they change little, need no gate, and fail when they cannot be done."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar, cast

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain import names
    from domain.inert import markdown
    from domain.order import Order, Outcome, Token
    from workflows.pace import HEARTBEAT, NOT_RETRIED, SCHEDULE_TO_START, START_TO_CLOSE
from temporalio.common import RetryPolicy

O = TypeVar("O", bound=Order)  # noqa: E741 - order
R = TypeVar("R", bound=Outcome)

_RETRIES = RetryPolicy(
    initial_interval=timedelta(milliseconds=300),
    maximum_interval=timedelta(seconds=5),
    maximum_attempts=5,
    non_retryable_error_types=NOT_RETRIED,
)


async def errand(
    title: str,
    hand: Callable[[Any, O], R],
    order: O,
    *,
    site: str = names.DEFAULT_SITE,
    control: bool = False,
) -> R:
    """Run one hand on the queue of a site's host and return its result; with ``control`` on the run's own.

    The console of the run says what is done, and then what came of it.
    """
    given = order.model_copy(
        update={
            "recovery_id": order.recovery_id or workflow.info().workflow_id.replace("/", "-"),
            "step_id": hand.__name__,
            "token": Token(),
        }
    )
    workflow.set_current_details(f"{title} …")
    result = await workflow.execute_activity_method(
        cast("Any", hand),
        given,
        activity_id=hand.__name__,
        summary=title,
        task_queue=workflow.info().task_queue if control else names.host_queue(site),
        start_to_close_timeout=START_TO_CLOSE,
        schedule_to_start_timeout=SCHEDULE_TO_START,
        heartbeat_timeout=HEARTBEAT,
        retry_policy=_RETRIES,
    )
    found = cast("R", result)
    workflow.set_current_details(markdown(found.sentence) or f"{title}: done")
    return found
