from hypothesis import given
from hypothesis import strategies as st

from domain.ledger import Loss, StoreLoss
from domain.recovery import Proof
from domain.report import KeptAside, Report
from domain.verdict import Ending, Required, outcome_rule

CHECKS = ("heap", "read", "rows")
JOURNEY = ("sign in", "send")
REQUIRED = Required(checks=CHECKS, journey=JOURNEY, advisory=("orphans",))
FINISHED = Ending(kind="finished")


def proofs(**changed: bool | None) -> tuple[Proof, ...]:
    names = (*CHECKS, *JOURNEY)
    return tuple(Proof(name=n, passed=changed.get(n, True), evidence=f"evidence of {n}") for n in names)


def report(**more: object) -> Report:
    values: dict[str, object] = {
        "run_id": "r",
        "workflow_id": "recovery/nchat",
        "recovery_id": "20261122T0430Z-9f31c2aa",
        "stack": "nchat",
        "scenario": "DatabaseCorruption",
        "mode": "real",
        "outcome": "open",
        "rule": "",
        "rto_seconds": 184.0,
        "rto_objective_seconds": 1800.0,
        "rpo_objective_seconds": 300.0,
        "checks": proofs(),
        "loss": Loss(postgres=StoreLoss(seconds=3.0, markers_lost=3, markers_acknowledged=812)),
        "kept_aside": (KeptAside(volume="dr-x-postgres-1", bytes=1, release_command="dr release x"),),
    }
    return Report.model_validate(values | more)


def test_everything_shown_is_recovered_and_the_rule_says_by_what() -> None:
    ruling = outcome_rule(report(), FINISHED, REQUIRED)
    assert ruling.outcome == "recovered"
    assert "3 of 3 mandatory checks passed" in ruling.rule
    assert "3 of 812 markers" in ruling.rule
    assert "dr-x-postgres-1" in ruling.rule


@given(st.lists(st.sampled_from([True, False, None]), min_size=5, max_size=5), st.sets(st.integers(0, 4)))
def test_never_recovered_with_a_mandatory_proof_missing_or_not_passed(
    passed: list[bool | None], removed: set[int]
) -> None:
    shown = tuple(
        proof.model_copy(update={"passed": value})
        for place, (proof, value) in enumerate(zip(proofs(), passed, strict=True))
        if place not in removed
    )
    ruling = outcome_rule(report(checks=shown), FINISHED, REQUIRED)
    everything = not removed and all(value is True for value in passed)
    assert (ruling.outcome == "recovered") is everything


@given(st.permutations([True, True, False]))
def test_one_failed_proof_among_several_of_a_name_is_enough(passed: list[bool]) -> None:
    again = tuple(Proof(name="heap", passed=value, evidence="") for value in passed)
    ruling = outcome_rule(report(checks=(*proofs(), *again)), FINISHED, REQUIRED)
    assert ruling.outcome == "needs_human"


def test_a_check_that_was_not_made_is_named_as_such() -> None:
    ruling = outcome_rule(report(checks=proofs(heap=None)), FINISHED, REQUIRED)
    assert "'heap' was not made" in ruling.rule


def test_requiring_nothing_proves_nothing() -> None:
    assert outcome_rule(report(), FINISHED, Required(journey=JOURNEY)).outcome == "needs_human"
    assert outcome_rule(report(), FINISHED, Required(checks=CHECKS)).outcome == "needs_human"


def test_loss_that_was_not_measured_is_no_recovery() -> None:
    assert outcome_rule(report(loss=Loss()), FINISHED, REQUIRED).outcome == "needs_human"


def test_loss_counted_from_no_markers_at_all_was_not_measured() -> None:
    hollow = Loss(postgres=StoreLoss(seconds=0.0, markers_lost=0, markers_acknowledged=0))
    assert outcome_rule(report(loss=hollow), FINISHED, REQUIRED).outcome == "needs_human"


def test_nothing_kept_aside_needs_a_reason() -> None:
    assert outcome_rule(report(kept_aside=()), FINISHED, REQUIRED).outcome == "needs_human"
    why = report(kept_aside=(), kept_aside_reason="only an index was built again")
    assert outcome_rule(why, FINISHED, REQUIRED).outcome == "recovered"


def test_a_failed_check_that_nobody_declared_advisory_counts() -> None:
    for name, outcome in (("orphans", "recovered"), ("strange", "needs_human")):
        extra = Proof(name=name, passed=False, evidence="2 rows")
        ruling = outcome_rule(report(checks=(*proofs(), extra)), FINISHED, REQUIRED)
        assert ruling.outcome == outcome
        assert name in ruling.rule


def test_a_missed_objective_does_not_take_the_recovery_away_and_the_headline_says_so() -> None:
    late = outcome_rule(report(rto_seconds=2400.0), FINISHED, REQUIRED)
    assert late.outcome == "recovered"
    assert "but later than the objective of 30 min" in late.headline
    lossy = Loss(postgres=StoreLoss(seconds=400.0, markers_lost=400, markers_acknowledged=812))
    lost = outcome_rule(report(loss=lossy), FINISHED, REQUIRED)
    assert lost.outcome == "recovered"
    assert "more loss than the objective" in lost.headline
    assert "missed" in lost.rule


def test_standing_down_needs_evidence_and_nothing_changed() -> None:
    sound = Ending(kind="stood_down", because="312 relations checked, nothing reported")
    assert outcome_rule(report(), sound, REQUIRED).outcome == "stood_down"
    assert outcome_rule(report(), Ending(kind="stood_down"), REQUIRED).outcome == "needs_human"
    touched = report(changed=("autovacuum is off; undo: ALTER SYSTEM RESET autovacuum",))
    assert outcome_rule(touched, sound, REQUIRED).outcome == "needs_human"


def test_a_plan_never_recovers() -> None:
    ruling = outcome_rule(report(mode="plan"), FINISHED, REQUIRED)
    assert ruling.outcome == "stood_down"
    assert ruling.headline == "Plan only: nothing was changed"


def test_an_aborted_run_says_how_much_was_changed() -> None:
    ruling = outcome_rule(report(changed=("a", "b")), Ending(kind="aborted", because="wrong stack"), REQUIRED)
    assert ruling.outcome == "aborted"
    assert "wrong stack" in ruling.rule
    assert "2 things were changed" in ruling.headline


def test_a_loss_that_may_be_greater_is_never_called_met() -> None:
    bound = Loss(postgres=StoreLoss(seconds=3.0, markers_lost=3, markers_acknowledged=3, at_least=True))
    ruling = outcome_rule(report(loss=bound), FINISHED, REQUIRED)
    assert "RPO at least 3.0 s against an objective of 5 min 0 s: not known whether met" in ruling.rule
    assert "at least 3.0 s of PostgreSQL data lost" in ruling.headline
