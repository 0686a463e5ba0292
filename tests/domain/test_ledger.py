from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from domain.ledger import JournalLine, MarkerState, longest_gap
from domain.markers import BLIND_AFTER, Known, StoreCheck, check_markers, few, read_journal, skew_seconds

START = datetime(2026, 11, 22, 4, 30, tzinfo=UTC)


def at(second: float) -> datetime:
    return START + timedelta(seconds=second)


def one_a_second(numbers: set[int], *, refused: set[int] | None = None, pruned_below: int = 0) -> Known:
    acknowledged = {n: at(n) for n in sorted(numbers)}
    return Known(acknowledged | {n: at(n) for n in refused or set()}, acknowledged, pruned_below)


def line(n: int, state: MarkerState) -> bytes:
    return JournalLine(n=n, state=state, at=at(n)).model_dump_json().encode() + b"\n"


def check(numbers: set[int], present: set[int]) -> StoreCheck:
    return check_markers(one_a_second(numbers), present)


sets = st.sets(st.integers(1, 400), max_size=60)
some = st.sets(st.integers(1, 400), min_size=1, max_size=60)


@given(acknowledged=sets, present=sets)
def test_lost_is_exactly_what_was_acknowledged_and_is_not_there(
    acknowledged: set[int], present: set[int]
) -> None:
    found = check(acknowledged, present)
    assert set(found.lost) == acknowledged - present
    assert found.loss.markers_acknowledged == len(acknowledged)
    assert set(found.unexpected) == present - acknowledged


@given(acknowledged=some, present=sets)
def test_seconds_are_zero_only_when_nothing_is_lost(acknowledged: set[int], present: set[int]) -> None:
    found = check(acknowledged, present)
    assert found.loss.seconds is not None
    if not acknowledged - present:
        assert found.loss.seconds == 0.0
        assert not found.loss.at_least
    else:
        assert found.loss.seconds > 0 or found.loss.at_least


@given(acknowledged=some, present=sets)
def test_seconds_run_from_the_last_survivor_before_the_first_lost_to_the_last_lost(
    acknowledged: set[int], present: set[int]
) -> None:
    lost = acknowledged - present
    found = check(acknowledged, present)
    before = [n for n in acknowledged & present if lost and n < min(lost)]
    if lost and before:
        assert found.loss.seconds == max(lost) - max(before)
        assert not found.loss.at_least
    if lost and not before:
        assert found.loss.seconds == max(lost) - min(lost)
        assert found.loss.at_least


@given(acknowledged=some, present=sets, more=st.integers(1, 400))
def test_a_marker_that_survives_never_makes_the_loss_greater(
    acknowledged: set[int], present: set[int], more: int
) -> None:
    less = check(acknowledged, present).loss
    better = check(acknowledged, present | {more}).loss
    assert better.markers_lost is not None
    assert less.markers_lost is not None
    assert better.markers_lost <= less.markers_lost
    # The span may begin earlier only where it had no known beginning at all.
    if not less.at_least:
        assert (better.seconds or 0.0) <= (less.seconds or 0.0)


@given(acknowledged=some, refused=sets, present=sets)
def test_a_refused_marker_is_no_loss_whether_it_is_there_or_not(
    acknowledged: set[int], refused: set[int], present: set[int]
) -> None:
    refused -= acknowledged
    found = check_markers(one_a_second(acknowledged, refused=refused), present)
    assert not set(found.lost) & refused
    assert not set(found.unexpected) & refused


@given(acknowledged=some, present=sets, border=st.integers(1, 400))
def test_what_was_pruned_is_neither_lost_nor_unexpected(
    acknowledged: set[int], present: set[int], border: int
) -> None:
    found = check_markers(one_a_second(acknowledged, pruned_below=border), present)
    assert all(n >= border for n in (*found.lost, *found.unexpected))
    assert set(found.lost) == {n for n in acknowledged - present if n >= border}


@given(acknowledged=some, present=sets, border=st.integers(1, 400))
def test_markers_acknowledged_after_the_limit_are_not_looked_at(
    acknowledged: set[int], present: set[int], border: int
) -> None:
    found = check_markers(one_a_second(acknowledged), present, until=at(border))
    assert set(found.lost) == {n for n in acknowledged - present if n <= border}


def test_nothing_acknowledged_is_not_measured() -> None:
    found = check_markers(one_a_second(set(), refused={1, 2}), set())
    assert found.loss.seconds is None
    assert found.loss.markers_lost is None
    assert found.loss.markers_acknowledged == 0


def test_a_zero_that_nobody_watched_is_not_measured() -> None:
    known = one_a_second({1, 2, 3})
    watched = check_markers(known, {1, 2, 3}, asked_at=at(3) + BLIND_AFTER)
    unwatched = check_markers(known, {1, 2, 3}, asked_at=at(4) + BLIND_AFTER)
    assert watched.loss.seconds == 0.0
    assert unwatched.loss.seconds is None


def test_a_loss_that_nobody_watched_to_its_end_is_a_lower_bound() -> None:
    found = check_markers(one_a_second({1, 2, 3}), {1}, asked_at=at(4) + BLIND_AFTER)
    assert found.loss.seconds == 2.0
    assert found.loss.at_least


def test_a_store_that_refuses_is_still_watched() -> None:
    known = one_a_second({1, 2}, refused=set(range(3, 200)))
    assert check_markers(known, {1, 2}, asked_at=at(200)).loss.seconds == 0.0


def test_a_ledger_that_came_back_when_the_store_was_gone_did_not_watch_it_go() -> None:
    known = one_a_second({1, 2}, refused=set(range(100, 200)))
    assert check_markers(known, {1, 2}, asked_at=at(200)).loss.seconds is None


def test_a_gap_before_a_marker_that_is_there_is_no_matter() -> None:
    known = one_a_second({1, 2, 100})
    assert check_markers(known, {1, 2, 100}, asked_at=at(101)).loss.seconds == 0.0


@given(lines=st.lists(st.tuples(st.integers(1, 50), st.sampled_from(list(MarkerState))), max_size=30))
def test_a_journal_cut_at_any_byte_never_acknowledges_more_than_the_whole_one(
    lines: list[tuple[int, MarkerState]],
) -> None:
    text = b"".join(line(n, state) for n, state in lines)
    whole = read_journal(text)
    assert whole.unreadable == 0
    for cut in range(0, len(text), 7):
        torn = read_journal(text[:cut])
        assert torn.unreadable == 0
        assert torn.acknowledged.keys() <= whole.acknowledged.keys()


def test_a_garbled_line_in_the_middle_makes_a_zero_unmeasured() -> None:
    text = line(1, MarkerState.ACKNOWLEDGED) + b"\x00\x00\n" + line(3, MarkerState.ACKNOWLEDGED)
    known = read_journal(text)
    assert known.unreadable == 1
    assert check_markers(known, {1, 3}).loss.seconds is None


def test_stores_that_lost_nothing_have_no_skew_however_far_their_markers_went() -> None:
    assert skew_seconds([check({1, 2, 3}, {1, 2, 3}), check(set(range(1, 90)), set(range(1, 90)))]) == 0.0


def test_skew_is_the_distance_between_what_survived() -> None:
    everything = set(range(1, 101))
    rewound, nearly, whole = (check(everything, set(range(1, end))) for end in (41, 91, 101))
    assert skew_seconds([rewound, nearly]) == 50.0
    assert skew_seconds([rewound, nearly, whole]) == 60.0
    assert skew_seconds([rewound, check(everything, set(range(1, 41)))]) == 0.0


def test_new_markers_after_a_recovery_do_not_hide_the_skew() -> None:
    everything = set(range(1, 201))
    rewound = check(everything, set(range(1, 41)) | set(range(101, 201)))
    assert skew_seconds([rewound, check(everything, everything)]) == 60.0


def test_one_store_has_no_skew() -> None:
    assert skew_seconds([check({1, 2}, {1})]) is None
    assert skew_seconds([check({1, 2}, {1}), check(set(), set())]) is None


@given(moments=st.lists(st.floats(-50, 150), max_size=40))
def test_no_acknowledged_action_lies_inside_the_longest_gap(moments: list[float]) -> None:
    actions = [at(m) for m in moments]
    since, until = longest_gap(actions, at(0), at(100))
    assert at(0) <= since <= until <= at(100)
    assert not any(since < action < until for action in actions)
    count = sum(1 for action in actions if at(0) <= action <= at(100))
    # The longest of count + 1 parts is at least an equal share.
    assert (until - since).total_seconds() >= 100 / (count + 1) - 0.001


def test_the_edges_of_the_window_count_as_downtime() -> None:
    assert longest_gap([], at(0), at(100)) == (at(0), at(100))
    assert longest_gap([at(40), at(50)], at(0), at(100)) == (at(50), at(100))
    assert longest_gap([at(70), at(90)], at(0), at(100)) == (at(0), at(70))


def test_evidence_names_the_first_and_the_last_few() -> None:
    assert few(tuple(range(100))) == (0, 1, 2, 97, 98, 99)
    assert few((5, 6)) == (5, 6)
