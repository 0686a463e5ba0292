"""What a restored base backup has to have shown before it counts as proven."""

import pytest

from domain.contents import Contents
from domain.recovery import Proof
from domain.verification_base import lacking, told_of_indexes

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


def test_an_index_is_told_of_only_where_it_was_invalid_at_the_backup_too() -> None:
    failed = [Proof(name="indexes valid", passed=False, evidence="invalid: a"), *proofs()]
    then, now = Contents(invalid=("a", "b")), Contents(invalid=("a",))
    told = told_of_indexes(failed, then, now)
    assert [one.passed for one in told if one.name == "indexes valid"] == [None]
    assert told[1:] == failed[1:]
    for before, after in ((Contents(), now), (now, then), (then, Contents())):
        assert told_of_indexes(failed, before, after) == failed
