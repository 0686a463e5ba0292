"""What the proofs by restore share: room is looked for first, and one sentence says what was shown."""

import shutil

from activities.postgres.dump_jobs import no_room
from domain.backups import spoken_bytes
from domain.dumps import RestoreProven
from domain.entries import Entry, bare
from domain.order import Target
from domain.recovery import Proof


def refuse_without_room(target: Target, backup_id: str, needed: int) -> None:
    """Refuse where the restored copy might fill the disk on which the server's own volume is."""
    room = shutil.disk_usage(target.postgres.volumes_root).free
    if room < needed:
        said = f"no room to restore {backup_id}: {spoken_bytes(needed)} needed, {spoken_bytes(room)} free"
        raise no_room(said, target.postgres.volumes_root)


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
