"""What the self-test comes to: a mutant is killed when all its forms are, and what nobody tried is not."""

import pytest

from domain.selftest import CONTROLS, MUTANTS, ControlRow, MutantRow, Tried, Verdict, sum_up


def row(mutant: str, verdict: Verdict = Verdict.KILLED, check: str = "a check") -> MutantRow:
    return MutantRow(mutant=mutant, what="damaged", seen="it is", check=check, verdict=verdict)


def held(control: str, *, passed: bool = True) -> ControlRow:
    return ControlRow(control=control, what="sound", check="a check", passed=passed)


ALL = Tried(mutants=tuple(row(one) for one in MUTANTS), controls=tuple(held(one) for one in CONTROLS))


def test_everything_killed_and_every_control_green_passes() -> None:
    found = sum_up([ALL])
    assert found.passed
    assert (found.mutants_killed, found.mutants) == (24, 24)
    assert (found.controls_passed, found.controls) == (6, 6)
    assert [row.mutant for row in found.rows][:3] == ["M1", "M2", "M3"]


@pytest.mark.parametrize("verdict", [Verdict.LIVED, Verdict.NOT_MADE])
def test_one_form_that_lived_or_was_not_made_is_a_mutant_not_killed(verdict: Verdict) -> None:
    found = sum_up([ALL, Tried(mutants=(row("M12", verdict),))])
    assert not found.passed
    assert found.mutants_killed == 23
    assert "not killed: M12" in found.sentence


def test_a_mutant_that_nobody_tried_is_not_killed() -> None:
    without = ALL.model_copy(update={"mutants": tuple(one for one in ALL.mutants if one.mutant != "M5")})
    found = sum_up([without])
    assert (found.mutants_killed, found.mutants, found.passed) == (23, 24, False)
    assert next(one for one in found.rows if one.mutant == "M5").verdict is Verdict.NOT_MADE


def test_a_store_that_the_stack_does_not_have_is_told_and_not_counted() -> None:
    others = tuple(one for one in ALL.mutants if one.mutant != "M20")
    absent = (*others, row("M20", Verdict.NO_STORE))
    found = sum_up([ALL.model_copy(update={"mutants": absent})])
    assert (found.mutants_killed, found.mutants, found.passed) == (23, 23, True)
    assert any(one.mutant == "M20" for one in found.rows)


def test_one_false_alarm_and_one_missing_control_fail() -> None:
    alarmed = sum_up([ALL, Tried(controls=(held("Q1", passed=False),))])
    assert (alarmed.passed, alarmed.controls_passed) == (False, 5)
    assert "false alarm at Q1" in alarmed.sentence
    fewer = ALL.model_copy(update={"controls": ALL.controls[:-1]})
    assert not sum_up([fewer]).passed


def test_nothing_at_all_does_not_pass() -> None:
    found = sum_up([])
    assert (found.passed, found.mutants_killed, found.controls_passed) == (False, 0, 0)


def test_each_check_has_its_own_rate() -> None:
    found = sum_up(
        [
            ALL,
            Tried(
                mutants=(row("M1", check="size"), row("M2", Verdict.LIVED, check="size")),
                controls=(held("Q1"), held("Q2", passed=False)),
            ),
        ]
    )
    rates = {rate.check: rate for rate in found.rates}
    assert (rates["size"].killed, rates["size"].made) == (1, 2)
    assert (rates["a check"].false_alarms, rates["a check"].controls) == (1, 8)
