"""What a restored store held is compared with what was recorded at its backup."""

from datetime import UTC, datetime, timedelta

import pytest

from domain.holdings import MOVING, Holding, Sample, compare_holdings

KEYS = Holding(name="db0", count=2, samples=(Sample(name="a", digest="1"), Sample(name="b", digest="2")))


def _passed(recorded: list[Holding], seen: list[Holding]) -> list[bool | None]:
    return [proof.passed for proof in compare_holdings(recorded, seen)]


def test_a_copy_that_holds_the_same_passes() -> None:
    assert _passed([KEYS], [KEYS]) == [True]


@pytest.mark.parametrize(
    "seen",
    [
        KEYS.model_copy(update={"count": 1}),
        KEYS.model_copy(update={"samples": KEYS.samples[:1]}),
        KEYS.model_copy(update={"samples": (KEYS.samples[0], Sample(name="b", digest="3"))}),
        KEYS.model_copy(update={"digest": "whole"}),
    ],
)
def test_fewer_things_other_samples_and_another_digest_fail(seen: Holding) -> None:
    assert _passed([KEYS], [seen]) == [False]


def test_groups_that_are_missing_and_groups_that_are_new_fail() -> None:
    other = Holding(name="db1", count=1)
    assert _passed([KEYS, other], [KEYS]) == [True, False]
    assert _passed([KEYS], [KEYS, other]) == [True, False]


def test_nothing_recorded_proves_nothing() -> None:
    assert _passed([], []) == [None]
    assert _passed([], [KEYS]) == [None]
    assert _passed([Holding(name="db0", count=0)], [Holding(name="db0", count=0)]) == [None]


def test_of_an_empty_store_it_is_said_that_it_was_empty_and_what_to_do_where_that_is_meant() -> None:
    empty = [Holding(name="db0", count=0)]
    (proof,) = compare_holdings(empty, empty)
    assert proof.evidence.startswith("nothing was in the store at the backup, so nothing can be compared")
    assert "is it meant to be empty, make its job null" in proof.evidence
    (unsaid,) = compare_holdings([], [])
    assert unsaid.evidence.startswith("nothing was recorded at the backup, or nothing was in the store")


def test_how_closely_a_group_was_looked_at_is_said() -> None:
    whole, counted = (
        KEYS.model_copy(update={"digest": "d"}),
        Holding(name="db0, with a time to live", count=3),
    )
    said = [proof.evidence for proof in compare_holdings([KEYS, counted], [KEYS, counted])]
    assert said == [
        "2 of 2 there, 2 samples the same",
        "3 of 3 there, counted alone: nothing was recorded of what is in it",
    ]
    assert compare_holdings([whole], [whole])[0].evidence == "2 of 2 there, digest of all the same"


def test_what_the_store_gives_up_by_itself_is_compared_until_then_and_counted_afterwards() -> None:
    ends = datetime(2026, 11, 22, 12, tzinfo=UTC)
    before = Holding(
        name="db0",
        count=2,
        samples=(
            Sample(name="short", digest="1", expires_at=ends),
            Sample(name="long", digest="2", expires_at=ends + timedelta(days=1)),
        ),
    )
    gone = before.model_copy(update={"samples": before.samples[1:]})
    other = before.model_copy(update={"samples": (before.samples[0], Sample(name="long", digest="3"))})
    early, late = ends - timedelta(seconds=1), ends
    for seen, at, passed in (
        (before, early, True),
        (gone, early, False),
        (gone, late, True),
        (other, late, False),
        (gone.model_copy(update={"count": 1}), late, False),
        (gone, None, False),
    ):
        assert compare_holdings([before], [seen], at=at)[0].passed is passed, (seen, at)
    said = compare_holdings([before], [gone], at=late)[0].evidence
    assert said == "2 of 2 there, 1 samples the same, 1 counted alone: they have expired since"


def test_an_empty_copy_fails() -> None:
    assert _passed([KEYS], []) == [False]
    assert _passed([KEYS], [Holding(name="db0", count=0)]) == [False]


def test_a_group_that_was_written_anew_during_the_backup_is_not_proven_by_nothing() -> None:
    moving, empty = Holding(name=f"notes{MOVING}", count=0), Holding(name="drafts", count=0)
    assert _passed([KEYS, moving, empty], [KEYS, moving, empty]) == [True, True, None]
