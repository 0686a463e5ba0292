"""Benchmarks put their figures where readers find them."""

import pytest

from bench.figures import Findings, Table, met, spread, with_block
from worker.settings import REPOSITORY

PAGE = REPOSITORY / "docs" / "performance.md"


def findings(name: str) -> Findings:
    table = Table("A title", ("what", "figure"), (("this | that", "1 s"),), "A note.")
    return Findings(name, {"cores": "2"}, [table])


@pytest.mark.parametrize("name", ["overhead", "protection", "restore", "backup"])
def test_the_page_has_a_block_for_each_benchmark_and_keeps_its_own_sentences(name: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    found = findings(name)
    written = with_block(page, found)
    assert "| this \\| that | 1 s |" in written
    assert with_block(written, found) == written
    head, _, rest = page.partition(f"<!-- {name}: begin -->")
    assert written.startswith(head)
    assert written.endswith(rest.partition(f"<!-- {name}: end -->")[2])


def test_a_page_without_the_block_is_refused() -> None:
    with pytest.raises(ValueError, match="no single block"):
        with_block("nothing here", findings("overhead"))


def test_the_worst_of_some_measurements_is_told_and_not_only_their_middle() -> None:
    assert spread([0.1, 0.2, 9.0]) == ("0.20 s", "9.00 s", "9.00 s")
    assert spread([0.0204], "ms") == ("20.4 ms", "20.4 ms", "20.4 ms")


def test_a_target_is_met_at_its_very_value_and_missed_beyond_it() -> None:
    assert (met(4.0, 4.0), met(4.1, 4.0)) == ("met", "missed")
    assert (met(0.95, 0.95, at_least=True), met(0.94, 0.95, at_least=True)) == ("met", "missed")
