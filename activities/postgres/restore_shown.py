"""What the proofs by restore share: one sentence says what was shown."""

from domain.dumps import RestoreProven
from domain.entries import Entry, bare
from domain.recovery import Proof


def shown(what: str, entry: Entry, proofs: tuple[Proof, ...], *, well: bool, seconds: float) -> RestoreProven:
    """Return what a restore of ``what`` (``Dump``, ``Base backup``) showed."""
    unproven = [proof for proof in proofs if proof.passed is False]
    unproven = unproven or [proof for proof in proofs if proof.passed is None]
    if well:
        said = f"{what} {entry.id} was restored in {seconds:.1f} s and holds what was recorded"
    elif unproven:
        said = f"{what} {entry.id} is not proven: {unproven[0].name}: {unproven[0].evidence}"
    else:
        said = f"{what} {entry.id} is not proven: a check is missing"
    return RestoreProven(entry=bare(entry), passed=well, proofs=proofs, sentence=said)
