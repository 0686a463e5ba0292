"""What the doctor says of base backups: one that is known to be damaged is none."""

from domain.backups import Level
from tests.runbooks.conftest import BACKUP
from workflows.inspection import base_proof

DAMAGED = BACKUP.model_copy(update={"id": "20260103T000000Z-base", "verified": Level.NONE})


def test_a_shelf_of_damaged_base_backups_is_red() -> None:
    assert base_proof([BACKUP]).passed
    assert base_proof([]).passed is False
    assert base_proof([DAMAGED]).passed is False


def test_a_damaged_one_before_a_whole_one_is_named() -> None:
    proof = base_proof([DAMAGED, BACKUP])
    assert proof.passed
    assert (
        proof.evidence
        == f"newest that is whole: {BACKUP.id}, manifest; {DAMAGED.id} is not known to be whole"
    )
