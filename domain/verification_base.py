"""What a base backup recorded beside its rows, against the copy that was restored from it. Pure."""

from collections.abc import Callable, Iterable, Mapping

from domain.backups import Backup, Level
from domain.contents import Contents, SequenceState
from domain.dumps import EntryTargetOrder
from domain.recovery import FOREIGN_KEYS, Proof
from domain.stack import Check
from domain.wal import parse_lsn

_NAMED = 5
RECORDED = "contents"
"""The proof that compares with what was recorded at the backup."""
BY_RECOVERY = "a recovery: its copy was checked and compared with the record, and users worked on it"
"""What proved a backup that a real recovery brought back."""
BY_RECOVERY_ALONE = (
    "pg_verifybackup, and a recovery: its copy was checked and users worked on it;"
    " nothing was recorded to compare it with"
)
"""The same for one that was not compared: the level of its files is what it keeps."""
OrphansOf = Mapping[str, int]
"""Foreign key to its rows that lack what they refer to."""
_INDEXES = "indexes valid"
_SERVERS = "foreign keys of the server"
_DATABASE = "database "
"""Begins the proof of another database that could not be read."""


class ProveBaseOrder(EntryTargetOrder):
    """Restore one base backup; the checks of the stack file are made on the copy."""

    checks: tuple[Check, ...] = ()


def comparable(backup: Backup) -> Contents:
    """Return what was recorded at a backup; nothing when it may be younger than a copy at its end.

    That is so when the worker was killed while it took the backup, and read the rest after the end.
    """
    held = backup.contents
    if not held.at_lsn or parse_lsn(held.at_lsn) > parse_lsn(backup.stop_lsn):
        return Contents()
    return held


def recovered_level(backup: Backup) -> tuple[Level, str]:
    """Return how far a backup is proven that a real recovery brought back, and by what.

    The level ``restored`` says that it holds what was recorded at the backup. Where nothing was, users who
    work on it are evidence of another sort: it is said by what, and the level stays that of the files.
    """
    compared = bool(comparable(backup).tables)
    return (Level.RESTORED, BY_RECOVERY) if compared else (Level.MANIFEST, BY_RECOVERY_ALONE)


def compare_beside(before: Contents, now: Contents) -> tuple[Proof, ...]:
    """Compare roles, memberships and sequences; the copy is later than the record, so that none may be gone.

    What was not recorded is not shown.
    """
    return (_roles(before, now), _sequences(before, now))


def told_of_indexes(proofs: Iterable[Proof], before: Contents, now: Contents) -> list[Proof]:
    """Return the proofs with invalid indexes told, not held against the backup, where all were so then.

    Such a server gives no other backup; one that became invalid later is another matter.
    """
    so_then = bool(now.invalid) and set(now.invalid) <= set(before.invalid)
    said = f"invalid, as on the server at the backup: {', '.join(now.invalid[:_NAMED])}"
    return [
        proof.model_copy(update={"passed": None, "evidence": said})
        if proof.name == _INDEXES and proof.passed is False and so_then
        else proof
        for proof in proofs
    ]


def told_of_orphans(
    proofs: Iterable[Proof], count: Callable[[], tuple[OrphansOf, OrphansOf] | None]
) -> list[Proof]:
    """Return the proofs with orphans told, not held against the backup, where the server has them too.

    ``count`` is asked only where keys are broken, and returns the orphans of the copy and of the server.
    A copy that lost rows has more of them than the server; without the server nothing is shown either way.
    """
    told: list[Proof] = []
    for proof in proofs:
        broken = proof.name == FOREIGN_KEYS and proof.passed is False
        told += _told_of_orphans(proof, count()) if broken else [proof]
    return told


def _told_of_orphans(proof: Proof, found: tuple[OrphansOf, OrphansOf] | None) -> list[Proof]:
    if found is None:
        said = "whether the server has them too could not be asked"
        unproven = proof.model_copy(update={"passed": None, "evidence": f"{proof.evidence}; {said}"})
        return [unproven, Proof(name=_SERVERS, passed=None, evidence=said)]
    here, there = found
    more = [
        f"{key}: {rows:,} rows without what they refer to, {there.get(key, 0):,} on the server"
        for key, rows in here.items()
        if rows > there.get(key, 0)
    ]
    if more:
        return [proof.model_copy(update={"evidence": "; ".join(more[:_NAMED])})]
    if not here:
        return [proof]
    return [proof.model_copy(update={"passed": None, "evidence": f"{proof.evidence}; so has the server"})]


def lacking(proofs: Iterable[Proof]) -> str:
    """Return which proof a restored base backup lacks, or nothing: it has to hold what was recorded.

    A recovery may rely on less, for want of anything better; a backup that counts as proven may not. Nor
    may one of whose databases nobody could look into, or whose orphans may be its own.
    """
    known = {proof.name: proof.passed for proof in proofs}
    if not known.get(RECORDED):
        return RECORDED
    if _SERVERS in known:
        return _SERVERS
    return next((name for name, passed in known.items() if name.startswith(_DATABASE) and not passed), "")


def _roles(before: Contents, now: Contents) -> Proof:
    if not before.roles:
        return Proof(name="roles", passed=None, evidence="no role was recorded at the backup")
    gone = [f"role {name} is missing" for name in before.roles if name not in now.roles]
    gone += [f"{member} is missing" for member in before.memberships if member not in now.memberships]
    said = f"{len(before.roles)} roles and {len(before.memberships)} memberships are there"
    return Proof(name="roles", passed=not gone, evidence="; ".join(gone[:_NAMED]) or said)


def _sequences(before: Contents, now: Contents) -> Proof:
    if not before.sequences:
        return Proof(name="sequences", passed=None, evidence="no sequence was recorded at the backup")
    there = {sequence.name: sequence for sequence in now.sequences}
    wrong = [
        f"{then.name} {said}" for then in before.sequences if (said := _behind(then, there.get(then.name)))
    ]
    said = f"{len(before.sequences)} sequences, none stands behind where it stood"
    return Proof(name="sequences", passed=not wrong, evidence="; ".join(wrong[:_NAMED]) or said)


def _behind(then: SequenceState, now: SequenceState | None) -> str:
    if now is None:
        return "is missing"
    if then.covers and now.covers is False:
        return "stands before the greatest value in its table"
    if then.rising and then.last_value is not None and (now.last_value or 0) < then.last_value:
        return f"stands at {now.last_value}, it stood at {then.last_value}"
    return ""
