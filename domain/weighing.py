"""Weighs what the witnesses saw. Pure: the looking is done by the hands."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from domain.diagnosis import Finding, Look, Trouble, Verdict, Witness


class Meaning(NamedTuple):
    """What the witnesses mean together."""

    verdict: Verdict
    because: str
    fitting_scenario: str = ""


_DIRECT = {Look.AMCHECK, Look.FULL_READ, Look.COUNTS, Look.FILES}
_SEES_GONE_ROWS = {Look.COUNTS, Look.FILES}
"""A table that lost pages reads well; these looks notice it, for as long as its indexes are as they were."""
_TELLING = _DIRECT | {Look.CONTAINER}
"""Looks whose failure says what is in the way."""
_INDIRECT, _MIN_LOOKS = {Look.LOG, Look.CHECKSUMS}, 2


def diagnose(
    witnesses: Sequence[Witness], *, running: bool, answers: bool, others_run: bool = True
) -> Meaning:
    """Weigh the witnesses; ``others_run``: some other service of the stack runs.

    Nothing is corrupt without a witness that saw it, nor sound without a check that read the stack's own
    database, which is looked at first; both need two independent looks. What only the log or the checksum
    counter says is overruled when every heap page was read well, and of a server that answers each needs the
    other.
    """
    if len({w.look for w in witnesses if w.finding is not Finding.NOT_MEASURED}) < _MIN_LOOKS:
        return _unmeasured(witnesses, running=running, others_run=others_run)
    decided = (
        _beyond_replay(witnesses)
        or _damage(witnesses, answers=answers)
        or _trouble(witnesses, running=running, answers=answers, others_run=others_run)
        or _doubt(witnesses)
    )
    if decided is not None:
        return decided
    first = {w.look: w for w in reversed(witnesses)}.values()
    proof = _first(first, Finding.SOUND, {Look.AMCHECK, Look.FULL_READ})
    if answers and proof is not None:
        return Meaning(Verdict.SOUND, proof.evidence)
    return _unmeasured(witnesses, running=running, others_run=others_run)


def _beyond_replay(witnesses: Sequence[Witness]) -> Meaning | None:
    """Return damage that no replay to the end of the WAL cures: the server has written it there.

    Without their status rows count as never written, and every read that passes removes them for good.
    """
    lost = _first(witnesses, Finding.DAMAGED, {Look.STATUS})
    return None if lost is None else Meaning(Verdict.UNKNOWN, lost.evidence)


def _damage(witnesses: Sequence[Witness], *, answers: bool) -> Meaning | None:
    control = _first(witnesses, Finding.DAMAGED, {Look.CONTROL})
    # A server that answers writes its control file anew at the next checkpoint.
    direct = _first(witnesses, Finding.DAMAGED, _DIRECT) or (None if answers else control)
    if direct is not None:
        return Meaning(Verdict.CORRUPT, direct.evidence)
    read = _heap_was_read(witnesses)
    hinted = _first(witnesses, Finding.DAMAGED, _INDIRECT)
    if hinted is not None and not read and _confirmed(witnesses, answers=answers):
        return Meaning(Verdict.CORRUPT, hinted.evidence)
    index = _first(witnesses, Finding.INDEX_DAMAGED, _DIRECT)
    if index is not None and read and _nothing_is_gone(witnesses):
        return Meaning(Verdict.INDEX_ONLY, index.evidence)
    return None


def _confirmed(witnesses: Sequence[Witness], *, answers: bool) -> bool:
    """Tell whether hints are more than one: whoever may speak SQL can write a line into the log (F-H1).

    A server that is down confirms the words that it ended with.
    """
    hints = {w.look for w in witnesses if w.finding is Finding.DAMAGED and w.look in _INDIRECT}
    return not answers or len(hints) >= _MIN_LOOKS


def _doubt(witnesses: Sequence[Witness]) -> Meaning | None:
    """Return what was seen and confirmed by nothing else, or that it is another server's data."""
    stranger = _first(witnesses, Finding.DAMAGED, {Look.IDENTITY})
    if stranger is not None:
        return Meaning(Verdict.UNKNOWN, stranger.evidence)
    for finding in (Finding.DAMAGED, Finding.INDEX_DAMAGED):
        seen = _first(witnesses, finding, set(Look) - {Look.OTHER})
        if seen is not None:
            return Meaning(Verdict.UNKNOWN, f"{seen.evidence}; no other check confirms damage")
    return None


def _first(witnesses: Iterable[Witness], finding: Finding, looks: Iterable[Look]) -> Witness | None:
    return next((w for w in witnesses if w.finding is finding and w.look in looks), None)


def _heap_was_read(witnesses: Sequence[Witness]) -> bool:
    """Tell whether a full read and amcheck both went through every table without heap damage."""
    read = {w.finding for w in witnesses if w.look is Look.FULL_READ}
    checked = {w.finding for w in witnesses if w.look is Look.AMCHECK}
    return read == {Finding.SOUND} and bool(checked) and checked <= {Finding.SOUND, Finding.INDEX_DAMAGED}


def _nothing_is_gone(witnesses: Sequence[Witness]) -> bool:
    """Tell whether a look that would have noticed missing rows was made: a rebuilt index hides them."""
    return any(w.look in _SEES_GONE_ROWS and w.finding is not Finding.NOT_MEASURED for w in witnesses)


def _trouble(
    witnesses: Sequence[Witness], *, running: bool, answers: bool, others_run: bool
) -> Meaning | None:
    """Return another trouble: of a server that serves, only a full disk or a lack of memory.

    And a library that it lacks, when a check of the data stumbled over that.
    """
    grave = {Trouble.DISK_FULL, Trouble.MEMORY}
    if not answers:
        grave |= {Trouble.SETTINGS, Trouble.STOPPED}
    found = sorted(
        (w for w in witnesses if w.trouble in grave or (w.trouble is Trouble.SETTINGS and w.look in _DIRECT)),
        key=lambda w: w.trouble,
    )
    # A stopped server is the effect; what stopped it says more.
    cause = next((w for w in found if w.trouble is not Trouble.STOPPED), found[0] if found else None)
    if cause is None:
        return None
    scenario = "ServiceFailure" if running or others_run else "CompleteOutage"
    return Meaning(Verdict.OTHER_TROUBLE, cause.evidence, scenario)


def _unmeasured(witnesses: Sequence[Witness], *, running: bool, others_run: bool) -> Meaning:
    stopped = next((w for w in witnesses if w.trouble is Trouble.STOPPED), None)
    missing = [w.name for w in witnesses if w.finding is Finding.NOT_MEASURED]
    because = f"too little was measured; missing: {', '.join(missing) or 'all checks of the data'}"
    why = next((w for w in witnesses if w.finding is Finding.NOT_MEASURED and w.look in _TELLING), None)
    because += f"; {why.name}: {why.evidence}" if why is not None else ""
    if stopped is not None and not running:
        scenario = "ServiceFailure" if others_run else "CompleteOutage"
        return Meaning(Verdict.UNKNOWN, f"{stopped.evidence}; {because}", scenario)
    return Meaning(Verdict.UNKNOWN, because)
