"""The record of the fault catalogue: what counts as a pass of a row."""

import pytest

from tests.faults.catalogue import last_line, markdown, newest, rows
from tests.faults.record import ROWS

pytestmark = pytest.mark.unit
pytest_plugins = ["pytester"]


def ran(pytester: pytest.Pytester, text: str, *words: str) -> pytest.RunResult:
    pytester.makeini("[pytest]\nmarkers =\n fault\n long\nasyncio_default_fixture_loop_scope = function\n")
    pytester.makepyfile(text)
    return pytester.runpytest_inprocess("-p", "tests.faults.record", *words)


def test_a_row_whose_fault_was_seen_passes(pytester: pytest.Pytester) -> None:
    result = ran(
        pytester,
        """
        import pytest
        @pytest.mark.fault("A1")
        def test_it(seen):
            "F-A1: a worker is killed."
            seen("exit by signal 9")
        """,
    )
    result.assert_outcomes(passed=1)


def test_a_row_whose_fault_was_not_seen_fails_as_void(pytester: pytest.Pytester) -> None:
    result = ran(
        pytester,
        """
        import pytest
        @pytest.mark.fault("A1")
        def test_it():
            "F-A1: a worker is killed."
        """,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*void: *"])


@pytest.mark.parametrize("text", ["F-A2: another row.", "a worker is killed (F-A1)", ""])
def test_a_docstring_that_does_not_begin_with_the_row_is_refused(
    pytester: pytest.Pytester, text: str
) -> None:
    result = ran(
        pytester,
        f"""
        import pytest
        @pytest.mark.fault("A1")
        def test_it(seen):
            '''{text}'''
            seen("it")
        """,
    )
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_a_row_that_is_too_long_is_left_out_unless_it_is_asked_for(pytester: pytest.Pytester) -> None:
    text = """
        import pytest
        @pytest.mark.fault("A1", at_length=True)
        def test_long(seen):
            "F-A1: a worker is killed."
            seen("it")
        @pytest.mark.fault("A2", nightly=True)
        def test_all(seen):
            "F-A2: a worker is killed."
            seen("it")
        @pytest.mark.long
        def test_weeks():
            pass
        """
    ran(pytester, text).assert_outcomes(deselected=3)
    ran(pytester, text, "--faults=all").assert_outcomes(passed=2, deselected=1)
    ran(pytester, text, "--faults=nightly").assert_outcomes(passed=3)


def test_the_catalogue_counts_every_row_and_a_failure_outweighs_a_pass() -> None:
    def result(row: str, outcome: str, test: str = "t") -> dict[str, str]:
        return {"id": row, "title": "x", "tier": "wf", "outcome": outcome, "reason": "r", "test": test}

    found = rows(
        [result("A1", "passed"), result("A1", "failed", "u"), result("A2", "passed"), result("A3", "skipped")]
    )
    assert len(ROWS) == len(found) == 127
    assert last_line(found) == "faults: 1 of 127 green, 1 failed, 125 not run"
    assert "| A2 | x | wf | passed 2026-01-02 |" in markdown(found, "2026-01-02")


def test_a_row_of_several_days_is_dated_by_the_oldest_of_its_results() -> None:
    told = {"id": "A1", "title": "x", "tier": "wf", "outcome": "passed", "reason": "", "session": "s"}
    first, second = ({"test": day, "day": day} for day in ("2026-01-03", "2026-01-04"))
    page = markdown(rows(newest([told | first, told | second])), "2026-01-05")
    assert "| A1 | x (and 1 more) | wf | passed 2026-01-03 |" in page


def test_a_test_that_was_run_again_counts_with_what_it_said_last() -> None:
    """Also where the last session has a failed teardown beside a passed call."""

    def result(session: str, outcome: str, test: str = "t") -> dict[str, str]:
        told = {"id": "A1", "title": "x", "tier": "wf", "reason": "r"}
        return told | {"outcome": outcome, "test": test, "session": session}

    healed = [result("one", "failed"), result("one", "passed", "u"), result("two", "passed")]
    assert [(r["test"], r["outcome"]) for r in newest(healed)] == [("u", "passed"), ("t", "passed")]
    broken = [result("one", "passed"), result("two", "passed"), result("two", "failed")]
    assert [r["outcome"] for r in newest(broken)] == ["passed", "failed"]
