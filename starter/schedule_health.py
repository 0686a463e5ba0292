"""Whether the schedules of a stack run as its file says, and whether somebody verifies its backups."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from domain.durations import spoken
from domain.jobs import Job
from domain.recovery import Proof
from domain.stack import Stack
from domain.verification import VerificationReport
from domain.verification_due import allowed_age
from starter.agenda import Line
from starter.timetable import RUNS

VERIFIED_WITHIN = timedelta(hours=26)
_RESUMED = "resumed by "


def schedule_proofs(lines: Sequence[Line], stack: Stack, now: datetime) -> list[Proof]:
    """Return a red line for each schedule that is not as it should be, and one for all the others."""
    wrong = [(line, said) for line in lines if (said := _wrong(line, stack, now))]
    red = [Proof(name=f"schedule {line.job or line.id}", passed=False, evidence=said) for line, said in wrong]
    paused = [f"{line.job} ({line.note})" for line in lines if line.state == "paused"]
    fine = len(lines) - len(wrong)
    said = f"{fine} of {len(lines)} are as the stack file says"
    said += f"; paused: {', '.join(paused)}" if paused else ""
    if not lines:
        said = "the stack file wants none: nothing is taken by itself"
    return [*red, Proof(name="schedules", passed=bool(lines) and not wrong, evidence=said)]


def verification_proof(
    last: VerificationReport | None, lines: Iterable[Line], stack: Stack, now: datetime
) -> Proof:
    """Return whether backups were verified lately; that nobody does it is never silent."""
    if stack.backup.timing(Job.VERIFICATION) is None:
        said = "nothing verifies the backups: schedules.verification of the stack file is null"
        return _proof(passed=None, said=said)
    made = next((line.since for line in lines if line.job == Job.VERIFICATION), None)
    if last is None:
        if made is not None and now - made <= VERIFIED_WITHIN:
            return _proof(passed=True, said=f"none yet; its schedule was made {_ago(made, now)} ago")
        return _proof(passed=False, said="none ever ended: dr backup verify --all")
    said = f"{last.outcome} {_ago(last.as_of, now)} ago: {last.rule}"
    late = now - last.as_of > VERIFIED_WITHIN
    return _proof(passed=last.passed and not late, said=f"none ended since: {said}" if late else said)


def _wrong(line: Line, stack: Stack, now: datetime) -> str:
    """Return what is wrong with one schedule, or nothing."""
    if line.state == "missing":
        return "it is missing: dr schedules apply makes it"
    if line.drift:
        return f"{'; '.join(line.drift)}: dr schedules apply"
    if line.state == "paused":
        unsaid = not line.note.strip() or line.note == RUNS or line.note.startswith(_RESUMED)
        return "it is paused, and nobody said why: dr schedules resume" if unsaid else ""
    return _silent(line, stack, now) if line.state == "running" else ""


def _silent(line: Line, stack: Stack, now: datetime) -> str:
    within = allowed_age(stack, Job(line.job))
    since = line.last or line.since
    if within is None or since is None or now - since <= within:
        return ""
    said = (
        f"it last ran {_ago(since, now)} ago"
        if line.last
        else f"it never ran since it was made {_ago(since, now)} ago"
    )
    return f"{said}, {spoken(within.total_seconds())} are allowed: is a worker there?"


def _ago(at: datetime, now: datetime) -> str:
    return spoken(max((now - at).total_seconds(), 0.0))


def _proof(*, passed: bool | None, said: str) -> Proof:
    return Proof(name="verification of backups", passed=passed, evidence=said)
