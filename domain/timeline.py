"""The timeline of a run while it goes on, and how it is shown in the Web UI."""

import json
from collections.abc import Iterable
from datetime import datetime

from pydantic import BaseModel, Field

from domain.approval import Brief
from domain.inert import markdown
from domain.report import DecisionLine, Mark, Note

_SIGNS = {"done": "✓", "running": "…", "failed": "✗", "skipped": "⚠", "parked": "■"}
# A long list of facts would push the answer off the screen.
_FACTS_BEFORE_THE_ANSWER = 6


class StepRecord(BaseModel):
    """One step as the run knows it."""

    id: str
    title: str
    started_at: datetime
    ended_at: datetime | None = None
    outcome: str = "running"
    sentence: str = ""


class Timeline(BaseModel):
    """Everything that happened in a run, in order."""

    steps: list[StepRecord] = Field(default_factory=list)
    decisions: list[DecisionLine] = Field(default_factory=list)
    marks: list[Mark] = Field(default_factory=list)
    notes: list[Note] = Field(default_factory=list)
    waits: list[tuple[datetime, datetime]] = Field(default_factory=list)

    def begin(self, step_id: str, title: str, at: datetime) -> StepRecord:
        """Add a step, or take up the record of one that is tried again."""
        for record in self.steps:
            if record.id == step_id:
                record.outcome, record.ended_at = "running", None
                return record
        record = StepRecord(id=step_id, title=title, started_at=at)
        self.steps.append(record)
        return record

    def mark(self, name: str, at: datetime) -> None:
        """Set a named moment; the first one counts."""
        if all(mark.name != name for mark in self.marks):
            self.marks.append(Mark(name=name, at=at))

    def moment(self, name: str) -> datetime | None:
        """Return a named moment, or ``None``."""
        return next((mark.at for mark in self.marks if mark.name == name), None)

    def waited_seconds(self) -> float:
        """Return the time spent waiting for people."""
        return sum((until - since).total_seconds() for since, until in self.waits)


def current_details(timeline: Timeline, status: str, awaited: str) -> str:
    """Return Markdown for the Web UI: status, what is awaited, and the steps as a list.

    What services and people said stands in it literally: the browser of who looks at it fetches nothing.
    """
    lines = [f"**{markdown(status)}**", ""]
    if awaited:
        lines += [awaited, ""]
    for step in timeline.steps:
        took = "" if step.ended_at is None else f" · {_seconds(step):.1f} s"
        sentence = f": {markdown(step.sentence)}" if step.sentence else ""
        lines.append(f"- {_SIGNS.get(step.outcome, '·')} **{step.title}**{took}{sentence}")
    return "\n".join(lines)


def ask_at_gate(brief: Brief, digest: str) -> str:
    """Return the brief with the exact JSON to paste for the signals ``approve`` and ``reject``."""
    approve = {"gate": brief.gate, "digest": digest, "by": "YOUR NAME", "reason": ""}
    first, more = brief.facts[:_FACTS_BEFORE_THE_ANSWER], brief.facts[_FACTS_BEFORE_THE_ANSWER:]
    parts = [
        f"### Gate `{brief.gate}`: {markdown(brief.question)}",
        _list(first),
        f"**Cannot be undone:** {markdown(brief.cannot_be_undone)}" if brief.cannot_be_undone else "",
        "**To decide:** *More Actions* → *Send a Signal* → `approve` or `reject`, with",
        f"```json\n{json.dumps(approve, indent=2)}\n```",
        "**More facts**" if more else "",
        _list(more),
    ]
    return "\n\n".join(part for part in parts if part)


def ask_when_parked(step_id: str, reason: str, *, skippable: bool) -> str:
    """Return what a parked run waits for, with the JSON to paste."""
    verbs = "`retry`, `skip` or `abort`" if skippable else "`retry` or `abort`"
    answer = {"step": step_id, "by": "YOUR NAME", "reason": "WHY"}
    return (
        f"### Parked at `{step_id}`\n\n{markdown(reason)}\n\n"
        f"**To decide:** *More Actions* → *Send a Signal* → {verbs}, with\n\n"
        f"```json\n{json.dumps(answer, indent=2)}\n```"
    )


def _list(sentences: Iterable[str]) -> str:
    return "\n".join(f"- {markdown(sentence)}" for sentence in sentences)


def _seconds(step: StepRecord) -> float:
    return ((step.ended_at or step.started_at) - step.started_at).total_seconds()
