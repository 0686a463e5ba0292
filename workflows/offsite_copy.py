"""Copies off this site: taken, listed, and brought back to a shelf that is lost."""

from datetime import datetime

from pydantic import AwareDatetime, Field
from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.offsite import OffsiteCopies
    from activities.offsite_fetch import OffsiteFetching
    from activities.offsite_list import OffsiteListing
    from activities.offsite_ready import OffsiteReadiness
    from domain.offsite import OffsitePolicy
    from domain.offsite_copies import CopiedOffsite, CopyOrder, Fetched, FetchOrder, OffsiteOrder
    from domain.offsite_look import ListFarOrder, OffsiteList
    from domain.order import Facts
    from workflows.backup import BackupRequest, load
    from workflows.errand import errand


class OffsiteRequest(BackupRequest):
    """Which stack's backups; ``{}`` is the worker's default one."""

    scheduled_for: AwareDatetime | None = None


class FetchRequest(BackupRequest):
    """Which entry to bring back; an empty id is the newest base backup, with its WAL."""

    entry_id: str = Field(default="", max_length=100, pattern=r"^([A-Za-z0-9][A-Za-z0-9_.-]*)?$")
    wal: bool = True


@workflow.defn(name="OffsiteCopy")
class OffsiteCopy:
    """Copy everything that is finished on a stack's shelf to its second place."""

    @workflow.run
    async def run(self, request: OffsiteRequest = OffsiteRequest()) -> CopiedOffsite:  # noqa: B008 - frozen
        """Bring the bucket in line, then copy what is not there yet; nothing is ever removed there."""
        facts = await load(request)
        target, policy = facts.target, _policy(facts)
        order = OffsiteOrder(target=target, policy=policy)
        await errand("Make the far bucket ready", OffsiteReadiness.ensure_offsite_ready, order)
        due: datetime | None = request.scheduled_for
        copy = CopyOrder(target=target, policy=policy, reason=request.reason, scheduled_for=due)
        return await errand("Copy the backups off-site", OffsiteCopies.ensure_copied_offsite, copy)


@workflow.defn(name="ListOffsite")
class ListOffsite:
    """List what is off-site of a stack."""

    @workflow.run
    async def run(self, request: OffsiteRequest = OffsiteRequest()) -> OffsiteList:  # noqa: B008 - frozen
        """Look only."""
        facts = await load(request)
        order = ListFarOrder(target=facts.target, policy=_policy(facts), unlisted=True)
        return await errand("List the far copies", OffsiteListing.observe_offsite, order)


@workflow.defn(name="FetchOffsite")
class FetchOffsite:
    """Bring a backup back to the shelf."""

    @workflow.run
    async def run(self, request: FetchRequest = FetchRequest()) -> Fetched:  # noqa: B008 - frozen
        """Fetch and prove it; what is on the shelf already stays as it is."""
        facts = await load(request)
        order = FetchOrder(
            target=facts.target, policy=_policy(facts), entry_id=request.entry_id, wal=request.wal
        )
        return await errand("Fetch the copy", OffsiteFetching.ensure_fetched, order)


def _policy(facts: Facts) -> OffsitePolicy:
    if facts.stack.offsite is None:
        raise ApplicationError(
            f"the stack file of {facts.stack.stack} names no off-site store (docs/offsite.md)",
            "offsite-not-configured",
            type="Refused",
            non_retryable=True,
        )
    return facts.stack.offsite
