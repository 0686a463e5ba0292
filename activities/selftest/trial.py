"""One trial: something is damaged, the damage is seen, and the check that is there for it is asked."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field

import httpx
import psycopg
import redis
import urllib3
from minio.error import MinioException

from activities.pulse import beat
from domain.errors import BackupUnusable, DrError, Refused, Unavailable, VerificationFailed
from domain.recovery import Proof
from domain.selftest import ControlRow, MutantRow, Tried, Verdict

TROUBLE = (
    DrError,
    OSError,
    ValueError,
    psycopg.Error,
    redis.RedisError,
    httpx.HTTPError,
    MinioException,
    urllib3.exceptions.HTTPError,
)
"""What making a mutant, or asking a check, may end with when the host or a server is not as it should be."""


@dataclass(frozen=True)
class Answer:
    """What a check said: ``red`` when it found something."""

    red: bool
    evidence: str
    made: bool = True
    """False: the check did not get as far as an answer, and so has neither found nor shown anything."""


Check = Callable[[], Answer]
Damage = AbstractContextManager[str]
"""Does the damage, gives out what was seen of it (nothing where there is no difference), and undoes it."""


@dataclass
class Trials:
    """Collects what is tried."""

    mutants: list[MutantRow] = field(default_factory=list)
    controls: list[ControlRow] = field(default_factory=list)

    def mutant(self, name: str, what: str, damage: Damage, check: str, ask: Check) -> None:
        """Do the damage, ask the check, and undo the damage."""
        self.forms(name, what, damage, {check: ask})

    def forms(self, name: str, what: str, damage: Damage, asked: Mapping[str, Check]) -> None:
        """Do one damage for several checks, each of which has to find it."""
        beat(f"{name}: {what}")
        with ExitStack() as undone:
            try:
                seen = undone.enter_context(damage)
            except TROUBLE as error:
                seen, why = "", f"it could not be made: {_said(error)}"
            else:
                why = "" if seen else "it is no other than the original"
            for check, ask in asked.items():
                row = MutantRow(
                    mutant=name, what=what, seen=seen, check=check, verdict=Verdict.NOT_MADE, evidence=why
                )
                if not why:
                    answer = asked_for(ask)
                    verdict = Verdict.KILLED if answer.red else Verdict.LIVED
                    row = row.model_copy(update={"verdict": verdict, "evidence": answer.evidence[:500]})
                self.mutants.append(row)

    def control(self, name: str, what: str, check: str, ask: Check, *, state: Damage | None = None) -> None:
        """Hold a sound state before a check, which must be silent; ``state`` brings it about and shows it."""
        beat(f"{name}: {what}")
        with ExitStack() as undone:
            seen, answer = "", Answer(red=True, evidence="")
            try:
                seen = undone.enter_context(state) if state is not None else "as it was made"
            except TROUBLE as error:
                answer = Answer(red=True, evidence=f"it could not be brought about: {_said(error)}")
            else:
                answer = asked_for(ask) if seen else Answer(red=True, evidence="it was not seen")
            self.controls.append(
                ControlRow(
                    control=name,
                    what=what,
                    seen=seen,
                    check=check,
                    passed=answer.made and not answer.red,
                    evidence=answer.evidence[:500],
                )
            )

    def absent(self, name: str, what: str, check: str, why: str) -> None:
        """Say that the stack has nothing of the kind."""
        self.mutants.append(
            MutantRow(mutant=name, what=what, check=check, verdict=Verdict.NO_STORE, evidence=why)
        )

    def tested(self) -> Tried:
        """Return all of it."""
        killed = sum(row.verdict is Verdict.KILLED for row in self.mutants)
        green = sum(row.passed for row in self.controls)
        said = f"{killed} of {len(self.mutants)} forms killed, {green} of {len(self.controls)} controls green"
        return Tried(sentence=said, mutants=tuple(self.mutants), controls=tuple(self.controls))


def asked_for(ask: Check) -> Answer:
    """Ask a check. One that cannot be asked has found nothing, and has not shown that nothing is there."""
    try:
        return ask()
    except (BackupUnusable, VerificationFailed) as error:
        return Answer(red=True, evidence=error.what)
    except TROUBLE as error:
        return Answer(red=False, evidence=f"it could not be asked: {_said(error)}", made=False)


def by_text(said: str) -> Answer:
    """Return the answer of a check that tells what is wrong, or nothing."""
    return Answer(red=bool(said), evidence=said or "it found nothing wrong")


def by_proofs(proofs: Iterable[Proof], *named: str) -> Answer:
    """Return the answer of a check by its proofs; with ``named`` only those of these names can be red."""
    proofs = tuple(proofs)
    mine = [proof for proof in proofs if not named or proof.name.startswith(named)]
    wrong = [proof for proof in mine if proof.passed is False]
    if wrong:
        return Answer(red=True, evidence=f"{wrong[0].name}: {wrong[0].evidence}")
    said = "; ".join(f"{proof.name}: {proof.evidence}" for proof in mine) or "no such proof was given"
    return Answer(red=False, evidence=said, made=any(proof.passed for proof in mine))


def by_judgement(proofs: Iterable[Proof], *, passed: bool) -> Answer:
    """Return the answer of a check that has to pass as a whole: what was not shown is not passed."""
    proofs = tuple(proofs)
    if passed:
        return Answer(red=False, evidence=f"{len(proofs)} proofs, none against it")
    unproven = [proof for proof in proofs if proof.passed is False]
    unproven = unproven or [proof for proof in proofs if proof.passed is None]
    said = f"{unproven[0].name}: {unproven[0].evidence}" if unproven else "a proof is missing"
    return Answer(red=True, evidence=said)


def by_error(do: Callable[[], object], *codes: str) -> Answer:
    """Return the answer of a check that refuses: red with an error of one of these codes."""
    try:
        do()
    except (BackupUnusable, Refused, Unavailable, VerificationFailed) as error:
        return Answer(red=error.code in codes, evidence=error.what)
    return Answer(red=False, evidence="it refused nothing")


@contextmanager
def steps(do: Callable[[], str], undo: Callable[[], object]) -> Iterator[str]:
    """Return a damage of two functions; it is undone too when it could not be done whole."""
    try:
        yield do()
    finally:
        undo()


@contextmanager
def together(*damages: Damage, seen: Callable[[], str] | None = None) -> Iterator[str]:
    """Return several damages as one; ``seen`` looks at what they come to together."""
    with ExitStack() as undone:
        said = [undone.enter_context(damage) for damage in damages]
        if seen is not None:
            yield seen()
        else:
            yield "; ".join(said) if all(said) else ""


def _said(error: BaseException) -> str:
    if isinstance(error, DrError):
        return error.what
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
