"""``dr backup verify --self-test``: how the checks of the product did on damaged copies."""

from rich.console import Console
from temporalio.client import Client

from domain.selftest import SelfTested, Verdict
from starter import orchestrator
from starter.answer import Exit, answer, columns, plain, say
from worker.settings import Settings
from workflows.backup import BackupRequest

_STYLES = {
    Verdict.KILLED: "green",
    Verdict.LIVED: "bold red",
    Verdict.NOT_MADE: "bold red",
    Verdict.NO_STORE: "dim",
}


async def self_test(client: Client, settings: Settings, stack: str, *, as_json: bool) -> Exit:
    """Run the self-test and print it; everything but a full kill rate without false alarm is a failure."""
    say("damaging copies in every way that a check is there for; production is only read …")
    workflow_id = f"backup/{settings.stack_for(stack)}/all/selftest"
    request = BackupRequest(stack=stack)
    handle = await orchestrator.start(client, settings, "VerifierSelfTest", request, workflow_id, SelfTested)
    found = await orchestrator.result_of(handle)
    answer("backup verify", told(found), as_json=as_json, human=lambda console: draw(console, found))
    return Exit.DONE if found.passed else Exit.VERIFICATION_FAILED


def told(found: SelfTested) -> dict[str, object]:
    """Return what programs are told."""
    return {
        "passed": found.passed,
        "mutants_killed": found.mutants_killed,
        "mutants": found.mutants,
        "controls_passed": found.controls_passed,
        "controls": found.controls,
        "checks": [rate.model_dump(mode="json") for rate in found.rates],
        "rows": [row.model_dump(mode="json") for row in found.rows],
        "control_rows": [row.model_dump(mode="json") for row in found.control_rows],
    }


def draw(console: Console, found: SelfTested) -> None:
    """Print mutants, controls and the rate of each check."""
    mutants = columns("mutant", "what was done, and how it was seen", "check", "result, and what it said")
    for row in found.rows:
        mutants.add_row(
            row.mutant,
            plain(f"{row.what} ({row.seen})" if row.seen else row.what),
            plain(row.check),
            f"[{_STYLES[row.verdict]}]{row.verdict}[/]: {plain(row.evidence)}",
        )
    console.print(mutants)
    controls = columns("control", "what is sound", "check", "result")
    for held in found.control_rows:
        said = "[green]green[/]" if held.passed else f"[bold red]FALSE ALARM[/]: {plain(held.evidence)}"
        what = held.what if held.control == "Q1" else f"{held.what} ({held.seen})"
        controls.add_row(held.control, plain(what), plain(held.check), said)
    console.print(controls)
    rates = columns("check", "killed", "false alarms")
    for rate in found.rates:
        rates.add_row(
            plain(rate.check), f"{rate.killed} of {rate.made}", f"{rate.false_alarms} of {rate.controls}"
        )
    console.print(rates)
    console.print(plain(found.sentence))
