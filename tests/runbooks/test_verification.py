"""BackupVerification on a real Temporal server, with hands that only answer."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

from domain.backup_policy import BackupPolicy
from domain.dumps import RestoreProven
from domain.entries import KINDS
from domain.errors import BackupUnusable, DrError, Refused, Unavailable
from domain.notify import Occasion
from domain.offsite_look import OffsiteList
from domain.order import TargetOrder
from domain.recovery import Judged
from domain.stack import Kind, Service
from domain.verification_base import ProveBaseOrder
from tests.domain.test_verification import entry
from tests.faults.record import Seen
from tests.runbooks.verification_stage import OFFSITE, QUIET, Night, night_on
from worker.verification_store import last_verification
from workflows.verification_restores import RESTORED_BY

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def night(environment: WorkflowEnvironment, tmp_path: Path) -> AsyncIterator[Night]:
    async with night_on(environment, tmp_path) as made:
        yield made


async def test_started_with_nothing_it_restores_some_of_everything_and_tells_people(night: Night) -> None:
    report = await night.run()
    assert report.passed, report.rule
    assert len(report.restored) == 5
    assert [c.why for c in report.checks if c.what == "restored"].count("the latest") == 3
    assert set(night.asked) == set(report.restored)
    assert night.orders["ProveBaseOrder"].checks == night.stack.checks
    (told,) = night.told
    assert (told.occasion, told.stack) == (Occasion.PASSED, "lab")
    kept = last_verification(night.state, "lab")
    assert kept == report


async def test_the_entry_by_chance_follows_from_the_seed_that_is_in_the_report(night: Night) -> None:
    report = await night.run()
    (chance,) = (c.entry_id for c in report.checks if c.why == "by chance")
    latest = {c.entry_id for c in report.checks if c.why == "the latest"}
    rest = [one.id for one in night.entries if one.id not in latest]
    assert chance == rest[report.seed % len(rest)]


@pytest.mark.fault("C4")
async def test_a_dump_that_is_too_old_fails_it_and_people_hear_of_it(night: Night, seen: Seen) -> None:
    """F-C4: the daily dumps stopped two days ago."""
    at = night.now.replace(microsecond=0) - timedelta(days=2)
    night.entries = [one for one in night.entries if one.kind != "daily"] + [entry("postgres", "daily", at)]
    report = await night.run()
    assert report.outcome == "failed"
    assert "fresh: 48 h" in report.rule
    assert night.told[0].occasion is Occasion.FAILED
    assert "fresh: 48 h" in night.told[0].sentence
    seen(report.rule)


@pytest.mark.fault("C5")
async def test_a_dump_of_no_bytes_fails_it(night: Night, seen: Seen) -> None:
    """F-C5: the newest dump is empty."""
    night.entries = [
        one.model_copy(update={"bytes": 0}) if n == 2 else one for n, one in enumerate(night.entries)
    ]
    report = await night.run()
    assert report.outcome == "failed"
    assert "it is empty" in report.rule
    seen(report.rule)


@pytest.mark.parametrize(
    "error",
    [
        BackupUnusable("chat.dump is missing", code="backup-damaged"),
        Unavailable("Docker does not answer", code="docker-away"),
        Refused("no room to restore it", code="no-room"),
    ],
)
async def test_whatever_keeps_a_backup_from_being_restored_is_a_failure_and_the_others_are_restored(
    night: Night, error: DrError
) -> None:
    night.fail("verify_base_restored", error)
    report = await night.run()
    assert report.outcome == "failed"
    assert error.what in report.rule
    assert len(report.restored) >= 2


async def test_a_restore_that_showed_nothing_has_verified_nothing(night: Night) -> None:
    order, _ = night.hands.answers["verify_restored"]
    night.hands.answers["verify_restored"] = (
        order,
        lambda o: RestoreProven(entry=night.named(o.entry_id), passed=True, sentence="fine"),
    )
    report = await night.run()
    assert report.outcome == "failed"
    assert report.rule.startswith("not verified: postgres")


def test_every_kind_of_backup_has_a_hand_that_restores_it() -> None:
    assert set(RESTORED_BY) == {(store, kind) for store, kinds in KINDS.items() for kind in kinds}


async def test_a_store_of_the_policy_without_a_backup_fails_it(night: Night) -> None:
    night.stack = night.with_policy(Kind.REDIS)
    report = await night.run()
    assert report.rule.startswith("redis rdb: there: the policy wants it, and the shelf holds none")


async def test_a_gap_in_the_archived_wal_fails_it_however_well_all_backups_restore(night: Night) -> None:
    gap = "its WAL is not whole: 000000010000000000000007 missing or unusable"
    night.hands.answers["verify_archive"] = (TargetOrder, lambda _: Judged(passed=False, sentence=gap))
    report = await night.run()
    assert (report.outcome, len(report.restored)) == ("failed", 5)
    assert report.rule == f"postgres wal: archived: {gap}"


async def test_an_archive_that_cannot_be_read_is_a_failure_and_the_backups_are_restored(night: Night) -> None:
    night.fail("verify_archive", Refused("the shelf cannot be read", code="shelf-unusable"))
    report = await night.run()
    assert report.rule.startswith("postgres wal: archived: the shelf cannot be read")
    assert len(report.restored) == 5


async def test_a_stack_with_two_stores_of_a_kind_does_not_pass_while_one_has_no_backup(night: Night) -> None:
    more = {"queue": Service(kind=Kind.REDIS), "cache": Service(kind=Kind.REDIS)}
    services = {**night.stack.services, **more}
    policy = BackupPolicy.model_validate({"schedules": {**QUIET, "redis": {}}})
    night.stack = night.stack.model_copy(update={"services": services, "backup": policy})
    night.entries.append(entry("redis", "rdb", night.now - timedelta(minutes=5)))
    report = await night.run()
    assert report.rule.startswith("redis cache: there: nothing backs up the service cache")


async def test_a_stack_that_cannot_be_looked_at_is_a_failure_and_not_silence(night: Night) -> None:
    night.fail("observe_stack", Refused("no container is service postgres", code="service-missing"))
    report = await night.run(stack="lab")
    assert (report.outcome, report.stack) == ("failed", "lab")
    assert "no container is service postgres" in night.told[0].sentence
    assert last_verification(night.state, "lab") == report


@pytest.mark.fault("G2")
async def test_it_stands_down_while_a_recovery_is_open_and_says_so(night: Night, seen: Seen) -> None:
    """F-G2: a recovery is open when the verification is due."""
    night.opened = "DatabaseCorruption is open as recovery/lab"
    report = await night.run()
    assert (report.outcome, report.passed) == ("stood_down", False)
    assert night.asked == []
    assert night.told == []
    seen(report.rule)
    assert last_verification(night.state, "lab") is None, "that verified nothing"


async def test_a_verification_that_failed_fails_its_scheduled_run_with_the_sentence_that_decided(
    night: Night,
) -> None:
    handle = await night.run_by_schedule()
    assert (await handle.describe()).status is WorkflowExecutionStatus.COMPLETED
    assert (await handle.result())["did"] == "done"
    night.fail("verify_base_restored", Refused("no room to restore it", code="no-room"))
    handle = await night.run_by_schedule()
    assert (await handle.describe()).status is WorkflowExecutionStatus.FAILED
    with pytest.raises(WorkflowFailureError) as failed:
        await handle.result()
    assert isinstance(failed.value.cause, ApplicationError)
    assert "no room to restore it" in failed.value.cause.message
    # What it found is kept and told all the same.
    last = last_verification(night.state, "lab")
    assert last is not None
    assert last.outcome == "failed"
    assert night.told[-1].occasion is Occasion.FAILED


async def test_a_verification_that_stood_down_is_a_scheduled_run_that_did(night: Night) -> None:
    night.opened = "DatabaseCorruption is open as recovery/lab"
    handle = await night.run_by_schedule()
    assert (await handle.result())["did"] == "stood_down"


@pytest.mark.fault("G2")
async def test_a_recovery_that_begins_meanwhile_ends_it_before_the_next_restore(
    night: Night, seen: Seen
) -> None:
    """F-G2: a recovery begins while the first backup is restored."""

    def restored(order: Any) -> RestoreProven:
        night.opened = "DatabaseCorruption is open as recovery/lab"
        return night.restored(order)

    night.hands.answers["verify_base_restored"] = (ProveBaseOrder, restored)
    report = await night.run()
    assert report.outcome == "failed"
    assert "a recovery began: DatabaseCorruption is open" in report.rule
    assert len(night.asked) == 1
    seen(report.rule)


async def test_a_far_base_backup_whose_wal_does_not_follow_it_fails_it(night: Night) -> None:
    night.stack = night.with_policy(offsite=OFFSITE)
    order, _ = night.hands.answers["observe_offsite"]

    def torn(_: object) -> OffsiteList:
        return OffsiteList(
            entries=tuple(
                one.model_copy(update={"follows": False, "wal": "000000010000000000000005 missing"})
                for one in night.far().entries
            )
        )

    night.hands.answers["observe_offsite"] = (order, torn)
    report = await night.run()
    assert report.outcome == "failed"
    assert "its WAL there does not follow it: 000000010000000000000005 missing" in report.rule


async def test_the_far_copies_are_listed_and_one_is_fetched(night: Night) -> None:
    night.stack = night.with_policy(offsite=OFFSITE)
    report = await night.run()
    assert report.passed, report.rule
    assert night.orders["ProveFarOrder"].entry_id in {one.id for one in night.entries}
    assert night.orders["ProveFarOrder"].wal is False


@pytest.mark.fault("C11")
async def test_a_key_that_is_gone_is_found_by_the_verification(night: Night, seen: Seen) -> None:
    """F-C11: the key of the far copies is missing."""
    night.stack = night.with_policy(offsite=OFFSITE)
    night.fail("verify_far_copy", Refused("the key 3f is not here", code="backup-key-missing"))
    report = await night.run()
    assert report.outcome == "failed"
    assert "the key 3f is not here" in report.rule
    seen(report.rule)


async def test_a_far_store_that_does_not_answer_fails_it(night: Night) -> None:
    night.stack = night.with_policy(offsite=OFFSITE)
    night.fail("observe_offsite", Refused("the bucket is not there", code="offsite-missing"))
    report = await night.run()
    assert report.rule == "far listed: the bucket is not there [offsite-missing]"


@pytest.mark.fault("F10")
async def test_people_who_were_not_reached_are_named_in_the_report_and_fail_nothing(
    night: Night, seen: Seen
) -> None:
    """F-F10: one of the channels is down."""
    night.deaf = True
    report = await night.run()
    assert report.passed
    assert report.not_told.startswith("not told by pager (no answer); told by mail")
    seen(report.not_told)
