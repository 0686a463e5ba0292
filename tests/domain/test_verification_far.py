"""What the far side must hold for a verification to pass."""

from datetime import UTC, datetime, timedelta
from typing import Any

from domain.offsite_copies import FarEntry
from domain.offsite_look import OffsiteList
from domain.verification_far import far_pick, look_far
from tests.domain.test_verification import entry

NOW = datetime(2026, 11, 22, 6, 0, tzinfo=UTC)
DAY = timedelta(hours=30)


def far(kind: str = "daily", age: timedelta = timedelta(hours=1), **other: Any) -> FarEntry:
    values: dict[str, Any] = {
        "id": f"{NOW - age:%Y%m%dT%H%M%SZ}-{kind}",
        "store": "postgres",
        "kind": kind,
        "bytes": 10,
        "objects": 2,
        "finished": True,
        "copied_at": NOW - age,
        "checked": True,
    }
    return FarEntry.model_validate(values | other)


def said(
    *found: FarEntry, within: timedelta | None = DAY, age: timedelta = timedelta(days=2)
) -> list[bool | None]:
    entries = [entry("postgres", "daily", NOW - age)]
    looked = look_far(OffsiteList(entries=found), entries, within=within, as_of=NOW)
    return [check.passed for check in looked]


def test_whole_and_fresh_copies_are_fine() -> None:
    assert said(far()) == [True, True]


def test_no_copy_at_all_and_one_that_was_never_finished_are_none() -> None:
    assert said() == [False]
    assert said(far(finished=False)) == [False]


def test_copies_that_stopped_arriving_are_noticed() -> None:
    assert said(far(age=timedelta(days=2))) == [False, True]


def test_a_copy_that_is_not_as_its_manifest_says_or_was_not_compared_does_not_pass() -> None:
    assert said(far(checked=False)) == [True, False]
    assert said(far(checked=None)) == [True, None]


def test_a_kind_that_never_left_is_missed_unless_it_is_younger_than_the_last_copying() -> None:
    assert said(far("base")) == [True, False]
    assert said(far("base"), age=timedelta(hours=1)) == [True, True]


def test_a_kind_of_which_nothing_new_arrives_is_missed_however_fresh_the_others_are() -> None:
    old = far(age=timedelta(days=20))
    assert said(old, far("base")) == [True, False]
    assert said(old, far("base"), age=timedelta(hours=1)) == [True, True], "the next copying takes it along"
    assert said(old, far("base"), within=None) == [True, True], "none is scheduled, so none is due"


def test_a_base_backup_whose_wal_does_not_follow_fails_and_one_that_was_not_followed_shows_nothing() -> None:
    held = [entry("postgres", "base", NOW - timedelta(days=2))]

    def of_base(**other: Any) -> tuple[bool | None, str]:
        listed = OffsiteList(entries=(far("base", **other),))
        (check,) = [one for one in look_far(listed, held, within=DAY, as_of=NOW) if one.kind == "base"]
        return check.passed, check.evidence

    assert of_base(follows=True, wal="4 segments") == (
        True,
        "every object of its manifest is there, of its size, 4 segments",
    )
    passed, said = of_base(follows=False, wal="000000010000000000000005 missing")
    assert passed is False
    assert said.endswith("does not follow it: 000000010000000000000005 missing")
    assert of_base(follows=None, wal="no key")[0] is None
    assert of_base(follows=True, checked=False)[0] is False


def test_a_key_that_older_copies_need_is_missed() -> None:
    listed = OffsiteList(entries=(far(),), unopened=("redis X cannot be opened here: key K is gone",))
    looked = look_far(listed, [entry("postgres", "daily", NOW)], within=DAY, as_of=NOW)
    assert [one.evidence for one in looked if one.passed is False] == [*listed.unopened]


def test_a_copy_in_an_archive_class_is_not_fetched() -> None:
    old = far(age=timedelta(days=100))
    assert far_pick(OffsiteList(entries=(old,)), 0, as_of=NOW) is None
    near = far()
    assert far_pick(OffsiteList(entries=(old, near)), 5, as_of=NOW) == near
