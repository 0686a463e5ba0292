"""The mark ``fault``: which row of the fault catalogue a test is, and proof that the fault was seen.

A test of a row says so twice, by its mark and in its docstring, and is void unless it has seen its
fault: a fault that did not fire fails the test, whatever else it asserted.

    @pytest.mark.fault("A3")
    def test_a_restore_killed_half_way_leaves_production_untouched(seen: Seen) -> None:
        '''F-A3: killed in the middle of a long effect.'''
        ...
        seen("the copying job was killed at 12 of 40 MB")

``at_length=True`` keeps a test out of ``make test`` (``make faults`` runs it); ``nightly=True`` leaves
it to ``make nightly``. The marks ``swap_hazard`` and ``mutant`` take the same words, and what is no row
but long is marked ``long``.
"""

import json
import re
import uuid
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from pathlib import Path

import pytest

Seen = Callable[[str], None]
"""Called by a test with what it saw of its fault."""

SECTIONS = {"A": 12, "B": 14, "C": 18, "D": 13, "E": 14, "F": 10, "G": 6, "H": 6, "I": 10, "J": 16, "K": 8}
"""How many rows each section of the fault catalogue has."""
ROWS = tuple(f"{section}{number}" for section, last in SECTIONS.items() for number in range(1, last + 1))

_SEEN = pytest.StashKey[list[str]]()
_RESULTS = pytest.StashKey[list[dict[str, str]]]()
_WRITE_TO = "--faults-record"
_DEPTH = "--faults"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add where results go, and how much of the catalogue is run."""
    parser.addoption(_WRITE_TO, type=Path, default=None, help="append the results of fault rows to this file")
    parser.addoption(
        _DEPTH,
        choices=("sample", "all", "nightly"),
        default="sample",
        help="sample: what fits into make test; all: every row once; nightly: every enumeration too",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Start with no results."""
    config.stash[_RESULTS] = []


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse a mark without its row; leave out what is too long for this run."""
    depth = config.getoption(_DEPTH)
    left_out = []
    for item in items:
        if depth == "sample" and item.get_closest_marker("long") is not None:
            left_out.append(item)
        for mark in (m for name in ("fault", "swap_hazard", "mutant") for m in item.iter_markers(name)):
            if mark.name == "fault":
                _require_named(item, mark)
            if (depth == "sample" and mark.kwargs.get("at_length")) or (
                depth != "nightly" and mark.kwargs.get("nightly")
            ):
                left_out.append(item)
    if left_out:
        gone = set(left_out)
        config.hook.pytest_deselected(items=list(gone))
        items[:] = [item for item in items if item not in gone]


def _require_named(item: pytest.Item, mark: pytest.Mark) -> None:
    row, text = mark.args[0], (getattr(item, "obj", None).__doc__ or "").strip()
    if row not in ROWS:
        raise pytest.UsageError(f"{item.nodeid}: the fault catalogue has no row {row}")
    named = re.match(r"(F-[A-K]\d+(?:, F-[A-K]\d+)*): \S", text)
    if named is None or f"F-{row}" not in named.group(1).split(", "):
        raise pytest.UsageError(f"{item.nodeid}: its docstring must begin with 'F-{row}: '")


@pytest.fixture
def seen(request: pytest.FixtureRequest) -> Seen:
    """Take note of what was seen of the fault."""
    notes = request.node.stash.setdefault(_SEEN, [])

    def note(what: str) -> None:
        assert what.strip(), "say what was seen"
        notes.append(what)

    return note


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a pass without a seen fault into a failure, and keep the result of each row."""
    report = yield
    rows = [str(mark.args[0]) for mark in item.iter_markers("fault")]
    if not rows:
        return report
    if call.when == "call" and report.passed and not item.stash.get(_SEEN, []):
        report.outcome = "failed"
        report.longrepr = (
            "void: the test never said what it saw of its fault; a fault that did not fire proves nothing"
        )
    if call.when == "call" or not report.passed:
        item.config.stash[_RESULTS] += [_result(item, report, row) for row in rows]
    return report


def _result(item: pytest.Item, report: pytest.TestReport, row: str) -> dict[str, str]:
    tiers = {"unit", "wf", "hand", "kill", "e2e"} & {mark.name for mark in item.iter_markers()}
    reason = ""
    if report.skipped and isinstance(report.longrepr, tuple):
        reason = str(report.longrepr[-1]).removeprefix("Skipped: ")
    elif report.failed:
        reason = (str(report.longrepr).strip().splitlines() or [""])[-1]
    name = getattr(item, "originalname", None) or item.name
    return {
        "id": row,
        "title": name.removeprefix("test_").replace("_", " "),
        "tier": "+".join(sorted(tiers)),
        "outcome": report.outcome,
        "reason": reason[:200],
        "test": item.nodeid,
    }


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Append the results of the rows, one JSON object a line."""
    path: Path | None = session.config.getoption(_WRITE_TO)
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    this = {"session": uuid.uuid4().hex, "day": datetime.now(UTC).strftime("%Y-%m-%d")}
    with path.open("a", encoding="utf-8") as file:
        for result in session.config.stash[_RESULTS]:
            file.write(json.dumps(result | this) + "\n")
