"""Which outcome a run may claim, and the sentence that decided it.

A run is recovered only when everything that had to be shown was shown: a check that was not made counts as
little as one that failed. A missed objective does not take the recovery away; the headline says so in words.
"""

from typing import Literal

from domain.durations import spoken
from domain.ledger import Store, StoreLoss
from domain.order import Value
from domain.recovery import Proof
from domain.report import STORE_NAMES, Report, ReportOutcome


class Ending(Value):
    """How the run came to its end, as the runbook saw it."""

    kind: Literal["finished", "stood_down", "aborted", "parked", "open"] = "open"
    because: str = ""
    """Evidence for standing down, a person's reason for aborting, or what the run is parked at."""


class Required(Value):
    """What has to be shown before a run may call itself recovered."""

    checks: tuple[str, ...] = ()
    """Names of mandatory checks; every proof of such a name must have passed."""
    journey: tuple[str, ...] = ()
    """Names of the checks made from the user's side."""
    loss_of: tuple[Store, ...] = (Store.POSTGRES,)
    """Stores whose loss must have been measured."""
    advisory: tuple[str, ...] = ()
    """Names of checks that may fail without taking the recovery away; the report shows them all the same."""


class Ruling(Value):
    """The outcome, the sentence that decided it, and the headline of the report."""

    outcome: ReportOutcome
    rule: str
    headline: str


def outcome_rule(report: Report, ending: Ending, required: Required) -> Ruling:
    """Decide the outcome of a run from what its report holds; the report's own outcome is not looked at."""
    outcome, rule = _decided(report, ending, required)
    told = headline(report.model_copy(update={"outcome": outcome}))
    return Ruling(outcome=outcome, rule=rule, headline=told)


def _decided(report: Report, ending: Ending, required: Required) -> tuple[ReportOutcome, str]:
    if ending.kind == "open":
        return "open", ending.because or "The run goes on."
    if ending.kind == "aborted":
        return "aborted", f"Aborted: {ending.because or 'no reason was given'}"
    if ending.kind == "parked":
        return "needs_human", ending.because or "A step needs a person."
    if ending.kind == "stood_down" or report.mode == "plan":
        return _stood_down(report, ending.because)
    missing = not_shown(report, required)
    if missing:
        return "needs_human", "Not recovered: " + "; ".join(missing) + "."
    return "recovered", _recovered_rule(report, required)


def not_shown(report: Report, required: Required) -> tuple[str, ...]:
    """Return everything that keeps a finished run from being recovered, as sentences."""
    reasons: list[str] = []
    if not required.checks:
        reasons.append("no check was mandatory, so nothing was proven")
    if not required.journey:
        reasons.append("nothing was tried from the user's side")
    for name in dict.fromkeys((*required.checks, *required.journey)):
        reasons += _lacking(name, [proof for proof in report.checks if proof.name == name])
    mandatory = {*required.checks, *required.journey}
    reasons += [
        f"check {proof.name!r} failed: {proof.evidence}"
        for proof in report.checks
        if proof.passed is False and proof.name not in mandatory and proof.name not in required.advisory
    ]
    reasons += [
        f"the loss of {STORE_NAMES[store]} was not measured"
        for store in required.loss_of
        if not _measured(getattr(report.loss, store))
    ]
    if not report.kept_aside and not report.kept_aside_reason:
        reasons.append("no old data is kept aside, and nobody said why")
    return tuple(reasons)


def _lacking(name: str, proofs: list[Proof]) -> list[str]:
    if not proofs:
        return [f"mandatory check {name!r} is missing"]
    failed = [p for p in proofs if p.passed is False]
    unmade = [p for p in proofs if p.passed is None]
    return [f"mandatory check {name!r} failed: {p.evidence}" for p in failed] + [
        f"mandatory check {name!r} was not made: {p.evidence}" for p in unmade
    ]


def _measured(loss: StoreLoss) -> bool:
    # Zero acknowledged markers would make any loss come out as none.
    return loss.seconds is not None and loss.markers_acknowledged != 0


def _recovered_rule(report: Report, required: Required) -> str:
    losses = ", ".join(_told_loss(store, getattr(report.loss, store)) for store in required.loss_of)
    parts = [
        f"{len(required.checks)} of {len(required.checks)} mandatory checks passed",
        f"{len(required.journey)} of {len(required.journey)} actions worked from the user's side",
    ]
    if losses:
        parts.append(f"measured loss: {losses}")
    if report.kept_aside:
        parts.append("the old data is kept in " + ", ".join(kept.volume for kept in report.kept_aside))
    else:
        parts.append(f"nothing is kept aside: {report.kept_aside_reason}")
    parts.append(_against("RTO", report.rto_seconds, report.rto_objective_seconds))
    rpo = report.loss_objective(Store.POSTGRES)
    parts.append(_against("RPO", report.loss.postgres.seconds, rpo, at_least=report.loss.postgres.at_least))
    failed = [proof.name for proof in report.checks if proof.passed is False]
    if failed:
        parts.append("failed, though not mandatory: " + ", ".join(failed))
    skipped = [step.title for step in report.steps if step.outcome == "skipped"]
    if skipped:
        parts.append("skipped by a person: " + ", ".join(skipped))
    return "Recovered: " + "; ".join(parts) + "."


def _told_loss(store: Store, loss: StoreLoss) -> str:
    text = f"{STORE_NAMES[store]} {told_seconds(loss)}"
    if loss.markers_lost is None or loss.markers_acknowledged is None:
        return text
    return f"{text} ({loss.markers_lost} of {loss.markers_acknowledged} markers)"


def told_seconds(loss: StoreLoss) -> str:
    """Return the loss of a store in words; a lower bound is said to be one."""
    return f"at least {spoken(loss.seconds)}" if loss.at_least else spoken(loss.seconds)


def _against(name: str, measured: float | None, objective: float | None, *, at_least: bool = False) -> str:
    if measured is None:
        return f"{name} not measured"
    told = f"{name} {'at least ' if at_least else ''}{spoken(measured)}"
    if objective is None:
        return f"{told}, no objective"
    verdict = "missed" if measured > objective else "not known whether met" if at_least else "met"
    return f"{told} against an objective of {spoken(objective)}: {verdict}"


def headline(report: Report) -> str:
    """Return the headline of a report in words, as its outcome and its figures give it."""
    changed = f"{len(report.changed)} things were changed" if report.changed else "nothing was changed"
    match report.outcome:
        case "recovered":
            return _recovered_headline(report)
        case "stood_down":
            return f"{'Plan only' if report.mode == 'plan' else 'Stood down'}: nothing was changed"
        case "aborted":
            return f"Aborted by a person; {changed}"
        case "needs_human":
            return "Parked: a person has to decide"
        case "open":
            return "The run goes on"


def _recovered_headline(report: Report) -> str:
    took = "Recovered"
    if report.rto_seconds is not None:
        took = f"Recovered in {spoken(report.rto_seconds)}"
    missed = []
    if _exceeds(report.rto_seconds, report.rto_objective_seconds):
        missed.append(f"later than the objective of {spoken(report.rto_objective_seconds)}")
    rpo = report.loss_objective(Store.POSTGRES)
    if _exceeds(report.loss.postgres.seconds, rpo):
        missed.append(f"with more loss than the objective of {spoken(rpo)}")
    lost = report.loss.postgres.seconds
    if lost is None:
        loss = "loss of PostgreSQL not measured"
    else:
        told = f"{told_seconds(report.loss.postgres)} of PostgreSQL data lost"
        loss = told if lost or report.loss.postgres.at_least else "no PostgreSQL data lost"
    return ", ".join([took + (", but " + " and ".join(missed) if missed else ""), loss])


def _exceeds(measured: float | None, objective: float | None) -> bool:
    return measured is not None and objective is not None and measured > objective


def _stood_down(report: Report, because: str) -> tuple[ReportOutcome, str]:
    if report.changed:
        return "needs_human", "Not stood down: something was changed: " + "; ".join(report.changed) + "."
    if report.mode == "plan":
        return "stood_down", f"Plan only: {because or 'the steps that only look were carried out'}."
    if not because:
        return "needs_human", "Not stood down: no evidence says why."
    return "stood_down", f"Stood down, nothing was changed: {because}"
