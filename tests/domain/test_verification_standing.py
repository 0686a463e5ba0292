"""What is not due yet: shown by the schedule, and by nothing less."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from pydantic import ValidationError

from domain.backups import PassedOver
from domain.entries import Source
from domain.jobs import Job
from domain.stack import Kind
from domain.verification import Checked, judged
from domain.verification_due import Due, due_of
from domain.verification_look import look, picked
from domain.verification_standing import Standing, Standings, excused, not_due_until
from tests.domain.test_verification import NOW, entry, followed, only_postgres, shelf, shown, stack

HOUR = timedelta(hours=1)
WEEK = timedelta(days=7)
SAID: dict[str, Any] = {
    "job": Job.POSTGRES_WEEKLY,
    "paused": False,
    "created_at": NOW - HOUR,
    "next_at": NOW + 5 * HOUR,
    "times": 0,
}


def standings(**other: Any) -> Standings:
    return Standings(standings=(Standing.model_validate(SAID | other),))


def without_weekly(known: Standings, *strangers: PassedOver) -> tuple[tuple[Due, ...], list[Checked]]:
    due, entries = only_postgres(), [one for one in shelf() if one.kind != "weekly"]
    checks = excused(due, look(due, entries, as_of=NOW), strangers, known, NOW)
    return due, [*checks, followed(), *(shown(pick) for pick in picked(due, entries, 7))]


def test_a_kind_whose_first_time_has_not_come_is_neither_passed_nor_failed() -> None:
    passed, rule = judged(*without_weekly(standings()))
    assert passed
    assert rule == (
        "2 of 3 kinds of backups are there and fresh; 4 were restored; postgres weekly: there,"
        " not due until 2026-11-22 11:00Z: its schedule was made 1 h 0 min ago"
    )


@pytest.mark.parametrize(
    "other",
    [
        {"job": Job.POSTGRES_DAILY},
        {"paused": True},
        {"times": 1},
        {"next_at": None},
        {"next_at": NOW},
        {"next_at": NOW - HOUR},
        {"created_at": NOW + HOUR},
        {"created_at": NOW - WEEK, "next_at": NOW + WEEK},
    ],
    ids=["another", "paused", "was due", "no next", "now", "past", "ahead", "one was left out"],
)
def test_anything_less_than_the_word_of_its_schedule_leaves_it_missing(other: dict[str, Any]) -> None:
    passed, rule = judged(*without_weekly(standings(**other)))
    assert not passed
    assert rule.startswith("postgres weekly: there: the policy wants it")


def test_the_mere_absence_of_schedules_excuses_nothing_nor_do_two_of_one_job() -> None:
    assert not judged(*without_weekly(Standings()))[0]
    twice = Standings(standings=standings().standings * 2)
    assert not judged(*without_weekly(twice))[0]


@pytest.mark.parametrize(
    "name", ["20261122T030000Z-weekly", ".20261122T030000Z-weekly.partial", "postgres/weekly"]
)
def test_what_lies_there_and_is_no_backup_was_made_once(name: str) -> None:
    assert not judged(*without_weekly(standings(), PassedOver(id=name, reason="broken")))[0]
    assert judged(*without_weekly(standings(), PassedOver(id="20261122T030000Z-daily", reason="broken")))[0]


def test_all_kinds_of_a_job_wait_together() -> None:
    due = due_of(stack(Kind.REDIS, stack=None))
    known = standings(job=Job.REDIS, next_at=NOW + HOUR / 2)
    checks = excused(due, look(due, shelf(), as_of=NOW), (), known, NOW)
    passed, rule = judged(due, [*checks, followed(), *(shown(pick) for pick in picked(due, shelf(), 7))])
    assert passed, rule
    assert rule.startswith("3 of 5 kinds")
    assert {check.kind for check in checks if check.not_due_until} == {"rdb", "aof"}


def test_an_optional_kind_that_its_job_could_not_make_is_not_waited_for() -> None:
    due = due_of(stack(Kind.REDIS, stack=None))
    known = standings(job=Job.REDIS, next_at=NOW + HOUR / 2)
    source = Source(also=("aof",))
    held = [*shelf(), entry("redis", "rdb", NOW - HOUR / 2, source=source)]
    checks = excused(due, look(due, held, as_of=NOW), (), known, NOW)
    passed, rule = judged(due, [*checks, followed(), *(shown(pick) for pick in picked(due, held, 7))])
    assert not passed
    assert rule.startswith("redis aof: there: the policy wants it")


def test_nothing_restored_is_a_failure_however_much_is_not_due() -> None:
    due = only_postgres()
    known = Standings(
        standings=tuple(
            Standing.model_validate(SAID | {"job": job})
            for job in (Job.POSTGRES_BASE, Job.POSTGRES_DAILY, Job.POSTGRES_WEEKLY)
        )
    )
    passed, rule = judged(due, excused(due, look(due, [], as_of=NOW), (), known, NOW))
    assert not passed
    assert rule.startswith("no backup was restored; postgres base: there, not due until")


def test_one_that_is_there_and_wrong_is_not_excused() -> None:
    due = only_postgres()
    empty = [*(one for one in shelf() if one.kind != "weekly"), entry("postgres", "weekly", NOW, bytes=0)]
    checks = excused(due, look(due, empty, as_of=NOW), (), standings(), NOW)
    assert not [check for check in checks if check.not_due_until]


def test_what_was_shown_cannot_be_called_not_due() -> None:
    for wrong in ({"passed": True}, {"passed": False}, {"passed": None, "entry_id": "x"}):
        with pytest.raises(ValidationError, match="not due yet is not there"):
            Checked.model_validate({"what": "there", "evidence": "", "not_due_until": NOW, **wrong})


TIMES = some.integers(min_value=-400, max_value=400).map(lambda hours: NOW + timedelta(hours=hours))


@settings(deadline=None)
@given(
    created=TIMES,
    coming=some.none() | TIMES,
    times=some.integers(min_value=0, max_value=3),
    paused=some.booleans(),
)
def test_whatever_a_schedule_says_the_first_time_is_ahead_and_no_later_than_the_policy_allows(
    created: Any,
    coming: Any,
    times: int,
    paused: bool,  # noqa: FBT001 - drawn
) -> None:
    within = timedelta(days=7, hours=6)
    known = standings(created_at=created, next_at=coming, times=times, paused=paused)
    found = not_due_until(Job.POSTGRES_WEEKLY, within, known, NOW)
    if found is not None:
        assert not times
        assert not paused
        assert created <= NOW < found[0] <= created + within
