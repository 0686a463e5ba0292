"""What the doctor says of schedules and of the verification of backups."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.jobs import Job
from domain.verification import VerificationReport
from starter.agenda import Line
from starter.schedule_health import schedule_proofs, verification_proof
from starter.timetable import RUNS
from tests.domain.test_verification import stack
from tests.faults.record import Seen

NOW = datetime(2026, 11, 22, 6, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def line(job: Job = Job.POSTGRES_DAILY, **other: Any) -> Line:
    values: dict[str, Any] = {
        "id": f"lab/{job}",
        "job": job,
        "state": "running",
        "note": RUNS,
        "last": NOW - 4 * HOUR,
        "since": NOW - 100 * HOUR,
    }
    return Line.model_validate(values | other)


def said_of(*lines: Line) -> dict[str, bool | None]:
    return {proof.name: proof.passed for proof in schedule_proofs(lines, stack(), NOW)}


def test_schedules_as_the_file_says_are_one_green_line() -> None:
    assert said_of(line(), line(Job.RETENTION)) == {"schedules": True}
    assert said_of(line(last=None, since=NOW - HOUR)) == {"schedules": True}, "it was made just now"
    assert said_of() == {"schedules": False}


@pytest.mark.parametrize(
    "wrong",
    [
        {"state": "missing"},
        {"drift": ["calendar: 0 3 * * * instead of 0 2 * * *"]},
        {"state": "unknown", "drift": ["the stack file has no such job"]},
        {"state": "paused", "note": ""},
        {"state": "paused"},
        {"state": "paused", "note": "resumed by somebody: done"},
    ],
)
def test_a_schedule_that_is_not_as_it_should_be_is_red(wrong: dict[str, Any]) -> None:
    assert said_of(line(**wrong), line(Job.RETENTION)) == {
        "schedule postgres-daily": False,
        "schedules": False,
    }


@pytest.mark.parametrize(
    "note", ["held by somebody: the disk is replaced", "paused by dr: nothing does this job yet"]
)
def test_a_pause_with_a_reason_is_a_decision(note: str) -> None:
    (proof,) = schedule_proofs([line(state="paused", note=note)], stack(), NOW)
    assert proof.passed
    assert note in proof.evidence


@pytest.mark.fault("C4")
def test_a_schedule_that_has_not_run_for_longer_than_it_may_is_red(seen: Seen) -> None:
    """F-C4: the schedule is there and runs no more, or never did."""
    for silent in (line(last=NOW - 31 * HOUR), line(last=None)):
        red, whole = schedule_proofs([silent], stack(), NOW)
        assert (red.passed, whole.passed) == (False, False)
        seen(red.evidence)


def report(outcome: str, hours: float) -> VerificationReport:
    at = NOW - hours * HOUR
    return VerificationReport.model_validate(
        {"stack": "lab", "outcome": outcome, "rule": "because", "started_at": at, "ended_at": at}
    )


def test_a_verification_that_passed_lately_is_green_and_every_other_is_not() -> None:
    lines, lab = [line(Job.VERIFICATION)], stack()
    assert verification_proof(report("passed", 25), lines, lab, NOW).passed
    assert verification_proof(report("passed", 27), lines, lab, NOW).passed is False
    assert verification_proof(report("failed", 1), lines, lab, NOW).passed is False
    assert verification_proof(None, lines, lab, NOW).passed is False
    assert verification_proof(None, [], lab, NOW).passed is False
    of_last_week = report("passed", 1).model_copy(update={"scheduled_for": NOW - 7 * 24 * HOUR})
    assert verification_proof(of_last_week, lines, lab, NOW).passed is False, "it says nothing of today"
    young = [line(Job.VERIFICATION, since=NOW - HOUR)]
    assert verification_proof(None, young, lab, NOW).passed, "its first run is not due yet"
    assert verification_proof(report("passed", 1), lines, stack(verification=None), NOW).passed is None
