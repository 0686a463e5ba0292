"""A file that outgrows its budget has two subjects."""

import ast
from pathlib import Path

import pytest

from tests.architecture.tree import PACKAGES, ROOT, python_files

FUNCTION_LINES = 40
FILE_LINES = 400
SCENARIO_LINES = 150
VAGUE = {"manager", "handler", "helper", "helpers", "util", "utils", "misc"}


def budget_of(path: Path) -> int:
    top = path.relative_to(ROOT).parts[0]
    if top == "workflows" and "@workflow.defn" in path.read_text(encoding="utf-8"):
        return SCENARIO_LINES
    return {"activities": 300, "domain": 200}.get(top, FILE_LINES)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", python_files(*PACKAGES, "bench", "tests"), ids=name_of)
def test_a_file_keeps_to_the_budget_of_its_package(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= budget_of(path), f"{name_of(path)} has {lines} lines, its budget is {budget_of(path)}"


@pytest.mark.parametrize("path", python_files(*PACKAGES, "bench"), ids=name_of)
def test_a_function_fits_on_a_screen(path: Path) -> None:
    long = [
        f"{node.name}: {lines} lines"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        # The docstring is for the reader and costs nothing; decorators stand above the first line.
        and (lines := length_without_docstring(node)) > FUNCTION_LINES
    ]
    assert not long, f"{name_of(path)}: {long}"


def length_without_docstring(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    if ast.get_docstring(node) is None:
        return lines
    docstring = node.body[0]
    return lines - ((docstring.end_lineno or docstring.lineno) - docstring.lineno + 1)


@pytest.mark.parametrize("path", python_files(*PACKAGES, "bench"), ids=name_of)
def test_a_file_is_named_for_its_subject(path: Path) -> None:
    assert not VAGUE & set(path.stem.split("_")), f"{name_of(path)} says nothing about what is in it"
