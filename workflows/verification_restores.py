"""Which hand restores which kind of backup into a place of its own, and what its failure means."""

from datetime import timedelta
from typing import cast

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.configuration_proof import ConfigurationProofs
    from activities.metadata_proof import MetadataProofs
    from activities.objects_proof import ObjectsProof
    from activities.postgres.restore_base import BaseChecks
    from activities.postgres.restore_dump import DumpChecks
    from activities.redis_proof import RedisProof
    from activities.search_proof import SearchProofs
    from domain import names
    from domain.dumps import EntryTargetOrder, RestoreProven
    from domain.entries import BASE, Entry
    from domain.objects_copy import STORE as OBJECTS
    from domain.objects_copy import ObjectsProofOrder
    from domain.order import Facts
    from domain.verification import Checked, Pick, of_restore
    from domain.verification_base import ProveBaseOrder
    from workflows.pace import HEARTBEAT, NOT_RETRIED, SCHEDULE_TO_START, START_TO_CLOSE, Trouble

RESTORED_BY: dict[tuple[str, str], str] = {
    ("postgres", BASE): BaseChecks.verify_base_restored.__name__,
    ("postgres", "daily"): DumpChecks.verify_restored.__name__,
    ("postgres", "weekly"): DumpChecks.verify_restored.__name__,
    ("redis", "rdb"): RedisProof.verify_redis_restored.__name__,
    ("redis", "aof"): RedisProof.verify_redis_restored.__name__,
    ("meilisearch", "snapshot"): SearchProofs.verify_search_restored.__name__,
    ("meilisearch", "dump"): SearchProofs.verify_search_restored.__name__,
    ("hasura", "metadata"): MetadataProofs.verify_metadata_restored.__name__,
    ("stack", "configuration"): ConfigurationProofs.verify_configuration_restored.__name__,
    ("minio", "copy"): ObjectsProof.verify_objects_restored.__name__,
}
"""Store and kind to the activity that takes an ``EntryTargetOrder`` and returns ``RestoreProven``."""
_RETRIES = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    maximum_interval=timedelta(seconds=15),
    maximum_attempts=4,
    non_retryable_error_types=NOT_RETRIED,
)


async def restored(facts: Facts, pick: Pick) -> Checked:
    """Have an entry restored and compared; what goes wrong is what was found, never an error."""
    try:
        return of_restore(pick, await prove(facts, pick.entry))
    except ActivityError as error:
        return checked(pick, passed=False, evidence=Trouble.of(error).sentence)
    except ApplicationError as error:
        return checked(pick, passed=False, evidence=error.message)


async def prove(facts: Facts, entry: Entry) -> RestoreProven:
    """Restore one entry into a place of its own and compare it.

    Raises ``ActivityError``, and ``ApplicationError`` (``Refused``) for a kind that nothing restores yet.
    """
    if (entry.store, entry.kind) not in RESTORED_BY:
        raise ApplicationError(
            f"nothing restores {entry.store} {entry.kind} into a place of its own yet",
            "proof-unknown",
            type="Refused",
            non_retryable=True,
        )
    name = RESTORED_BY[entry.store, entry.kind]
    given = _order(facts, entry).model_copy(
        update={"recovery_id": workflow.info().workflow_id.replace("/", "-"), "step_id": name}
    )
    found = await workflow.execute_activity(
        name,
        given,
        result_type=RestoreProven,
        activity_id=f"{name}:{entry.id}",
        summary=f"Restore {entry.store} {entry.id} and compare",
        task_queue=names.host_queue(facts.stack.site),
        start_to_close_timeout=START_TO_CLOSE,
        schedule_to_start_timeout=SCHEDULE_TO_START,
        heartbeat_timeout=HEARTBEAT,
        retry_policy=_RETRIES,
    )
    return cast("RestoreProven", found)


def _order(facts: Facts, entry: Entry) -> EntryTargetOrder | ObjectsProofOrder:
    if entry.kind == BASE:
        return ProveBaseOrder(target=facts.target, entry_id=entry.id, checks=facts.stack.checks)
    if entry.store == OBJECTS:
        second = facts.stack.backup.second_store
        return ObjectsProofOrder(target=facts.target, entry_id=entry.id, second_store=second)
    return EntryTargetOrder(target=facts.target, entry_id=entry.id)


def checked(pick: Pick, *, passed: bool | None, evidence: str) -> Checked:
    """Return what became of a restore that showed nothing."""
    entry = pick.entry
    return Checked(
        what="restored",
        store=entry.store,
        kind=entry.kind,
        entry_id=entry.id,
        passed=passed,
        evidence=evidence,
        why=pick.why,
    )
