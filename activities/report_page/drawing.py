"""The timeline as places and widths in percent: what the template then draws as inline SVG."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from activities.report_page.inert import clock, duration
from activities.report_page.scale import Interval, Scale, scale_of, ticks
from domain.report import Report, Span, StepLine

_TURN = 62.0
"""A mark to the right of this place has its caption to the left."""
_TURN_SHORT = 78.0
"""The same for the shorter caption of a bar."""


@dataclass(frozen=True)
class Bar:
    """A stretch of time in a row; ``kind`` is its style."""

    left: str
    width: str
    kind: str
    tip: str


@dataclass(frozen=True)
class Caption:
    """A short text beside a place: ``start`` to the right of it, ``end`` to the left, or ``inside`` a bar."""

    at: str
    text: str
    side: str


@dataclass(frozen=True)
class Row:
    """One line of the drawing with its label."""

    title: str
    kind: str
    sentence: str = ""
    chips: tuple[str, ...] = ()
    bars: tuple[Bar, ...] = ()
    caption: Caption | None = None
    retaken: tuple[str, ...] = ()
    """Places where a later attempt took the work up."""
    flags: tuple[tuple[str, int, str], ...] = ()
    """Place, number and sentence of interruptions."""


@dataclass(frozen=True)
class Drawing:
    """Everything that the template needs; nothing in it is measured again."""

    rows: tuple[Row, ...]
    marks: tuple[Caption, ...]
    ticks: tuple[Caption, ...]
    bands: tuple[Bar, ...]
    shortened: str = ""


def draw(report: Report) -> Drawing | None:
    """Return the drawing of a report, or ``None`` when it holds no instants to draw."""
    instants = [*_instants(report)]
    if len(instants) < 2 or min(instants) == max(instants):  # noqa: PLR2004 - a line needs two ends
        return None
    start, end = min(instants), max(instants)
    busy = [(s.started_at, s.ended_at or end) for step in report.steps for s in _spans(step)]
    scale = scale_of(start, end, report.waits, busy)
    bands = tuple(_bar(scale, wait, "wait", "Waiting on people") for wait in report.waits)
    return Drawing(
        rows=(*_own_rows(report, scale), *(_step_row(step, scale, end) for step in report.steps)),
        marks=tuple(
            _caption(scale.at(mark.at), f"{mark.name} {clock(mark.at)}")
            for mark in sorted(report.marks, key=lambda mark: mark.at)
        ),
        ticks=_axis(scale, start, end),
        bands=bands,
        shortened=", ".join(
            f"{duration((b - a).total_seconds())} from {clock(a)} to {clock(b)}" for a, b in scale.cut
        ),
    )


def _instants(report: Report) -> Iterable[datetime]:
    for step in report.steps:
        for span in _spans(step):
            yield span.started_at
            yield span.ended_at or span.started_at
    for wait in report.waits:
        yield from wait
    yield from (mark.at for mark in report.marks)
    yield from (flag.at for flag in report.interruptions_survived)
    for at in (report.started_at, report.ended_at, report.downtime_from, report.downtime_until):
        if at is not None:
            yield at


def _spans(step: StepLine) -> tuple[Span, ...]:
    if step.spans:
        return step.spans
    until = None if step.seconds is None else step.started_at + timedelta(seconds=step.seconds)
    return (Span(started_at=step.started_at, ended_at=until, attempts=step.attempts, outcome=step.outcome),)


def _own_rows(report: Report, scale: Scale) -> Iterable[Row]:
    """Yield the rows that are no steps: people, downtime, interruptions."""
    if report.waits:
        waited = sum((b - a).total_seconds() for a, b in report.waits)
        bars = tuple(_bar(scale, wait, "wait", "Waiting on people") for wait in report.waits)
        yield Row("Waiting on people", "apart", bars=bars, caption=_beside(bars, duration(waited)))
    if report.downtime_from is not None and report.downtime_until is not None:
        down = (report.downtime_from, report.downtime_until)
        bars = (_bar(scale, down, "down", "Downtime"),)
        text = duration(report.downtime_seconds)
        yield Row("Downtime", "apart", bars=bars, caption=_beside(bars, text))
    if report.interruptions_survived:
        flags = tuple(
            (_percent(scale.at(flag.at)), number, flag.sentence)
            for number, flag in enumerate(report.interruptions_survived, start=1)
        )
        yield Row("Interruptions survived", "apart", flags=flags)


def _step_row(step: StepLine, scale: Scale, end: datetime) -> Row:
    bars: list[Bar] = []
    retaken: list[str] = []
    for span in _spans(step):
        until = span.ended_at or end
        taken = span.last_attempt_at
        kind = step.outcome if span.outcome == "done" and step.outcome == "skipped" else span.outcome
        if span.attempts > 1 and taken is not None and span.started_at < taken < until:
            bars.append(_bar(scale, (span.started_at, taken), "lost", "Attempts before the last"))
            retaken.append(_percent(scale.at(taken)))
            bars.append(_bar(scale, (taken, until), kind, f"Attempt {span.attempts}"))
        else:
            bars.append(_bar(scale, (span.started_at, until), kind, step.title))
    chips = [step.outcome] if step.outcome != "done" else []
    if step.attempts > 1:
        chips.append(f"{step.attempts} attempts")
    return Row(
        step.title,
        step.outcome,
        sentence=step.sentence,
        chips=tuple(chips),
        bars=tuple(bars),
        caption=_beside(tuple(bars), duration(step.seconds) if step.outcome != "running" else "running"),
        retaken=tuple(retaken),
    )


def _bar(scale: Scale, interval: Interval, kind: str, tip: str) -> Bar:
    left, right = scale.at(interval[0]), scale.at(interval[1])
    told = f"{tip}: {clock(interval[0])} to {clock(interval[1])}"
    return Bar(_percent(left), _percent(max(0.0, right - left)), kind, told)


def _beside(bars: tuple[Bar, ...], text: str) -> Caption:
    left = min(float(bar.left) for bar in bars)
    right = max(float(bar.left) + float(bar.width) for bar in bars)
    if right <= _TURN_SHORT:
        return Caption(_percent(right), text, "start")
    return Caption(_percent(left), text, "end" if left >= 100 - _TURN_SHORT else "inside")


def _caption(place: float, text: str) -> Caption:
    return Caption(_percent(place), text, "start" if place <= _TURN else "end")


def _axis(scale: Scale, start: datetime, end: datetime) -> tuple[Caption, ...]:
    captions: list[Caption] = []
    drawn = (end - start) - sum((b - a for a, b in scale.cut), timedelta())
    for offset in ticks((end - start).total_seconds(), drawn.total_seconds()):
        instant = start + timedelta(seconds=offset)
        if any(a < instant < b for a, b in scale.cut):
            continue
        place = scale.at(instant)
        # Beside an interval that is drawn short, round offsets can fall together.
        if not captions or place - float(captions[-1].at) >= 9:  # noqa: PLR2004 - percent that a label needs
            captions.append(Caption(_percent(place), duration(offset) if offset else clock(start), "start"))
    return tuple(captions)


def _percent(place: float) -> str:
    return f"{place:.2f}"
