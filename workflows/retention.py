"""Retention: what the policy no longer keeps is removed; ``mode: plan`` only says what that would be."""

from collections.abc import Callable
from typing import Any, Literal, cast

from pydantic import AwareDatetime
from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.open_runs import OpenRecovery, OpenRuns
    from activities.retention import Retaining
    from domain.order import Facts, StackOrder
    from domain.retention_plan import Retained, RetentionOrder
    from workflows.backup import BackupRequest, load
    from workflows.errand import errand

RECOVERY_OPEN = "recovery-open"
"""The code of the refusal of everything that pauses while a recovery is open."""


class RetentionRequest(BackupRequest):
    """Which shelf to clear; ``{}`` is that of the worker's default stack, as of now."""

    mode: Literal["real", "plan"] = "real"
    scheduled_for: AwareDatetime | None = None
    """The moment as of which backups are old: the time of the schedule, however late the run is."""


async def open_recovery(stack: str) -> str:
    """Return which run holds the stack, or nothing."""
    order = StackOrder(stack=stack)
    look = cast("Callable[[Any, StackOrder], OpenRecovery]", OpenRuns.observe_open_recovery)
    return (await errand("Look for an open recovery", look, order, control=True)).because


def unclosed(facts: Facts) -> str:
    """Return which recovery changed something and was never closed, or nothing; its run may be lost."""
    if not facts.unfinished:
        return ""
    return f"recovery {', '.join(facts.unfinished)} was never closed: see dr doctor and dr discard"


@workflow.defn(name="Retention")
class Retention:
    """Remove the backups and the archived WAL that the policy of a stack no longer keeps."""

    @workflow.run
    async def run(self, request: RetentionRequest = RetentionRequest()) -> Retained:  # noqa: B008 - frozen
        """Judge the whole shelf, then remove; refuse while a recovery is open (I3)."""
        facts = await load(request)
        order = RetentionOrder(
            target=facts.target,
            policy=facts.stack.backup,
            as_of=request.scheduled_for or workflow.now(),
        )
        if request.mode == "plan":
            plan = await errand("See what the policy keeps", Retaining.observe_retention, order)
            return Retained(plan=plan, sentence=plan.sentence)
        opened = await open_recovery(facts.stack.stack) or unclosed(facts)
        if opened:
            raise ApplicationError(
                f"nothing is removed: {opened}", RECOVERY_OPEN, type="Refused", non_retryable=True
            )
        return await errand("Remove what is not kept", Retaining.ensure_retained, order)
