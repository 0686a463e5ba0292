"""Positions and chains of WAL."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.wal import (
    SEGMENT_BYTES,
    Archive,
    Chain,
    follow_chain,
    format_lsn,
    history_of,
    is_segment,
    parse_history,
    parse_lsn,
    position_of,
    segment_name,
    spoken_gaps,
    timeline_of,
)

pytestmark = pytest.mark.unit

MB = 1024 * 1024
positions = st.integers(min_value=0, max_value=2**64 - 1)
sizes = st.sampled_from([MB, 16 * MB, 64 * MB, 1024 * MB])


def segments(timeline: int, numbers: range) -> set[str]:
    return {segment_name(timeline, number * SEGMENT_BYTES) for number in numbers}


def chain(archive: Archive, start: int = 3, *, of: int = 1, on: int = 1, stop: int | None = None) -> Chain:
    position = start * SEGMENT_BYTES
    ended = format_lsn(position + 500 if stop is None else stop)
    return follow_chain(archive, start=segment_name(of, position), stop_lsn=ended, timeline=on)


@given(positions)
def test_an_lsn_survives_being_written_and_read(position: int) -> None:
    assert parse_lsn(format_lsn(position)) == position


@pytest.mark.parametrize("text", ["", "0", "1/", "/1", "1/2/3", "123456789/0", "x/y", "1/-2"])
def test_what_is_no_lsn_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an LSN"):
        parse_lsn(text)


@given(st.integers(1, 2**31), positions, sizes)
def test_a_segment_name_gives_back_its_timeline_and_where_it_begins(
    timeline: int, position: int, size: int
) -> None:
    name = segment_name(timeline, position, size)
    assert is_segment(name)
    assert timeline_of(name) == timeline
    assert position_of(name, size) == position - position % size


def test_names_that_are_no_closed_segment_are_told_apart() -> None:
    name = segment_name(1, 0)
    for other in (
        f"{name}.partial",
        f"{name}.00000028.backup",
        "00000002.history",
        name.lower()[:-1] + "g",
        "",
    ):
        assert not is_segment(other)
    assert history_of("0000000A.history") == 10
    assert history_of(name) is None


def test_a_history_file_names_its_ancestors_eldest_first() -> None:
    text = "1\t0/A000060\tno recovery target specified\n\n# remark\n2\t0/14000000\tbefore x\n"
    assert parse_history(text) == ((1, parse_lsn("0/A000060")), (2, parse_lsn("0/14000000")))
    with pytest.raises(ValueError, match="LSN"):
        parse_history("1\n")


def test_a_chain_without_a_gap_reaches_the_newest_segment() -> None:
    found = chain(Archive(segments(1, range(1, 9))))
    assert found == Chain(last=segment_name(1, 8 * SEGMENT_BYTES), segments=6)
    assert found.whole


def test_the_unfinished_segment_at_the_end_counts_and_one_in_the_middle_is_a_gap() -> None:
    last = segment_name(1, 9 * SEGMENT_BYTES)
    assert chain(Archive(segments(1, range(3, 9)), {last})).last == last
    middle = segment_name(1, 5 * SEGMENT_BYTES)
    found = chain(Archive(segments(1, range(3, 9)) - {middle}, {middle}))
    assert found.missing == (middle,)
    assert middle in found.problem


def test_an_unfinished_segment_behind_a_gap_shows_the_gap() -> None:
    found = chain(Archive(segments(1, range(3, 6)), {segment_name(1, 8 * SEGMENT_BYTES)}))
    assert found.missing == tuple(sorted(segments(1, range(6, 8))))


def test_without_any_archive_the_segments_of_the_backup_itself_are_enough() -> None:
    assert chain(Archive(segments(1, range(3, 4)))).whole
    assert not chain(Archive(())).whole
    assert chain(Archive(segments(1, range(3, 4))), stop=4 * SEGMENT_BYTES).whole
    assert chain(Archive(segments(1, range(3, 4))), stop=4 * SEGMENT_BYTES + 9).missing


@given(st.sets(st.integers(0, 40)), st.integers(0, 40))
def test_a_chain_is_whole_exactly_when_no_number_is_missing(numbers: set[int], start: int) -> None:
    held = {segment_name(1, number * SEGMENT_BYTES) for number in numbers}
    found = chain(Archive(held), start)
    reach = max((number for number in numbers if number >= start), default=start)
    absent = [number for number in range(start, reach + 1) if number not in numbers]
    assert found.missing == tuple(segment_name(1, number * SEGMENT_BYTES) for number in absent)
    assert found.whole is not bool(absent)


def test_a_switch_of_the_timeline_is_followed_by_its_history() -> None:
    fork = 6 * SEGMENT_BYTES + 4711
    history = {2: ((1, fork),)}
    old, new = segments(1, range(3, 6)), segments(2, range(6, 9))
    found = chain(Archive(old | new, (), history), on=2)
    assert found.whole
    assert found.segments == 6
    lost = segment_name(2, 6 * SEGMENT_BYTES)
    # The old timeline's own version of the forked segment does not replace the new one's.
    kept = segment_name(1, 6 * SEGMENT_BYTES)
    assert chain(Archive((old | new | {kept}) - {lost}, (), history), on=2).missing == (lost,)
    assert chain(Archive((old | new) - {segment_name(1, 5 * SEGMENT_BYTES)}, (), history), on=2).missing
    assert chain(Archive(old, (), history), on=2).missing == (lost,)


def test_two_switches_are_followed() -> None:
    history = {3: ((1, 5 * SEGMENT_BYTES + 1), (2, 7 * SEGMENT_BYTES + 1))}
    held = segments(1, range(3, 5)) | segments(2, range(5, 7)) | segments(3, range(7, 9))
    assert chain(Archive(held, (), history), on=3).whole
    assert chain(Archive(held, (), history), 5, of=2, on=3).whole


def test_a_backup_from_a_branch_that_was_left_cannot_be_rolled_forward() -> None:
    history = {2: ((1, 6 * SEGMENT_BYTES),), 3: ((1, 2 * SEGMENT_BYTES),)}
    archive = Archive(segments(1, range(3, 9)) | segments(2, range(6, 9)), (), history)
    after = chain(archive, 7, on=2)
    assert "after timeline 1 had been left" in after.problem
    assert after.astray
    assert "not an ancestor" in chain(archive, 7, of=2, on=3).problem
    assert chain(archive, 7, of=2, on=3).astray, "no WAL is missing"
    assert "00000004.history is missing" in chain(archive, on=4).problem
    assert not chain(archive, on=4).astray, "its history is"


def test_gaps_are_said_as_ranges_and_only_the_first_few() -> None:
    said = spoken_gaps(segments(1, range(254, 258)) | segments(1, range(300, 301)))
    assert said == (
        "0000000100000000000000FE to 000000010000000100000001 (4 segments), 00000001000000010000002C"
    )
    many = spoken_gaps({segment_name(1, number * SEGMENT_BYTES) for number in range(0, 20, 2)})
    assert many.endswith("and 7 more gaps")
