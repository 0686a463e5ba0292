"""What of the due backups is there, and what is not due yet: asked only where something is missing."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, cast

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.due import Schedules
    from domain.entries import EntryList
    from domain.jobs import Job
    from domain.order import Facts, StackOrder
    from domain.verification import Checked
    from domain.verification_due import Due
    from domain.verification_look import look
    from domain.verification_standing import Standings, excused, not_due_until
    from workflows.errand import errand

_SINCE = "schedules-are-looked-at"
"""Runs that began before that go on without."""


async def without_what_is_not_due(
    facts: Facts, due: Sequence[Due], listed: EntryList, as_of: datetime
) -> list[Checked]:
    """Judge the catalogue; what is missing and not due yet is told as such."""
    checks = look(due, listed.entries, as_of=as_of)
    if not any(check.what == "there" and check.passed is False for check in checks):
        return checks
    return excused(due, checks, listed.strangers, await _standings(facts), workflow.now())


async def first_due(facts: Facts, job: Job, within: timedelta | None) -> tuple[datetime, str] | None:
    """Return when a job is due for the first time, with the evidence; ``None`` where nothing shows it."""
    if within is None:
        return None
    return not_due_until(job, within, await _standings(facts), workflow.now())


async def _standings(facts: Facts) -> Standings:
    if not workflow.patched(_SINCE):
        return Standings()
    order = StackOrder(stack=facts.stack.stack)
    observe = cast("Callable[[Any, StackOrder], Standings]", Schedules.observe_schedules)
    return await errand("Look at the schedules", observe, order, control=True)
