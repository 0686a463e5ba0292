"""Backups of search, metadata and configuration, as the Web UI and schedules start them."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from domain import names
from domain.configuration import Extracted, ExtractOrder
from domain.dumps import EntryTargetOrder, RestoreProven
from domain.store_backups import StoreBackupOrder, StoreBackups
from tests.runbooks.test_backups_on_request import Shop, entry
from worker.liveness import Liveness
from workflows.catalogue import VerifyBackup
from workflows.configuration_backup import ConfigurationBackup, ExtractConfiguration
from workflows.metadata_backup import MetadataBackup
from workflows.search_backup import SearchBackup

WORKFLOWS = [SearchBackup, MetadataBackup, ConfigurationBackup, ExtractConfiguration, VerifyBackup]
TAKERS = {
    SearchBackup: "ensure_search_backup",
    MetadataBackup: "ensure_metadata_backup",
    ConfigurationBackup: "ensure_configuration_backup",
}
PROVERS = {
    ("meilisearch", "snapshot"): "verify_search_restored",
    ("meilisearch", "dump"): "verify_search_restored",
    ("hasura", "metadata"): "verify_metadata_restored",
    ("stack", "configuration"): "verify_configuration_restored",
}


@pytest.fixture
async def stores(environment: WorkflowEnvironment, tmp_path: Path) -> AsyncIterator[Shop]:
    made = Shop(environment.client, tmp_path)
    for hand in TAKERS.values():
        made._keep(hand, StoreBackupOrder, lambda _: StoreBackups(sentence="taken"))
    for hand in set(PROVERS.values()):
        made._keep(hand, EntryTargetOrder, lambda _: RestoreProven(entry=made.found, passed=True))
    made._keep(
        "ensure_configuration_extracted",
        ExtractOrder,
        lambda given: Extracted(directory=given.to, files=1),
    )
    async with (
        Worker(environment.client, task_queue=names.CONTROL_QUEUE, workflows=WORKFLOWS),
        Worker(
            environment.client,
            task_queue=names.host_queue(),
            activities=made.hands.activities(),
            interceptors=[Liveness(0.5)],
        ),
    ):
        yield made


@pytest.mark.parametrize("workflow", TAKERS, ids=lambda one: one.__name__)
async def test_nothing_but_braces_is_needed_and_each_run_takes_its_own(stores: Shop, workflow: Any) -> None:
    for number in ("one", "two"):
        made = await stores.run(workflow, workflow_id=number)
        assert made.sentence == "taken"
    first = stores.orders[TAKERS[workflow]].label
    await stores.run(
        workflow, {"reason": "by schedule", "scheduled_for": "2026-11-22T04:20:00Z"}, workflow_id="three"
    )
    order = stores.orders[TAKERS[workflow]]
    assert order.label != first
    assert (order.reason, order.scheduled_for.hour) == ("by schedule", 4)


@pytest.mark.parametrize(("place", "hand"), PROVERS.items(), ids=str)
async def test_each_kind_is_restored_by_the_hand_that_knows_it(
    stores: Shop, place: tuple[str, str], hand: str
) -> None:
    stores.found = entry(*place)
    proven = await stores.run(VerifyBackup, {"backup_id": stores.found.id, "restore": True})
    assert proven.passed
    assert {name for name in stores.orders if name.startswith("verify_")} == {hand}


async def test_a_configuration_is_opened_where_it_was_asked_for(stores: Shop) -> None:
    found = await stores.run(ExtractConfiguration, {"to": "/root/opened"})
    assert found.directory == "/root/opened"
    assert stores.orders["ensure_configuration_extracted"].entry_id == ""
