"""What goes and what stays."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.backup_policy import BackupPolicy
from domain.backups import Level
from domain.retention import believed, plan_retention, rules, spoken_age
from domain.retention_plan import LISTED, Held, RetentionPlan
from domain.wal import SEGMENT_BYTES, segment_name
from domain.wal_retention import Segment
from tests.faults.record import Seen

AS_OF = datetime(2026, 11, 22, 7, 30, tzinfo=UTC)
POLICY = BackupPolicy()
DAY = timedelta(days=1)
PLACES = [*rules(POLICY), ("postgres", "stranger")]


def backup(
    number: int,
    *,
    days: float,
    place: tuple[str, str] = ("postgres", "base"),
    verified: Level = Level.MANIFEST,
    start: int = 0,
    made: float | None = None,
) -> Held:
    """Return a backup that was due so many days ago, and made then unless ``made`` says otherwise."""
    due = AS_OF - days * DAY
    return Held(
        id=f"{number:04}-{place[1]}",
        store=place[0],
        kind=place[1],
        ended_at=due if made is None else AS_OF - made * DAY,
        scheduled_for=due,
        bytes=10,
        verified=verified,
        start_segment=segment_name(1, start * SEGMENT_BYTES) if place == ("postgres", "base") else "",
    )


def plan(held: Sequence[Held], segments: Sequence[Segment] = (), paused: str = "") -> RetentionPlan:
    return plan_retention(held, segments, POLICY, as_of=AS_OF, paused_because=paused)


def gone(made: RetentionPlan) -> set[str]:
    return {one.id for one in made.going}


def why(made: RetentionPlan) -> dict[str, str]:
    return {one.id: one.reason for one in (*made.going, *made.staying)}


@st.composite
def shelves(draw: st.DrawFn) -> list[Held]:
    """Draw a shelf of backups of all kinds, of any age and level, some made later than they were due."""
    return [
        backup(
            number,
            days=draw(st.floats(-5, 120).map(lambda days: round(days, 2))),
            place=draw(st.sampled_from(PLACES)),
            verified=draw(st.sampled_from(Level)),
            made=draw(st.none() | st.floats(-5, 120).map(lambda days: round(days, 2))),
        )
        for number in range(draw(st.integers(0, 20)))
    ]


@settings(deadline=None)
@given(shelves())
def test_every_backup_is_ruled_on_exactly_once_and_nothing_else_is(held: list[Held]) -> None:
    made = plan(held)
    assert sorted(one.id for one in (*made.going, *made.staying)) == sorted(one.id for one in held)
    assert all(one.reason for one in (*made.going, *made.staying))
    assert made.bytes_going == 10 * len(made.going)


@settings(deadline=None)
@given(shelves())
def test_nothing_younger_than_the_policy_goes(held: list[Held]) -> None:
    going = gone(plan(held))
    held = [believed(one, AS_OF) for one in held]
    for one in held:
        rule = rules(POLICY).get(one.place)
        if isinstance(rule, timedelta) and AS_OF - one.age_key[0] <= rule:
            assert one.id not in going
        if isinstance(rule, int):
            younger = [o for o in held if o.place == one.place and o.age_key > one.age_key]
            assert (one.id in going) <= (len(younger) >= rule)


@settings(deadline=None)
@given(shelves())
def test_the_last_one_the_last_verified_and_the_last_restored_of_a_kind_stay(held: list[Held]) -> None:
    going = gone(plan(held))
    for place in PLACES:
        alike = sorted((o for o in held if o.place == place), key=lambda o: (o.ended_at, o.id))
        verified = [one for one in alike if one.verified is not Level.NONE]
        restored = [one for one in alike if one.verified is Level.RESTORED]
        lasting = {some[-1].id for some in (alike, verified, restored) if some}
        assert not lasting & going


@settings(deadline=None)
@given(shelves())
def test_what_stays_stays_when_it_is_judged_again(held: list[Held]) -> None:
    going = gone(plan(held))
    assert not gone(plan([one for one in held if one.id not in going]))


@settings(deadline=None)
@given(shelves(), st.floats(0, 4000))
def test_a_clock_that_is_ahead_empties_no_shelf(held: list[Held], days: float) -> None:
    made = plan_retention(held, (), POLICY, as_of=AS_OF + days * DAY)
    left = {(one.store, one.kind) for one in made.staying}
    assert left == {one.place for one in held}


@settings(deadline=None)
@given(shelves())
def test_a_kind_without_a_rule_stays(held: list[Held]) -> None:
    assert all((one.store, one.kind) != ("postgres", "stranger") for one in plan(held).going)


@settings(deadline=None)
@given(shelves())
def test_while_a_recovery_is_open_nothing_goes_and_the_plan_says_why(held: list[Held]) -> None:
    segments = [Segment("w", segment_name(1, 0), SEGMENT_BYTES, AS_OF - 300 * DAY)]
    made = plan(held, segments, paused="recovery X is open")
    assert not made.going
    assert not made.wal_going
    assert made.bytes_going == 0
    assert made.paused_because == "recovery X is open"
    assert "recovery X is open" in made.sentence


@pytest.mark.fault("C9")
def test_the_only_good_backup_survives_a_clock_that_is_a_year_ahead(seen: Seen) -> None:
    """F-C9: retention with a later clock, while the younger backups are damaged."""
    held = [
        backup(1, days=3, verified=Level.RESTORED),
        backup(2, days=2, verified=Level.NONE),
        backup(3, days=1, verified=Level.NONE),
    ]
    made = plan_retention(held, (), POLICY, as_of=AS_OF + 365 * DAY)
    assert gone(made) == {"0002-base"}
    seen(why(made)["0001-base"])
    assert "the last one that was restored" in why(made)["0001-base"]
    assert "the last one of its kind" in why(made)["0003-base"]


def test_the_policy_of_the_runbook_on_three_months_of_backups() -> None:
    daily = [backup(n, days=n + 0.2, place=("postgres", "daily")) for n in range(90)]
    weekly = [backup(n, days=7 * n + 0.2, place=("postgres", "weekly")) for n in range(13)]
    hourly = [backup(n, days=n / 24, place=("redis", "rdb")) for n in range(200)]
    search = [backup(n, days=n, place=("meilisearch", "dump")) for n in range(9)]
    bases = [backup(n, days=n + 0.2) for n in range(90)]
    made = plan([*daily, *weekly, *hourly, *search, *bases])
    left = dict.fromkeys(PLACES, 0)
    for one in made.staying:
        left[(one.store, one.kind)] += 1
    assert left["postgres", "base"] == 7
    assert left["postgres", "daily"] == 30
    assert left["postgres", "weekly"] == 12
    assert left["redis", "rdb"] == 7
    assert left["meilisearch", "dump"] == 5
    assert why(made)["0089-daily"] == "it is older than 30 d: 89 d"
    assert why(made)["0008-rdb"] == "8 newer ones are there, and 7 are kept"


def test_an_empty_shelf_loses_nothing() -> None:
    made = plan([])
    assert (made.going, made.staying, made.wal_going) == ((), (), ())
    assert made.sentence == "Nothing is there that the policy does not keep"


def test_age_is_counted_from_the_time_it_was_scheduled_for() -> None:
    late = backup(1, days=8, made=0.1)
    newer = backup(2, days=0.1, made=0.05)
    assert gone(plan([late, newer])) == {"0001-base"}
    by_hand = late.model_copy(update={"scheduled_for": None})
    assert not gone(plan([by_hand, newer]))


def test_backups_that_were_typed_to_be_due_in_years_push_out_no_later_ones() -> None:
    typed = [backup(n, days=-20_000, made=9 - n, place=("redis", "rdb")) for n in range(9)]
    later = backup(9, days=0.01, place=("redis", "rdb"))
    assert gone(plan([*typed, later])) == {"0000-rdb", "0001-rdb", "0002-rdb"}
    old = backup(1, days=-20_000, made=31, place=("postgres", "daily"))
    newer = backup(2, days=1, place=("postgres", "daily"))
    assert gone(plan([old, newer])) == {"0001-daily"}


def test_a_plan_is_shortened_to_what_a_history_takes_and_says_how_much_more_there_is() -> None:
    made = plan([backup(n, days=n / 24, place=("redis", "aof")) for n in range(9000)])
    short = made.shortened()
    assert (len(short.going), len(short.staying)) == (LISTED, 7)
    assert short.unlisted == len(made.going) - LISTED
    assert (short.sentence, short.bytes_going) == (made.sentence, made.bytes_going)
    assert len(short.model_dump_json()) < 100_000


def test_long_times_are_said_as_the_stack_file_writes_them() -> None:
    assert [spoken_age(timedelta(hours=h)) for h in (168, 36, 0.5)] == ["7 d", "36 h", "0.5 h"]


def test_a_newer_backup_of_another_server_does_not_make_the_last_proven_one_of_ours_go() -> None:
    ours = backup(1, days=20, verified=Level.RESTORED).model_copy(update={"system": "ours"})
    older = backup(2, days=30).model_copy(update={"system": "ours"})
    theirs = backup(3, days=1, verified=Level.RESTORED).model_copy(update={"system": "theirs"})
    assert gone(plan([ours, older, theirs])) == {older.id}
