"""What a benchmark found: tables for people and for Markdown, everything for programs."""

import argparse
import json
import re
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from worker.settings import REPOSITORY


@dataclass(frozen=True)
class Table:
    """Rows under a title, all cells as they are to be read."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""

    def text(self) -> str:
        """Return the table for a terminal."""
        lines = [self.head, *self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.head))]
        shown = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
                 for line in lines]  # fmt: skip
        shown.insert(1, "  ".join("-" * width for width in widths))
        return "\n".join(["", self.title, *(f"  {line}" for line in shown), *self._noted("  ")])

    def markdown(self) -> str:
        """Return the table as Markdown."""
        rows = ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in (self.head, *self.rows)]
        rows.insert(1, "|" + " --- |" * len(self.head))
        return "\n".join([f"**{self.title}**", "", *rows, *(["", self.note] if self.note else [])])

    def _noted(self, indent: str) -> list[str]:
        return [f"{indent}{self.note}"] if self.note else []


@dataclass
class Findings:
    """Everything that one benchmark measured."""

    name: str
    """Also the name of its block in the page of the documentation."""
    machine: dict[str, str]
    tables: list[Table] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)
    """The raw figures, for programs; times in seconds."""
    measured_at: str = field(default_factory=lambda: f"{datetime.now(UTC):%Y-%m-%d %H:%MZ}")

    def text(self) -> str:
        """Return all of it for a terminal."""
        machine = Table("Machine", ("", ""), tuple(self.machine.items()))
        return "\n".join(table.text() for table in (machine, *self.tables)) + "\n"

    def markdown(self) -> str:
        """Return all of it as Markdown, the machine's figures in one sentence."""
        machine = "; ".join(f"{name}: {value}" for name, value in self.machine.items())
        said = f"Measured {self.measured_at}. {machine}."
        return "\n\n".join([said, *(table.markdown() for table in self.tables)]) + "\n"


def options(name: str, about: str) -> argparse.ArgumentParser:
    """Return a command line with the options that every benchmark has."""
    parser = argparse.ArgumentParser(prog=f"python -m bench.{name}", description=about)
    parser.add_argument("--markdown", action="store_true", help="print Markdown instead of plain text")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure to a file as well")
    parser.add_argument(
        "--write", type=Path, metavar="PAGE", help=f"replace the block '{name}' of a Markdown page as well"
    )
    return parser


def deliver(found: Findings, asked: argparse.Namespace) -> None:
    """Print what was found, and write it where it was asked for."""
    sys.stdout.write(found.markdown() if asked.markdown else found.text())
    if asked.json is not None:
        whole = {"name": found.name, "measured_at": found.measured_at, "machine": found.machine}
        asked.json.write_text(json.dumps({**whole, **found.data}, indent=1) + "\n", encoding="utf-8")
    if asked.write is not None:
        page = asked.write if asked.write.is_absolute() else REPOSITORY / asked.write
        page.write_text(with_block(page.read_text(encoding="utf-8"), found), encoding="utf-8")


def with_block(page: str, found: Findings) -> str:
    """Return the page with the block of this benchmark replaced; raises ``ValueError`` without one."""
    begin, end = f"<!-- {found.name}: begin -->", f"<!-- {found.name}: end -->"
    block = re.compile(f"(?s){re.escape(begin)}.*?{re.escape(end)}")
    if len(block.findall(page)) != 1:
        message = f"the page has no single block {begin} … {end}"
        raise ValueError(message)
    return block.sub(lambda _: f"{begin}\n{found.markdown()}{end}", page)


def spread(values: Sequence[float], unit: str = "s") -> tuple[str, str, str]:
    """Return median, 95th percentile and worst of some measurements, as they are to be read."""
    ordered = sorted(values)
    high = ordered[min(len(ordered) - 1, round(0.95 * (len(ordered) - 1)))]
    factor, digits = (1000, 1) if unit == "ms" else (1, 2)
    figures = (statistics.median(ordered), high, ordered[-1])
    middle, near, worst = (f"{value * factor:.{digits}f} {unit}" for value in figures)
    return middle, near, worst


def met(value: float, target: float, *, at_least: bool = False) -> str:
    """Return whether a target was met, as one word."""
    return "met" if (value >= target if at_least else value <= target) else "missed"


def _cell(text: str) -> str:
    return text.replace("|", "\\|") or " "
