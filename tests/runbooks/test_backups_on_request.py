"""Dumps, and what is asked of backups, as the Web UI and schedules start them."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from domain import names
from domain.backups import BackupOrder, ShelfOrder, VerifyBackupOrder
from domain.dumps import DumpKind, DumpOrder, EntryTargetOrder, Rebuilt, RestoreProven
from domain.entries import Entry, EntryList, EntryOrder, entry_of
from domain.errors import BackupUnusable, Refused
from domain.objects_copy import ObjectsBackupOrder, ObjectsProofOrder
from domain.order import Outcome, StackOrder, TargetOrder
from domain.store_backups import StoreBackupOrder, StoreBackups
from domain.verification_base import ProveBaseOrder
from domain.wal_archive import Archived
from tests.runbooks.conftest import BACKUP, Hands
from worker.liveness import Liveness
from workflows.backup import BaseBackup, Dump
from workflows.catalogue import ListBackups, RebuildCatalogue, ShowBackup, VerifyBackup
from workflows.objects_backup import ObjectsBackup
from workflows.redis_backup import RedisBackup
from workflows.wal_archive import ArchiveWal

STORES = [RedisBackup, ObjectsBackup]


WORKFLOWS = [BaseBackup, Dump, ArchiveWal, *STORES, ListBackups, ShowBackup, VerifyBackup, RebuildCatalogue]
NOW = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)


def entry(store: str, kind: str) -> Entry:
    name = f"20261122T020000Z-{kind}"
    return Entry(
        id=name,
        store=store,
        kind=kind,
        path=f"{store}/{kind}/{name}",
        started_at=NOW,
        ended_at=NOW,
        bytes=1,
        sha256="",
        sentence="taken",
    )


class Shop:
    """A worker for the workflows of backups, whose hands keep the orders that they are given."""

    def __init__(self, client: Client, state: Path) -> None:
        self.client = client
        self.hands = Hands(state, client)
        self.orders: dict[str, Any] = {}
        self.found = entry("postgres", "daily")
        self._keep("ensure_dump", DumpOrder, lambda _: self.found)
        self._keep("ensure_base_backup", BackupOrder, lambda _: BACKUP)
        self._keep(
            "ensure_wal_archived", StackOrder, lambda _: Archived(slot="dr_recv_1", received_lsn="0/3000060")
        )
        self._keep("ensure_protected", TargetOrder, lambda _: Outcome())
        self._keep("observe_entries", ShelfOrder, lambda _: EntryList(entries=(self.found,)))
        self._keep("observe_entry", EntryOrder, lambda _: self.found)
        self._keep("verify_files", EntryOrder, lambda _: self.found)
        self._keep("verify_dump", EntryTargetOrder, lambda _: self.found)
        self._keep("verify_backup", VerifyBackupOrder, lambda _: BACKUP)
        self._keep(
            "verify_restored", EntryTargetOrder, lambda _: RestoreProven(entry=self.found, passed=False)
        )
        for hand in ("verify_redis_restored",):
            self._keep(hand, EntryTargetOrder, lambda _: RestoreProven(entry=self.found, passed=False))
        self._keep("ensure_redis_backup", StoreBackupOrder, lambda _: StoreBackups(entries=(self.found,)))
        self._keep("verify_objects_copy", ObjectsProofOrder, lambda _: self.found)
        self._keep(
            "verify_objects_restored",
            ObjectsProofOrder,
            lambda _: RestoreProven(entry=self.found, passed=False),
        )
        self._keep("ensure_objects_backup", ObjectsBackupOrder, lambda _: StoreBackups(entries=(self.found,)))
        self._keep(
            "verify_base_restored", ProveBaseOrder, lambda _: RestoreProven(entry=self.found, passed=True)
        )
        self._keep("ensure_catalogue_rebuilt", TargetOrder, lambda _: Rebuilt(rebuilt=("a",)))

    def _keep(self, name: str, order: Any, answer: Callable[[Any], Outcome]) -> None:
        def kept(given: Any) -> Outcome:
            self.orders[name] = given
            return answer(given)

        self.hands.answers[name] = (order, kept)

    async def run(self, workflow: Any, *arguments: Any, workflow_id: str = "w") -> Any:
        """Run a workflow to its end; without arguments as ``{}`` in the Web UI would."""
        given: dict[str, Any] = {"arg": arguments[0]} if arguments else {"arg": {}}
        return await self.client.execute_workflow(
            workflow.run, id=workflow_id, task_queue=names.CONTROL_QUEUE, **given
        )


@pytest.fixture
async def shop(environment: WorkflowEnvironment, tmp_path: Path) -> AsyncIterator[Shop]:
    made = Shop(environment.client, tmp_path)
    hands = made.hands.activities()
    async with (
        Worker(environment.client, task_queue=names.CONTROL_QUEUE, workflows=WORKFLOWS),
        Worker(
            environment.client,
            task_queue=names.host_queue(),
            activities=hands,
            interceptors=[Liveness(0.5)],
        ),
    ):
        yield made


async def test_a_dump_asked_for_with_nothing_is_the_daily_one_of_the_default_stack(shop: Shop) -> None:
    made = await shop.run(Dump)
    assert made.sentence == "taken"
    order = shop.orders["ensure_dump"]
    assert (order.kind, order.reason, order.scheduled_for) == (DumpKind.DAILY, "", None)
    assert order.label


async def test_the_console_says_what_is_done_and_then_what_came_of_it(shop: Shop) -> None:
    async def details(workflow_id: str) -> str:
        handle = shop.client.get_workflow_handle(workflow_id)
        return str((await handle.query("__temporal_workflow_metadata")).current_details)

    await shop.run(Dump, workflow_id="one")
    assert await details("one") == "taken"

    def refused(_: Any) -> Outcome:
        raise Refused("no room", code="no-room")

    shop.hands.answer("ensure_dump", refused)
    with pytest.raises(WorkflowFailureError):
        await shop.run(Dump, workflow_id="two")
    assert await details("two") == "Dump the databases …"


async def test_two_runs_take_two_dumps_and_an_attempt_of_one_run_takes_one(shop: Shop) -> None:
    await shop.run(Dump, workflow_id="one")
    first = shop.orders["ensure_dump"].label
    await shop.run(Dump, workflow_id="two")
    assert shop.orders["ensure_dump"].label != first


async def test_a_schedule_says_for_when_it_wanted_a_backup(shop: Shop) -> None:
    asked = {"kind": "weekly", "reason": "by schedule", "scheduled_for": "2026-11-22T03:00:00Z"}
    await shop.run(Dump, asked, workflow_id="weekly")
    order = shop.orders["ensure_dump"]
    assert (order.kind, order.scheduled_for) == (DumpKind.WEEKLY, datetime(2026, 11, 22, 3, tzinfo=UTC))
    await shop.run(BaseBackup, {"scheduled_for": "2026-11-22T01:00:00Z"}, workflow_id="base")
    assert shop.orders["ensure_base_backup"].scheduled_for == datetime(2026, 11, 22, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("store", "kind", "hand"),
    [
        ("postgres", "daily", "verify_dump"),
        ("postgres", "weekly", "verify_dump"),
        ("postgres", "base", "verify_backup"),
        ("redis", "rdb", "verify_files"),
        ("minio", "copy", "verify_objects_copy"),
    ],
)
async def test_each_backup_is_verified_by_the_hand_that_knows_it(
    shop: Shop, store: str, kind: str, hand: str
) -> None:
    shop.found = entry(store, kind)
    proven = await shop.run(VerifyBackup)
    assert proven.passed
    asked = {name for name in shop.orders if name.startswith("verify_")}
    assert asked == {hand}
    given = shop.orders[hand]
    wanted = given.backup_id if kind == "base" else given.entry_id
    assert wanted == shop.found.id
    assert proven.entry.id == (entry_of(BACKUP).id if kind == "base" else shop.found.id)


@pytest.mark.parametrize(
    ("store", "kind", "hand"),
    [
        ("postgres", "daily", "verify_restored"),
        ("redis", "rdb", "verify_redis_restored"),
        ("redis", "aof", "verify_redis_restored"),
    ],
)
async def test_a_restore_that_showed_nothing_is_said_to_have_shown_nothing(
    shop: Shop, store: str, kind: str, hand: str
) -> None:
    shop.found = entry(store, kind)
    proven = await shop.run(VerifyBackup, {"backup_id": shop.found.id, "restore": True})
    assert not proven.passed
    assert {name for name in shop.orders if name.startswith("verify_")} == {hand}


@pytest.mark.parametrize(("workflow", "hand"), [(RedisBackup, "ensure_redis_backup")])
async def test_a_store_is_backed_up_when_asked_with_nothing_and_when_a_schedule_asks(
    shop: Shop, workflow: Any, hand: str
) -> None:
    made = await shop.run(workflow)
    assert made.entries == (shop.found,)
    first = shop.orders[hand]
    assert (first.reason, first.scheduled_for, bool(first.label)) == ("", None, True)
    asked = {"stack": "lab", "reason": "by schedule", "scheduled_for": "2026-11-22T03:10:00Z"}
    await shop.run(workflow, asked, workflow_id="again")
    second = shop.orders[hand]
    assert (second.reason, second.scheduled_for) == ("by schedule", datetime(2026, 11, 22, 3, 10, tzinfo=UTC))
    assert second.label != first.label


async def test_the_archive_is_seen_to_when_asked_with_nothing_and_when_a_schedule_asks(shop: Shop) -> None:
    assert (await shop.run(ArchiveWal, workflow_id="one")).received_lsn == "0/3000060"
    assert shop.orders["ensure_wal_archived"].stack == ""
    asked = {"stack": "lab", "reason": "by schedule", "scheduled_for": "2026-11-22T03:25:00Z"}
    await shop.run(ArchiveWal, asked, workflow_id="two")
    assert shop.orders["ensure_wal_archived"].stack == "lab"
    assert set(shop.hands.called) == {"ensure_wal_archived"}


async def test_objects_are_copied_as_the_policy_says_and_their_copy_is_restored_for_proof(shop: Shop) -> None:
    assert (await shop.run(ObjectsBackup, workflow_id="one")).entries == (shop.found,)
    first = shop.orders["ensure_objects_backup"]
    assert (first.keep_versions, first.second_store, first.scheduled_for) == (30, None, None)
    asked = {"reason": "by schedule", "scheduled_for": "2026-11-22T03:25:00Z"}
    await shop.run(ObjectsBackup, asked, workflow_id="two")
    second = shop.orders["ensure_objects_backup"]
    assert second.scheduled_for == datetime(2026, 11, 22, 3, 25, tzinfo=UTC)
    assert second.label != first.label
    shop.found = entry("minio", "copy")
    assert not (await shop.run(VerifyBackup, {"restore": True}, workflow_id="three")).passed
    assert shop.orders["verify_objects_restored"].entry_id == shop.found.id


async def test_a_base_backup_is_restored_by_its_own_hand_and_what_none_restores_is_refused(
    shop: Shop,
) -> None:
    shop.found = entry("postgres", "base")
    assert (await shop.run(VerifyBackup, {"restore": True}, workflow_id="base")).passed
    assert shop.orders["verify_base_restored"].entry_id == shop.found.id
    shop.found = entry("postgres", "nothing-knows-it")
    with pytest.raises(WorkflowFailureError) as refused:
        await shop.run(VerifyBackup, {"restore": True}, workflow_id="none")
    cause = refused.value.cause
    assert isinstance(cause, ApplicationError)
    assert list(cause.details) == ["proof-unknown"]


async def test_a_damaged_backup_fails_its_verification_at_once(shop: Shop) -> None:
    damaged = BackupUnusable("backup x: chat.dump is missing", code="backup-damaged")
    shop.hands.fail("verify_dump", damaged)
    with pytest.raises(WorkflowFailureError) as failed:
        await shop.run(VerifyBackup)
    cause = failed.value.cause.__cause__
    assert isinstance(cause, ApplicationError)
    assert cause.type == "BackupUnusable"
    assert shop.hands.called.count("verify_dump") == 1


async def test_the_catalogue_is_listed_shown_and_rebuilt(shop: Shop) -> None:
    assert (await shop.run(ListBackups)).entries == (shop.found,)
    assert await shop.run(ShowBackup, {"backup_id": shop.found.id}) == shop.found
    assert shop.orders["observe_entry"].whole
    assert (await shop.run(RebuildCatalogue)).rebuilt == ("a",)
