"""Five fields, and the times they mean."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.calendars import Calendar, parse_calendar, spans

ALL_HOURS, ALL_DAYS = tuple(range(24)), tuple(range(1, 32))
ALL_MONTHS, ALL_WEEKDAYS = tuple(range(1, 13)), tuple(range(7))


def a_field(first: int, last: int) -> st.SearchStrategy[str]:
    number = st.integers(first, last)
    span = st.tuples(number, number).map(lambda pair: f"{min(pair)}-{max(pair)}")
    plain = st.one_of(number.map(str), span, st.just("*"))
    stepped = st.tuples(plain, st.integers(1, 99)).map(lambda pair: f"{pair[0]}/{pair[1]}")
    return st.lists(st.one_of(plain, stepped), min_size=1, max_size=4).map(",".join)


@settings(deadline=None)
@given(a_field(0, 59), a_field(0, 23), a_field(1, 12), a_field(0, 6))
def test_a_calendar_said_again_in_its_own_words_means_the_same(
    minute: str, hour: str, month: str, weekday: str
) -> None:
    meant = parse_calendar(f"{minute} {hour} * {month} {weekday}")
    assert parse_calendar(str(meant)) == meant
    for values, most in ((meant.minute, 59), (meant.hour, 23), (meant.month, 12), (meant.day_of_week, 6)):
        assert values == tuple(sorted(set(values)))
        assert values[-1] <= most


def test_the_usual_ways_to_write_a_time_are_understood() -> None:
    assert parse_calendar("0 3 * * 0") == Calendar((0,), (3,), ALL_DAYS, ALL_MONTHS, (0,))
    assert parse_calendar("0 3 * * SUN") == parse_calendar("0 3 * * 7") == parse_calendar("0 3 * * 0")
    assert parse_calendar("*/20 * * * *").minute == (0, 20, 40)
    assert parse_calendar("5/20 * * * *").minute == (5, 25, 45)
    assert parse_calendar("0 9-17/4,22 * * mon-fri").hour == (9, 13, 17, 22)
    assert parse_calendar("0 0 1 jan *") == Calendar((0,), (0,), (1,), (1,), ALL_WEEKDAYS)
    assert parse_calendar("  0   2 * * * ").hour == (2,)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "five fields"),
        ("0 2 * *", "five fields"),
        ("0 0 2 * * *", "five fields"),
        ("@daily", "five fields"),
        ("60 2 * * *", "minute"),
        ("0 24 * * *", "hour"),
        ("0 -1 * * *", "hour"),
        ("0 2 0 * *", "day of month"),
        ("0 2 32 * *", "day of month"),
        ("0 2 * 13 *", "month"),
        ("0 2 * * 8", "day of week"),
        ("0 2 * * funday", "day of week"),
        ("*/0 2 * * *", "minute"),
        ("*/ 2 * * *", "minute"),
        ("5- 2 * * *", "minute"),
        ("9-5 2 * * *", "backwards"),
        ("1,,2 2 * * *", "minute"),
        ("٣ 2 * * *", "minute"),
        ("0 2 30 2 *", "no such day"),
        ("0 2 1 * mon", "cannot both"),
    ],
)
def test_what_is_no_time_is_refused_by_the_field_that_is_wrong(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_calendar(text)


@settings(deadline=None)
@given(st.sets(st.integers(0, 59), min_size=1).map(sorted))
def test_spans_hold_exactly_what_they_were_made_of(values: list[int]) -> None:
    made = spans(values)
    assert [at for first, last in made for at in range(first, last + 1)] == values
    assert all(one[1] + 1 < other[0] for one, other in pairwise(made))
