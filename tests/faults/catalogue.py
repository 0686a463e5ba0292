"""``python -m tests.faults.catalogue``: runs the fault rows and prints the whole catalogue.

The table is made of the tests that ran; a row without a test is *not run*. The last line is
``faults: N of 127 green, M failed, K not run``; the exit status is 1 when a row failed.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.faults.record import ROWS

ROOT = Path(__file__).parents[2]
STACKS = (("tests/e2e", "tests/browser", "tests/faults"), ("tests/lab",), ("tests/other",))
"""Folders that share a stack, which must not stand idle beside another: each is a run of its own."""
_STYLE = {"passed": "green", "failed": "red", "not run": "yellow"}
_NOTHING_COLLECTED = 5
_SIDE_BY_SIDE = ("--numprocesses=3", "--dist=loadfile")
"""Those that share no stack make what they need themselves and mostly wait: as ``make test`` runs them."""


class Row:
    """One row with what its tests said."""

    def __init__(self, row: str, results: list[dict[str, str]]) -> None:
        """Judge the row: failed when any of its tests failed, passed when one passed and none failed."""
        self.id = row
        outcomes = [result["outcome"] for result in results]
        self.outcome = "failed" if "failed" in outcomes else "passed" if "passed" in outcomes else "not run"
        telling = [r for r in results if r["outcome"] == self.outcome] or results
        self.title = telling[0]["title"] if telling else ""
        self.more = len({result["test"] for result in results}) - 1
        self.tier = "+".join(sorted({tier for r in results for tier in r["tier"].split("+") if tier}))
        self.day = min((result["day"] for result in results if "day" in result), default="")
        """When the oldest of these results was had: a table of several days claims no newer one."""
        self.reason = "" if self.outcome == "passed" else telling[0]["reason"] if telling else "no test yet"

    @property
    def sentence(self) -> str:
        """Return the title, with how many more tests the row has."""
        return f"{self.title} (and {self.more} more)" if self.more > 0 else self.title


def rows(results: list[dict[str, str]]) -> list[Row]:
    """Return every row of the catalogue with its results."""
    return [Row(row, [result for result in results if result["id"] == row]) for row in ROWS]


def newest(results: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return of each test the results of its last session: who ran it again replaces what it said before."""
    last = {result["test"]: result["session"] for result in results}
    return [result for result in results if result["session"] == last[result["test"]]]


def last_line(found: list[Row]) -> str:
    """Return the sum of it."""
    counts = {word: sum(row.outcome == word for row in found) for word in _STYLE}
    return (
        f"faults: {counts['passed']} of {len(found)} green, {counts['failed']} failed,"
        f" {counts['not run']} not run"
    )


def table(found: list[Row]) -> Table:
    """Return the catalogue for a terminal."""
    drawn = Table(title="Fault catalogue", title_justify="left")
    for heading in ("id", "title", "tier", "result"):
        drawn.add_column(heading, overflow="fold")
    for row in found:
        said = row.outcome + (f": {row.reason}" if row.reason else "")
        drawn.add_row(row.id, row.sentence, row.tier, said, style=_STYLE[row.outcome])
    return drawn


def markdown(found: list[Row], day: str) -> str:
    """Return the catalogue as a page."""
    lines = [
        "# Fault catalogue",
        "",
        "Made by `make faults` of the tests that carry the mark `fault`; do not edit.",
        "",
        last_line(found) + f" ({day})",
        "",
        "| id | what is shown | tier | last run |",
        "| --- | --- | --- | --- |",
    ]
    for row in found:
        said = f"passed {row.day or day}" if row.outcome == "passed" else row.outcome
        lines.append(f"| {row.id} | {row.sentence or '-'} | {row.tier or '-'} | {said} |")
    return "\n".join(lines) + "\n"


def run(depth: str, record: Path) -> int:
    """Run every test that is a row; return the worst exit status of the runs."""
    common = [
        "-m",
        "fault or swap_hazard or mutant or long",
        f"--faults={depth}",
        f"--faults-record={record}",
    ]
    rest = [f"--ignore={folder}" for folders in STACKS for folder in folders]
    worst = 0
    for places in ((*_SIDE_BY_SIDE, *rest), *STACKS):
        asked = [sys.executable, "-m", "pytest", *common, *places]
        code = subprocess.run(asked, cwd=ROOT, check=False).returncode
        worst = max(worst, 0 if code == _NOTHING_COLLECTED else code)
    return worst


def main() -> int:
    """Run the rows, print the table, and write the page where it is asked for."""
    parser = argparse.ArgumentParser(description="Run the fault rows and print the catalogue.")
    parser.add_argument("--depth", choices=("sample", "all", "nightly"), default="all")
    parser.add_argument("--write", type=Path, help="write the catalogue to this Markdown page too")
    parser.add_argument(
        "--from", dest="record", type=Path, help="print what earlier runs with --faults-record=FILE recorded"
    )
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        record: Path = asked.record or Path(directory) / "faults.jsonl"
        broken = 0 if asked.record else run(asked.depth, record)
        lines = record.read_text(encoding="utf-8").splitlines() if record.is_file() else []
    found = rows(newest([json.loads(line) for line in lines]))
    console = Console()
    console.print(table(found))
    if asked.write:
        day = datetime.now(UTC).strftime("%Y-%m-%d")
        asked.write.write_text(markdown(found, day), encoding="utf-8")
    console.print(last_line(found), highlight=False, soft_wrap=True)
    return 1 if broken or any(row.outcome == "failed" for row in found) else 0


if __name__ == "__main__":
    sys.exit(main())
