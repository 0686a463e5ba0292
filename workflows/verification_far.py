"""The far copies in a verification: listed, and one of them brought back and compared."""

from collections.abc import Sequence
from datetime import datetime

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.offsite_list import OffsiteListing
    from activities.verification_far import FarChecks
    from domain.entries import Entry
    from domain.jobs import Job
    from domain.offsite_look import ListFarOrder
    from domain.order import Facts
    from domain.verification import Checked, Looked
    from domain.verification_due import allowed_age
    from domain.verification_far import ProveFarOrder, far_pick, look_far
    from domain.verification_standing import not_yet
    from workflows.errand import errand
    from workflows.pace import Trouble
    from workflows.verification_due import first_due


async def far_copies(facts: Facts, entries: Sequence[Entry], seed: int, as_of: datetime) -> list[Checked]:
    """Return what the second place showed; nothing for a stack that has none."""
    if facts.stack.offsite is None:
        return []
    target, policy, site = facts.target, facts.stack.offsite, facts.stack.site
    order = ListFarOrder(target=target, policy=policy)
    try:
        listed = await errand("List the far copies", OffsiteListing.observe_offsite, order, site=site)
    except ActivityError as error:
        return [_check("far listed", passed=False, evidence=Trouble.of(error).sentence)]
    within = allowed_age(facts.stack, Job.OFFSITE)
    nothing = not listed.entries and not listed.strangers
    if nothing and (first := await first_due(facts, Job.OFFSITE, within)) is not None:
        return [not_yet(_check("far listed", passed=False, evidence=""), *first)]
    found = look_far(listed, entries, within=within, as_of=as_of)
    chosen = far_pick(listed, seed, as_of=as_of)
    if chosen is None:
        said = "there is no copy that could be fetched at once"
        return [*found, _check("far fetched", passed=None, evidence=said)]
    fetch = ProveFarOrder(target=target, policy=policy, entry_id=chosen.id)
    try:
        proven = await errand("Fetch one far copy", FarChecks.verify_far_copy, fetch, site=site)
    except ActivityError as error:
        said = f"{chosen.id}: {Trouble.of(error).sentence}"
        return [*found, _check("far fetched", passed=False, evidence=said)]
    return [*found, _check("far fetched", passed=proven.passed, evidence=proven.sentence)]


def _check(what: Looked, *, passed: bool | None, evidence: str) -> Checked:
    return Checked(what=what, passed=passed, evidence=evidence)
