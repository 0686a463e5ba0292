"""Which WAL can go: never what a kept base backup may need."""

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.backup_policy import BackupPolicy
from domain.backups import Level
from domain.retention import plan_retention
from domain.retention_plan import Held, RetentionPlan
from domain.wal import SEGMENT_BYTES, Archive, follow_chain, format_lsn, segment_name
from domain.wal_retention import Segment, judged, needs, rule_wal

AS_OF = datetime(2026, 11, 22, 7, 30, tzinfo=UTC)
DAY = timedelta(days=1)
POLICY = BackupPolicy()


def name(number: int, timeline: int = 1) -> str:
    return segment_name(timeline, number * SEGMENT_BYTES)


def segment(number: int, *, timeline: int = 1, days: float = 30, directory: str = "w") -> Segment:
    return Segment(directory, name(number, timeline), SEGMENT_BYTES, AS_OF - days * DAY)


def base(number: int, *, start: int, timeline: int = 1, days: float = 1) -> Held:
    at = AS_OF - days * DAY
    return Held(
        id=f"{number:04}-base",
        store="postgres",
        kind="base",
        ended_at=at,
        verified=Level.MANIFEST,
        start_segment=name(start, timeline),
    )


def plan(held: list[Held], segments: list[Segment]) -> RetentionPlan:
    return plan_retention(held, segments, POLICY, as_of=AS_OF)


def left_of(held: list[Held], segments: list[Segment]) -> set[str]:
    """Return the names of the segments that a plan leaves."""
    staying = {one.id for one in plan(held, segments).staying}
    bases = {one.id: one.start_segment for one in held if one.id in staying}
    return {
        one.name for one, stays in judged(segments, bases, before=AS_OF - 7 * DAY, kept_for="7 d") if stays
    }


@st.composite
def archives(draw: st.DrawFn) -> tuple[list[Held], list[Segment], dict[int, tuple[tuple[int, int], ...]]]:
    """Draw a tree of timelines with all its WAL, and base backups anywhere on it."""
    length = draw(st.integers(3, 12))
    histories: dict[int, tuple[tuple[int, int], ...]] = {}
    begins = {1: 0}
    for timeline in range(2, draw(st.integers(1, 4)) + 1):
        parent = draw(st.integers(1, timeline - 1))
        fork = draw(st.integers(begins[parent], begins[parent] + length - 1))
        histories[timeline] = (*histories.get(parent, ()), (parent, fork * SEGMENT_BYTES + 4096))
        begins[timeline] = fork
    segments = [
        segment(
            number,
            timeline=timeline,
            days=draw(st.sampled_from([0.5, 6.9, 7.1, 30, 400])),
            directory=f"w{draw(st.integers(1, 2))}",
        )
        for timeline, begin in begins.items()
        for number in range(begin, begin + length)
    ]
    held = []
    for number in range(draw(st.integers(0, 5))):
        on = draw(st.sampled_from(sorted(begins)))
        start = draw(st.integers(begins[on], begins[on] + length - 1))
        days = draw(st.sampled_from([0.5, 6, 8, 40]))
        held.append(base(number, start=start, timeline=on, days=days))
    return held, segments, histories


@settings(max_examples=150, deadline=None)
@given(archives())
def test_every_kept_base_backup_reaches_every_timeline_that_it_reached_before(
    drawn: tuple[list[Held], list[Segment], dict[int, tuple[tuple[int, int], ...]]],
) -> None:
    held, segments, histories = drawn
    before, after = {one.name for one in segments}, left_of(held, segments)
    staying = {one.id for one in plan(held, segments).staying}
    for one in (one for one in held if one.id in staying):
        timeline = int(one.start_segment[:8], 16)
        stop = format_lsn((int(one.start_segment[16:], 16)) * SEGMENT_BYTES + 4000)
        for reached in (timeline, *histories):
            chains = [
                follow_chain(
                    Archive(names, (), histories), start=one.start_segment, stop_lsn=stop, timeline=reached
                )
                for names in (before, after)
            ]
            assert chains[1].whole or not chains[0].whole, chains[1].problem
            assert not chains[0].whole or chains[0].last == chains[1].last


@settings(deadline=None)
@given(archives())
def test_wal_that_is_young_stays_and_so_does_the_newest_of_each_receiver(
    drawn: tuple[list[Held], list[Segment], dict[int, tuple[tuple[int, int], ...]]],
) -> None:
    held, segments, _ = drawn
    left = left_of(held, segments)
    assert {one.name for one in segments if AS_OF - one.at <= 7 * DAY} <= left
    for directory in {one.directory for one in segments}:
        assert max(one.name for one in segments if one.directory == directory) in left


@settings(deadline=None)
@given(archives())
def test_ranges_hold_every_segment_once_with_its_bytes(
    drawn: tuple[list[Held], list[Segment], dict[int, tuple[tuple[int, int], ...]]],
) -> None:
    held, segments, _ = drawn
    made = plan(held, segments)
    ranges = (*made.wal_going, *made.wal_staying)
    assert sum(one.segments for one in ranges) == len(segments)
    assert sum(one.bytes for one in ranges) == len(segments) * SEGMENT_BYTES
    assert sum(one.segments for one in made.wal_staying) == len(left_of(held, segments))


def test_without_any_base_backup_no_wal_goes() -> None:
    made = plan([], [segment(number) for number in range(20)])
    assert not made.wal_going
    assert "without one it is all there is" in made.wal_staying[0].reason


def test_wal_of_before_the_oldest_kept_base_backup_goes_when_it_is_old() -> None:
    held = [base(1, start=4, days=40), base(2, start=8, days=3), base(3, start=12)]
    made = plan(held, [segment(number, days=30 - number) for number in range(14)])
    assert [one.id for one in made.going] == ["0001-base"]
    (going,) = made.wal_going
    assert (going.first, going.last, going.segments) == (name(0), name(7), 8)
    assert going.reason == "older than 7 d, and no kept base backup needs it"
    assert made.wal_staying[0].reason == "base backup 0002-base needs it"


def test_wal_of_a_younger_timeline_stays_for_a_base_backup_of_an_older_one() -> None:
    assert needs(name(5), name(5))
    assert needs(name(5), name(9, timeline=3))
    assert not needs(name(5), name(4))
    assert not needs(name(5), name(4, timeline=3))
    assert not needs(name(5, timeline=2), name(9))


def test_a_base_backup_that_does_not_say_where_its_wal_begins_may_need_all_of_it() -> None:
    held = [base(1, start=9).model_copy(update={"start_segment": ""})]
    assert not plan(held, [segment(number) for number in range(9)]).wal_going


def test_ten_thousand_segments_are_a_handful_of_ranges() -> None:
    held = {"0001-base": name(3000)}
    made = rule_wal(
        [segment(number) for number in range(10_000)], held, before=AS_OF - 7 * DAY, kept_for="7 d"
    )
    assert [(one.goes, one.segments) for one in made] == [(True, 3000), (False, 7000)]
