"""The first days of a stack: what was not due yet is listed so by the word of its schedule alone."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.testing import WorkflowEnvironment

from domain.backups import PassedOver, ShelfOrder
from domain.entries import EntryList
from domain.jobs import Job
from domain.offsite_look import ListFarOrder, OffsiteList
from tests.runbooks.verification_stage import HOUR, OFFSITE, Night, night_on
from worker.verification_store import last_verification

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def night(environment: WorkflowEnvironment, tmp_path: Path) -> AsyncIterator[Night]:
    async with night_on(environment, tmp_path) as made:
        yield made


async def test_what_was_not_due_yet_since_its_schedule_was_made_is_listed_and_fails_nothing(
    night: Night,
) -> None:
    night.without("weekly")
    night.made_lately(Job.POSTGRES_WEEKLY)
    report = await night.run()
    assert report.passed, report.rule
    assert report.rule.startswith("2 of 3 kinds of backups are there and fresh; 4 were restored")
    assert f"postgres weekly: there, not due until {night.now + 2 * HOUR:%Y-%m-%d %H:%MZ}" in report.rule
    (waiting,) = [check for check in report.checks if check.not_due_until is not None]
    assert (waiting.kind, waiting.passed) == ("weekly", None)
    assert last_verification(night.state, "lab") == report


@pytest.mark.parametrize("kinds", [("weekly",), ("base", "daily", "weekly")])
async def test_without_a_word_of_the_server_what_is_missing_is_missing(
    night: Night, kinds: tuple[str, ...]
) -> None:
    night.without(*kinds)
    report = await night.run()
    assert report.outcome == "failed"
    assert "the policy wants it, and the shelf holds none" in report.rule


async def test_a_first_day_on_which_no_backup_was_due_has_proven_nothing(night: Night) -> None:
    night.entries = []
    night.made_lately(Job.POSTGRES_BASE, Job.POSTGRES_DAILY, Job.POSTGRES_WEEKLY)
    report = await night.run()
    assert report.outcome == "failed"
    assert report.rule.startswith("no backup was restored; postgres base: there, not due until")


async def test_a_backup_that_was_there_and_is_broken_is_not_called_not_due(night: Night) -> None:
    night.without("weekly")
    night.made_lately(Job.POSTGRES_WEEKLY)
    broken = PassedOver(id="20261122T030000Z-weekly", reason="its entry dr.json is missing")
    night.hands.answers["observe_entries"] = (
        ShelfOrder,
        lambda _: EntryList(entries=tuple(night.entries), strangers=(broken,)),
    )
    report = await night.run()
    assert report.rule.startswith("postgres weekly: there: the policy wants it")


async def test_far_copies_that_are_not_due_yet_are_listed_so_and_missing_ones_are_not(night: Night) -> None:
    night.stack = night.with_policy(offsite=OFFSITE)
    night.hands.answers["observe_offsite"] = (ListFarOrder, lambda _: OffsiteList())
    report = await night.run()
    assert report.rule == "far listed: off-site there is no whole copy"
    night.made_lately(Job.OFFSITE)
    report = await night.run()
    assert report.passed, report.rule
    assert "; far listed, not due until" in report.rule
