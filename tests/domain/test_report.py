from datetime import UTC, datetime, timedelta

from domain.ledger import Store
from domain.report import Interruption, Report, StepLine, completed

T0 = datetime(2026, 11, 22, 4, 30, tzinfo=UTC)


def draft(**more: object) -> Report:
    values: dict[str, object] = {
        "run_id": "r",
        "workflow_id": "recovery/nchat",
        "recovery_id": "20261122T0430Z-9f31c2aa",
        "stack": "nchat",
        "scenario": "DatabaseCorruption",
        "mode": "real",
        "outcome": "recovered",
        "rule": "",
    }
    return Report.model_validate(values | more)


def line(name: str, second: int, outcome: str = "done", sentence: str = "") -> StepLine:
    at = T0 + timedelta(seconds=second)
    return StepLine(
        id=name, title=name, attempts=1, started_at=at, seconds=1, outcome=outcome, sentence=sentence
    )


def test_the_history_decides_about_attempts_and_times() -> None:
    told = line("restore", 9)
    seen = line("restore", 4).model_copy(update={"attempts": 3})
    report = completed(draft(steps=(told,)), (seen,), ())
    assert report.steps[0].attempts == 3
    assert report.steps[0].started_at == seen.started_at


def test_only_the_run_knows_that_a_person_skipped_a_step() -> None:
    skipped = line("search", 1, "skipped", "skipped by a person: tonight")
    report = completed(draft(steps=(skipped,)), (line("search", 1, "failed", "no answer"),), ())
    assert report.steps[0].outcome == "skipped"
    assert report.steps[0].sentence == "skipped by a person: tonight"


def test_steps_stand_in_the_order_of_time_wherever_they_come_from() -> None:
    report = completed(draft(steps=(line("gate", 2),)), (line("swap", 3), line("look", 1)), ())
    assert [step.id for step in report.steps] == ["look", "gate", "swap"]


def test_an_interruption_known_twice_is_told_once() -> None:
    flag = Interruption(kind="worker_killed", at=T0, sentence="the worker died")
    report = completed(draft(interruptions_survived=(flag,)), (), (flag,))
    assert report.interruptions_survived == (flag,)


def test_completing_a_completed_report_changes_nothing() -> None:
    flag = Interruption(kind="worker_killed", at=T0, sentence="the worker died")
    seen = (line("look", 1), line("swap", 3))
    once = completed(draft(steps=(line("gate", 2),)), seen, (flag,))
    assert completed(once, seen, (flag,)) == once


def test_the_objective_of_the_scenario_speaks_for_postgres_alone() -> None:
    report = draft(rpo_objective_seconds=300.0, loss_objectives={"redis": 900.0})
    assert report.loss_objective(Store.POSTGRES) == 300
    assert report.loss_objective(Store.REDIS) == 900
    assert report.loss_objective(Store.SEARCH) is None


def test_what_was_not_measured_is_null_and_never_zero() -> None:
    values = draft().model_dump(mode="json")
    for name in ("rto_seconds", "downtime_seconds", "waiting_on_people_seconds", "skew_seconds"):
        assert values[name] is None
    for name in ("seconds", "markers_lost", "markers_acknowledged"):
        assert values["loss"]["redis"][name] is None
