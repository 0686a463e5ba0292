"""The figures of a report beside what was promised."""

from dataclasses import dataclass

from activities.report_page.inert import duration
from domain.ledger import Store, StoreLoss
from domain.report import STORE_NAMES, Report

_LEAST = 1.5
"""Percent of a bar that is drawn for whatever is more than nothing."""


@dataclass(frozen=True)
class Gauge:
    """A bar beside its objective; both in percent of the longer of the two."""

    fill: str
    objective: str
    state: str


@dataclass(frozen=True)
class Tile:
    """One figure: what it is, how much, and how that compares."""

    name: str
    value: str
    state: str
    """``met``, ``missed``, ``plain`` (nothing to compare with) or ``unknown``."""
    note: str
    gauge: Gauge | None = None


@dataclass(frozen=True)
class LossLine:
    """The loss of one store."""

    name: str
    value: str
    markers: str
    objective: str
    verdict: str
    state: str
    gauge: Gauge | None


def tiles(report: Report) -> tuple[Tile, ...]:
    """Return the tiles of the page: recovery time, loss, downtime, waiting on people."""
    loss = report.loss.postgres
    bound = "at least " if loss.at_least else ""
    lost_note = f" · {_markers(loss)}" if loss.markers_acknowledged else ""
    return (
        _tile(
            "Recovery time (RTO)",
            report.rto_seconds,
            report.rto_objective_seconds,
            "from declared to verified from the user's side, waiting included",
        ),
        _tile(
            "Data loss (RPO)",
            loss.seconds,
            report.loss_objective(Store.POSTGRES),
            f"of PostgreSQL{lost_note}",
            bound,
        ),
        _plain("Downtime", report.downtime_seconds, report, "longest time without a working user action"),
        _plain(
            "Waiting on people", report.waiting_on_people_seconds, report, "at gates, while parked or held"
        ),
    )


def losses(report: Report) -> tuple[LossLine, ...]:
    """Return the loss of each store beside what it may lose."""
    return tuple(
        _loss_line(STORE_NAMES[store], getattr(report.loss, store), report.loss_objective(store))
        for store in Store
    )


def _loss_line(name: str, loss: StoreLoss, objective: float | None) -> LossLine:
    state = _state(loss.seconds, objective, at_least=loss.at_least)
    bound = "at least " if loss.at_least and loss.seconds is not None else ""
    return LossLine(
        name=name,
        value=bound + duration(loss.seconds),
        markers=_markers(loss),
        objective="no objective" if objective is None else duration(objective),
        verdict={
            "met": "met",
            "missed": "missed",
            "unknown": "not known" if bound else "not measured",
            "plain": "-",
        }[state],
        state=state,
        gauge=_gauge(loss.seconds, objective, state),
    )


def _markers(loss: StoreLoss) -> str:
    if loss.markers_lost is None or loss.markers_acknowledged is None:
        return "not measured"
    return f"{loss.markers_lost} of {loss.markers_acknowledged} markers"


def _tile(name: str, seconds: float | None, objective: float | None, note: str, bound: str = "") -> Tile:
    state = _state(seconds, objective, at_least=bool(bound))
    compared = "no objective"
    if objective is not None:
        said = {"met": "inside the objective of", "missed": "misses the objective of"}.get(state, "objective")
        compared = f"{said} {duration(objective)}"
    gauge = _gauge(seconds, objective, state)
    value = duration(seconds) if seconds is None else bound + duration(seconds)
    return Tile(name, value, state, f"{compared} · {note}", gauge)


def _plain(name: str, seconds: float | None, report: Report, note: str) -> Tile:
    """Return a tile without an objective of its own; its bar is the share of the recovery time."""
    whole = report.rto_seconds
    gauge = None
    if seconds is not None and whole and seconds <= whole:
        note = f"{note} · {seconds / whole:.0%} of the recovery time"
        gauge = Gauge(_fill(seconds / whole), "", "plain")
    return Tile(name, duration(seconds), "unknown" if seconds is None else "plain", note, gauge)


def _state(seconds: float | None, objective: float | None, *, at_least: bool = False) -> str:
    if seconds is None:
        return "unknown"
    if objective is None:
        return "plain"
    if seconds > objective:
        return "missed"
    return "unknown" if at_least else "met"


def _gauge(seconds: float | None, objective: float | None, state: str) -> Gauge | None:
    if seconds is None or objective is None:
        return None
    longest = max(seconds, objective)
    share, promised = (seconds / longest, objective / longest) if longest > 0 else (0.0, 1.0)
    return Gauge(_fill(share), f"{promised * 100:.2f}", state)


def _fill(share: float) -> str:
    return f"{max(_LEAST, share * 100) if share > 0 else 0:.2f}"
