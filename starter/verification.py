"""``dr backup verify --all``: what the schedule verifies each day, now."""

from rich.console import Console
from temporalio.client import Client

from domain.jobs import Job, lock_of
from domain.verification import VerificationReport
from starter import orchestrator
from starter.answer import Exit, answer, plain, say
from worker.settings import Settings
from workflows.backup import ScheduledRequest

_EXIT = {"passed": Exit.DONE, "failed": Exit.VERIFICATION_FAILED, "stood_down": Exit.STOOD_DOWN}
_WORD = {True: "ok", False: "WRONG", None: "not shown"}


def verify_all(stack: str, *, as_json: bool) -> Exit:
    """Verify every due backup of a stack under the lock of the schedule; return the exit status."""

    async def work(client: Client, settings: Settings) -> Exit:
        say("looking at every due backup, and restoring some of them …")
        name = settings.stack_for(stack)
        handle = await orchestrator.start(
            client,
            settings,
            "BackupVerification",
            ScheduledRequest(stack=stack, reason="by hand"),
            lock_of(name, Job.VERIFICATION),
            VerificationReport,
        )
        found = await orchestrator.result_of(handle)
        data = {"passed": found.passed, **found.model_dump(mode="json")}
        answer("backup verify", data, as_json=as_json, human=lambda console: _draw(console, found))
        return _EXIT[found.outcome]

    return orchestrator.run(work)


def _draw(console: Console, found: VerificationReport) -> None:
    for check in found.checks:
        why = f" ({check.why})" if check.why else ""
        word = _WORD[check.passed] if check.not_due_until is None else "not due"
        console.print(f"{word:>9}  {plain(check.title)}{why}: {plain(check.evidence)}")
        for proof in check.proofs:
            if proof.passed is not True:
                console.print(
                    f"{'':>9}    {_WORD[proof.passed]} {plain(proof.name)}: {plain(proof.evidence)}"
                )
    if found.not_told:
        console.print(f"{plain(found.not_told)}")
    console.print(f"entry by chance drawn with seed {found.seed}; report: {plain(found.path)}")
    console.print(plain(found.sentence))
