"""What a restored base backup has to have shown before it counts as proven."""

import pytest

from domain.recovery import Proof
from domain.verification_base import lacking

SHOWN = ("amcheck", "full read", "rows observed", "contents", "roles")


def proofs(**other: bool | None) -> list[Proof]:
    passed = dict.fromkeys(SHOWN, True) | {name.replace("_", " "): value for name, value in other.items()}
    return [Proof(name=name, passed=value, evidence="seen") for name, value in passed.items()]


def test_one_that_holds_what_was_recorded_lacks_nothing() -> None:
    assert lacking(proofs()) == ""
    assert lacking(proofs(roles=None, sequences=None, amcheck_spare=True)) == ""


@pytest.mark.parametrize("passed", [False, None])
def test_without_the_comparison_with_its_record_none_is_proven(passed: bool | None) -> None:  # noqa: FBT001 - one of a table
    assert lacking(proofs(contents=passed)) == "contents"
    assert lacking([one for one in proofs() if one.name != "contents"]) == "contents"


def test_another_database_that_nobody_could_read_is_one_that_was_not_proven() -> None:
    assert lacking(proofs(database_spare=None)) == "database spare"
