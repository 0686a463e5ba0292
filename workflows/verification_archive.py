"""The archived WAL in a verification: without it a base backup leads to its own end alone."""

from collections.abc import Sequence

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.postgres.archive_check import ArchiveChecks
    from domain.entries import Entry
    from domain.order import Facts, TargetOrder
    from domain.verification import ARCHIVED_FOR, Checked
    from workflows.errand import errand
    from workflows.pace import Trouble


async def archived_wal(facts: Facts, entries: Sequence[Entry]) -> list[Checked]:
    """Return whether the WAL goes on from the newest base backup; nothing while there is no base backup."""
    if not any((entry.store, entry.kind) == ARCHIVED_FOR for entry in entries):
        return []
    order = TargetOrder(target=facts.target)
    try:
        found = await errand(
            "Follow the archived WAL", ArchiveChecks.verify_archive, order, site=facts.stack.site
        )
    except ActivityError as error:
        return [_check(passed=False, evidence=Trouble.of(error).sentence)]
    checked = _check(passed=found.passed, evidence=found.sentence)
    return [checked.model_copy(update={"proofs": found.proofs})]


def _check(*, passed: bool, evidence: str) -> Checked:
    return Checked(what="archived", store="postgres", kind="wal", passed=passed, evidence=evidence)
