"""``dr status``, ``timeline``, ``report``, ``doctor``: looking, never changing."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import typer
from rich.console import Console
from temporalio.client import Client
from temporalio.service import RPCError

from domain import names
from domain.durations import spoken
from domain.errors import Refused
from domain.incident import StatusView
from domain.recovery import Judged, Proof
from domain.report import Report
from domain.stack import Stack
from starter import orchestrator
from starter.agenda import Agenda, Line
from starter.answer import Exit, answer, columns, plain
from starter.recover import print_brief, print_news
from starter.schedule_health import schedule_proofs, verification_proof
from starter.schedules import stack_named
from worker.report_store import load_report
from worker.settings import Settings
from worker.verification_store import last_verification
from workflows.backup import BackupRequest

_STACK = typer.Option("", help="The stack; not needed while one recovery is open.")


def status(stack: str = _STACK, *, as_json: bool = typer.Option(False, "--json")) -> None:
    """Show the services, the open recovery, and the gate that waits."""

    async def work(client: Client, settings: Settings) -> Exit:
        health = await orchestrator.execute(
            client, settings, "ObserveHealth", BackupRequest(stack=stack), Judged
        )
        found = [await orchestrator.look(client, name) for name in await _recoveries(client, stack)]
        runs = [view for view in found if view is not None]
        data = {"services": health.proofs, "open_runs": runs}
        answer("status", data, as_json=as_json, human=lambda c: _draw_status(c, health, runs))
        return Exit.DONE

    raise typer.Exit(orchestrator.run(work))


async def _recoveries(client: Client, stack: str) -> list[str]:
    found = await orchestrator.open_recoveries(client)
    return [name for name in found if not stack or name == names.recovery_workflow_id(stack)]


def _draw_status(console: Console, health: Judged, runs: list[StatusView]) -> None:
    table = columns("service", "state", "evidence")
    for proof in health.proofs:
        word = {True: "[green]healthy[/]", False: "[red]ill[/]", None: "[yellow]not measured[/]"}[
            proof.passed
        ]
        table.add_row(plain(proof.name), word, plain(proof.evidence))
    console.print(table)
    if not runs:
        console.print("no recovery is open")
    for view in runs:
        console.print(f"[bold]{plain(view.recovery_id)}[/] {plain(view.scenario)} is {plain(view.state)}")
        if view.gate:
            print_brief(view)
        if view.parked_step:
            console.print(f"  parked at {plain(view.parked_step)}: {plain(view.parked_reason)}")


def timeline(
    stack: str = _STACK,
    *,
    follow: bool = typer.Option(False, "--follow", "-f", help="Go on until the run ends."),
    as_json: bool = typer.Option(False, "--json"),
) -> None:
    """Show the steps of the open recovery, or of the latest one."""

    async def work(client: Client, _: Settings) -> Exit:
        opened = await _recoveries(client, stack)
        if not opened:
            return _closed_timeline(stack, as_json=as_json)
        seen: set[str] = set()
        while True:
            view = await orchestrator.look(client, opened[0])
            if view is None:
                raise Refused("the run is gone", where=opened[0], code="no-open-run")
            if not as_json:
                print_news(view, seen)
            if not follow or view.state == "ended":
                answer("timeline", view, as_json=as_json, human=partial(_draw_state, state=view.state))
                return Exit.DONE
            await asyncio.sleep(0.5)

    raise typer.Exit(orchestrator.run(work))


def _draw_state(console: Console, state: str) -> None:
    console.print(plain(state))


def _closed_timeline(stack: str, *, as_json: bool) -> Exit:
    report = _report("")
    if stack and report.stack != stack:
        raise Refused(f"no recovery of {stack} is open", code="no-open-run")

    def draw(console: Console) -> None:
        for step in report.steps:
            console.print(
                f"{step.started_at:%H:%M:%S}Z {spoken(step.seconds):>10} {plain(step.outcome):8}"
                f" {plain(step.title)}: {plain(step.sentence)}"
            )
        console.print(f"[bold]{report.outcome}[/]: {plain(report.rule)}")

    answer("timeline", {"steps": report.steps, "outcome": report.outcome}, as_json=as_json, human=draw)
    return Exit.DONE


def report(
    run: str = typer.Argument("", help="Run id, workflow id or recovery id; the latest when not given."),
    *,
    as_json: bool = typer.Option(False, "--json"),
) -> None:
    """Show a report; ``--json`` prints the fixed interface."""
    found = _report(run)
    answer("report", found, as_json=as_json, human=lambda c: draw_report(c, found))


def _report(run: str) -> Report:
    found = load_report(Settings().state, run or None)
    if found is None:
        raise Refused(
            f"there is no report of {run}" if run else "there is no report yet",
            where=str(Settings().state / "reports"),
            hint="'dr status' shows what runs",
            code="report-missing",
        )
    return found


def draw_report(console: Console, found: Report) -> None:
    """Draw a report for a terminal."""
    colour = "green" if found.outcome == "recovered" else "yellow"
    console.print(
        f"\n[bold {colour}]{found.outcome.upper()}[/]  {plain(found.scenario)} on {plain(found.stack)}"
    )
    console.print(f"  {plain(found.rule)}\n")
    figures = columns("measured", "value", "objective")
    figures.add_row("RTO", spoken(found.rto_seconds), spoken(found.rto_objective_seconds))
    figures.add_row(
        "RPO (PostgreSQL)", spoken(found.loss.postgres.seconds), spoken(found.rpo_objective_seconds)
    )
    figures.add_row("downtime", spoken(found.downtime_seconds), "")
    figures.add_row("waiting on people", spoken(found.waiting_on_people_seconds), "")
    console.print(figures)
    losses = columns("store", "lost for", "markers lost", "of acknowledged")
    for name in ("postgres", "redis", "objects", "search"):
        loss = getattr(found.loss, name)
        losses.add_row(
            name, spoken(loss.seconds), _count(loss.markers_lost), _count(loss.markers_acknowledged)
        )
    console.print(losses)
    for step in found.steps:
        retried = f" ({step.attempts} attempts)" if step.attempts > 1 else ""
        console.print(
            f"  {step.started_at:%H:%M:%S}Z {spoken(step.seconds):>10}  {plain(step.title)}{retried}:"
            f" {plain(step.sentence)}"
        )
    passed = sum(1 for check in found.checks if check.passed)
    console.print(f"\n  checks: {passed} of {len(found.checks)} passed")
    for check in found.checks:
        if check.passed is not True:
            word = "failed" if check.passed is False else "not measured"
            console.print(f"    {word}: {plain(check.name)}: {plain(check.evidence)}")
    for interruption in found.interruptions_survived:
        console.print(f"  survived: {plain(interruption.sentence)}")
    for kept in found.kept_aside:
        console.print(f"  kept aside: {plain(kept.volume)}; release it with: {plain(kept.release_command)}")
    console.print(f"  {plain(found.link)}")


def _count(value: int | None) -> str:
    return "not measured" if value is None else str(value)


def doctor(stack: str = _STACK, *, as_json: bool = typer.Option(False, "--json")) -> None:
    """Compare the stack file with the host, and say what a recovery would miss."""

    async def work(client: Client, settings: Settings) -> Exit:
        judged = await orchestrator.execute(client, settings, "Doctor", BackupRequest(stack=stack), Judged)
        judged = joined(judged, await _unattended(client, settings, stack))

        def draw(console: Console) -> None:
            for proof in judged.proofs:
                word = {True: "[green]ok[/]", False: "[red]no[/]", None: "[yellow]?[/]"}[proof.passed]
                console.print(f"{word:14} {plain(proof.name)}: {plain(proof.evidence)}")

        answer("doctor", judged, as_json=as_json, human=draw)
        return Exit.DONE if judged.passed else Exit.REFUSED

    raise typer.Exit(orchestrator.run(work))


async def _unattended(client: Client, settings: Settings, name: str) -> list[Proof]:
    """Look at what runs without anybody: the schedules, and the verification of backups."""
    try:
        stack = stack_named(settings, name)
    except Refused:
        return []  # that it cannot be read is a red line already
    try:
        lines = await Agenda(client, stack, settings.control_queue).look()
    except RPCError as error:
        return [Proof(name="schedules", passed=False, evidence=f"Temporal does not say: {error.message}")]
    now = datetime.now(UTC)
    return [*schedule_proofs(lines, stack, now), verified_proof(settings.state, stack, lines, now)]


def verified_proof(state: Path, stack: Stack, lines: Sequence[Line], now: datetime) -> Proof:
    """Return whether backups were verified lately; a newest report that cannot be read is a red line."""
    try:
        last = last_verification(state, stack.stack)
    except Refused as unread:
        return Proof(name="verification of backups", passed=False, evidence=str(unread))
    return verification_proof(last, lines, stack, now)


def joined(judged: Judged, more: list[Proof]) -> Judged:
    """Return a judgement with more proofs; each that is not green counts against it."""
    proofs = (*judged.proofs, *more)
    failed = [proof for proof in proofs if proof.passed is not True]
    said = "ready" if not failed else f"{len(failed)} of {len(proofs)} are not as they should be"
    return Judged(sentence=said, passed=not failed, proofs=proofs)
