"""Nothing that bites in a swap is without its test."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROWS = set(range(1, 20))
_NAMED = re.compile(r"(?:F-[A-K]\d+: )?Row (\d+) of what bites in a swap: \S")


def marked() -> Iterator[tuple[str, int, str]]:
    """Yield title, row and docstring of every test here that is marked as a hazard's."""
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.FunctionDef):
                continue
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.swap_hazard":
                    yield node.name, int(ast.literal_eval(mark.args[0])), ast.get_docstring(node) or ""


@pytest.mark.unit
def test_every_row_of_what_bites_in_a_swap_has_a_test() -> None:
    assert {row for _, row, _ in marked()} == ROWS


@pytest.mark.unit
def test_the_docstring_of_a_hazard_names_its_row() -> None:
    for title, row, text in marked():
        named = _NAMED.match(text)
        assert named is not None, f"{title}: say 'Row {row} of what bites in a swap: …'"
        assert int(named[1]) == row, title
