from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.diagnosis import Finding, Look, Trouble, Verdict, Witness
from domain.weighing import diagnose
from tests.faults.record import Seen

READING = {Look.AMCHECK, Look.FULL_READ}


def saw(look: Look, finding: Finding, trouble: Trouble = Trouble.NONE) -> Witness:
    return Witness(name=look.value, look=look, finding=finding, trouble=trouble, evidence=f"{look} {finding}")


witnesses = st.lists(
    st.builds(saw, st.sampled_from(Look), st.sampled_from(Finding), st.sampled_from(Trouble)), max_size=9
)
RUNS = saw(Look.CONTAINER, Finding.SOUND)
SANE = saw(Look.CONTROL, Finding.SOUND)


@given(seen=witnesses, up=st.booleans(), others=st.booleans())
def test_nothing_is_corrupt_unless_a_witness_saw_damage(
    *, seen: list[Witness], up: bool, others: bool
) -> None:
    meaning = diagnose(seen, running=up, answers=up, others_run=others)
    if meaning.verdict is Verdict.CORRUPT:
        assert any(w.finding is Finding.DAMAGED and w.look is not Look.OTHER for w in seen)
        assert meaning.because in {w.evidence for w in seen if w.finding is Finding.DAMAGED}


@given(seen=witnesses, up=st.booleans())
def test_nothing_is_sound_unless_the_data_was_read_and_nothing_spoke_against_it(
    *, seen: list[Witness], up: bool
) -> None:
    meaning = diagnose(seen, running=up, answers=up)
    if meaning.verdict is Verdict.SOUND:
        assert up
        assert any(w.finding is Finding.SOUND and w.look in READING for w in seen)
        bad = {Finding.DAMAGED, Finding.INDEX_DAMAGED}
        assert not any(w.finding in bad and w.look is not Look.OTHER for w in seen)


@given(seen=witnesses, up=st.booleans(), others=st.booleans())
def test_every_verdict_but_unknown_rests_on_two_independent_looks(
    *, seen: list[Witness], up: bool, others: bool
) -> None:
    meaning = diagnose(seen, running=up, answers=up, others_run=others)
    if meaning.verdict is not Verdict.UNKNOWN:
        assert len({w.look for w in seen if w.finding is not Finding.NOT_MEASURED}) >= 2
    assert meaning.because


@given(seen=witnesses, up=st.booleans())
def test_a_failing_dump_of_the_schema_never_makes_a_database_corrupt(
    *, seen: list[Witness], up: bool
) -> None:
    before = diagnose(seen, running=up, answers=up)
    after = diagnose([*seen, saw(Look.OTHER, Finding.NOT_MEASURED)], running=up, answers=up)
    assert after.verdict is before.verdict


@given(seen=witnesses, up=st.booleans())
def test_damage_seen_in_the_heap_of_a_server_is_never_explained_away(
    *, seen: list[Witness], up: bool
) -> None:
    # What no replay cures is left to a person, and not explained away either.
    seen = [one for one in seen if one.look is not Look.STATUS]
    more = [*seen, RUNS, saw(Look.AMCHECK, Finding.DAMAGED)]
    assert diagnose(more, running=up, answers=up).verdict is Verdict.CORRUPT


def test_a_stopped_container_with_a_sane_control_file_is_another_trouble() -> None:
    seen = [saw(Look.CONTAINER, Finding.SOUND, Trouble.STOPPED), SANE]
    meaning = diagnose(seen, running=False, answers=False, others_run=True)
    assert (meaning.verdict, meaning.fitting_scenario) == (Verdict.OTHER_TROUBLE, "ServiceFailure")
    meaning = diagnose(seen, running=False, answers=False, others_run=False)
    assert (meaning.verdict, meaning.fitting_scenario) == (Verdict.OTHER_TROUBLE, "CompleteOutage")


def test_a_full_disk_is_named_rather_than_the_stop_it_caused() -> None:
    seen = [
        saw(Look.CONTAINER, Finding.SOUND, Trouble.STOPPED),
        SANE,
        saw(Look.LOG, Finding.SOUND, Trouble.DISK_FULL),
    ]
    meaning = diagnose(seen, running=False, answers=False)
    assert meaning.verdict is Verdict.OTHER_TROUBLE
    assert meaning.because == "log sound"


def test_a_destroyed_control_file_is_corruption_once_the_server_is_down() -> None:
    seen = [
        saw(Look.CONTAINER, Finding.SOUND, Trouble.STOPPED),
        saw(Look.CONTROL, Finding.DAMAGED),
        saw(Look.LOG, Finding.DAMAGED),
    ]
    assert diagnose(seen, running=False, answers=False).verdict is Verdict.CORRUPT


def test_a_damaged_control_file_under_a_server_that_answers_is_left_to_a_person() -> None:
    seen = [RUNS, saw(Look.CONTROL, Finding.DAMAGED), saw(Look.AMCHECK, Finding.SOUND)]
    assert diagnose(seen, running=True, answers=True).verdict is Verdict.UNKNOWN


INDEX_LIES = [
    RUNS,
    saw(Look.LOG, Finding.DAMAGED),
    saw(Look.AMCHECK, Finding.INDEX_DAMAGED),
    saw(Look.FULL_READ, Finding.SOUND),
]


@pytest.mark.parametrize("look", [Look.COUNTS, Look.FILES])
@pytest.mark.parametrize("finding", [Finding.SOUND, Finding.INDEX_DAMAGED])
def test_only_indexes_are_damaged_when_every_table_was_read_well_and_lacks_nothing(
    look: Look, finding: Finding
) -> None:
    meaning = diagnose([*INDEX_LIES, saw(look, finding)], running=True, answers=True)
    assert (meaning.verdict, meaning.because) == (Verdict.INDEX_ONLY, "amcheck index_damaged")


def test_index_damage_is_not_called_index_only_while_nobody_looked_for_missing_rows() -> None:
    assert diagnose(INDEX_LIES, running=True, answers=True).verdict is Verdict.UNKNOWN
    cut_off = [*INDEX_LIES, saw(Look.COUNTS, Finding.NOT_MEASURED), saw(Look.FILES, Finding.NOT_MEASURED)]
    assert diagnose(cut_off, running=True, answers=True).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("look", [Look.COUNTS, Look.FILES, Look.FULL_READ, Look.AMCHECK])
def test_a_damaged_table_beside_a_damaged_index_is_corruption(look: Look) -> None:
    seen = [*INDEX_LIES, saw(Look.FILES, Finding.SOUND), saw(look, Finding.DAMAGED)]
    assert diagnose(seen, running=True, answers=True).verdict is Verdict.CORRUPT


@given(seen=witnesses, up=st.booleans())
def test_only_indexes_are_never_named_while_a_table_is_in_doubt(*, seen: list[Witness], up: bool) -> None:
    if diagnose(seen, running=up, answers=up).verdict is Verdict.INDEX_ONLY:
        direct = {Look.AMCHECK, Look.FULL_READ, Look.COUNTS, Look.FILES}
        assert not any(w.look in direct and w.finding is Finding.DAMAGED for w in seen)
        assert all(w.finding is Finding.SOUND for w in seen if w.look is Look.FULL_READ)


def test_a_table_whose_file_is_gone_is_corruption_though_what_is_cached_still_reads() -> None:
    seen = [
        RUNS,
        SANE,
        saw(Look.FILES, Finding.DAMAGED),
        saw(Look.AMCHECK, Finding.SOUND),
        saw(Look.FULL_READ, Finding.SOUND),
    ]
    assert diagnose(seen, running=True, answers=True).verdict is Verdict.CORRUPT


@pytest.mark.fault("H1")
def test_one_witness_that_is_wrong_makes_no_healthy_database_corrupt(seen: Seen) -> None:
    """F-H1: a probe that is wrong, an old log, a counter nobody reset: stand down or ask, never restore."""
    healthy = [
        RUNS,
        SANE,
        *(saw(look, Finding.SOUND) for look in (Look.AMCHECK, Look.FULL_READ, Look.COUNTS)),
    ]
    for look in (Look.LOG, Look.CHECKSUMS, Look.CONTROL, Look.OTHER, Look.CONTAINER):
        meaning = diagnose([*healthy, saw(look, Finding.DAMAGED)], running=True, answers=True)
        assert meaning.verdict in {Verdict.UNKNOWN, Verdict.SOUND}
        assert meaning.because
        seen(f"{look} alone said damaged: {meaning.verdict}, {meaning.because}")


def test_index_damage_without_a_full_read_is_not_called_index_only() -> None:
    seen = [RUNS, saw(Look.AMCHECK, Finding.INDEX_DAMAGED), saw(Look.FULL_READ, Finding.NOT_MEASURED)]
    assert diagnose(seen, running=True, answers=True).verdict is Verdict.UNKNOWN


def test_zeroed_pages_that_only_the_counts_see_are_corruption() -> None:
    seen = [
        RUNS,
        saw(Look.AMCHECK, Finding.SOUND),
        saw(Look.FULL_READ, Finding.SOUND),
        saw(Look.COUNTS, Finding.DAMAGED),
    ]
    assert diagnose(seen, running=True, answers=True).verdict is Verdict.CORRUPT


def test_an_old_line_in_the_log_does_not_outweigh_a_database_that_reads_well() -> None:
    seen = [
        RUNS,
        saw(Look.LOG, Finding.DAMAGED),
        saw(Look.AMCHECK, Finding.SOUND),
        saw(Look.FULL_READ, Finding.SOUND),
    ]
    assert diagnose(seen, running=True, answers=True).verdict is Verdict.UNKNOWN


def test_checks_that_could_not_be_made_are_named() -> None:
    seen = [RUNS, saw(Look.LOG, Finding.SOUND), saw(Look.AMCHECK, Finding.NOT_MEASURED)]
    meaning = diagnose(seen, running=True, answers=True)
    assert meaning.verdict is Verdict.UNKNOWN
    assert "amcheck" in meaning.because


def test_another_database_that_reads_well_says_nothing_of_one_that_could_not_be_read() -> None:
    locked = [saw(look, Finding.NOT_MEASURED) for look in (Look.AMCHECK, Look.FULL_READ)]
    other = [saw(look, Finding.SOUND) for look in (Look.AMCHECK, Look.FULL_READ)]
    assert diagnose([RUNS, SANE, *locked, *other], running=True, answers=True).verdict is Verdict.UNKNOWN
    assert diagnose([RUNS, SANE, *other, *locked], running=True, answers=True).verdict is Verdict.SOUND


BROKEN: dict[str, Callable[[Look], Witness]] = {
    "cannot look": lambda look: saw(look, Finding.NOT_MEASURED),
    "is slow and finds trouble of its own": lambda look: saw(look, Finding.NOT_MEASURED, Trouble.STARTING),
    "says so where nothing rests on it": lambda _: saw(Look.OTHER, Finding.DAMAGED),
}


@pytest.mark.fault("H1")
@pytest.mark.parametrize("how", BROKEN)
@pytest.mark.parametrize(
    "look",
    [Look.CONTAINER, Look.CONTROL, Look.LOG, Look.CHECKSUMS, Look.AMCHECK, Look.FULL_READ, Look.COUNTS],
)
def test_one_broken_witness_of_a_healthy_server_is_not_corruption(look: Look, how: str, seen: Seen) -> None:
    """F-H1: healthy service misdiagnosed: one witness is broken, whichever it is and however."""
    healthy = [RUNS, SANE, *(saw(one, Finding.SOUND) for one in (
        Look.LOG, Look.CHECKSUMS, Look.AMCHECK, Look.FULL_READ, Look.COUNTS))]  # fmt: skip
    assert diagnose(healthy, running=True, answers=True).verdict is Verdict.SOUND
    witnesses = [BROKEN[how](look) if one.look is look else one for one in healthy]
    meaning = diagnose(witnesses, running=True, answers=True)
    seen(f"{look} {how}: {meaning.verdict}, {meaning.because}")
    assert meaning.verdict is Verdict.SOUND
    assert meaning.because in {one.evidence for one in healthy}


@pytest.mark.fault("H1")
@pytest.mark.parametrize("look", [Look.LOG, Look.CHECKSUMS])
@pytest.mark.parametrize("direct", [Finding.SOUND, Finding.NOT_MEASURED])
def test_a_line_in_the_log_alone_is_not_corruption_of_a_server_that_answers(
    look: Look, direct: Finding, seen: Seen
) -> None:
    """F-H1: one witness cries corruption, and no other one saw any: left to a person, with the evidence."""
    witnesses = [RUNS, SANE, saw(look, Finding.DAMAGED), saw(Look.FULL_READ, direct)]
    meaning = diagnose(witnesses, running=True, answers=True)
    seen(f"{meaning.verdict}: {meaning.because}")
    assert meaning.verdict is Verdict.UNKNOWN
    assert "no other check confirms" in meaning.because
    both = [*witnesses, saw(Look.LOG, Finding.DAMAGED), saw(Look.CHECKSUMS, Finding.DAMAGED)]
    assert diagnose(both, running=True, answers=True).verdict is Verdict.CORRUPT
    assert diagnose(witnesses, running=False, answers=False).verdict is Verdict.CORRUPT


def test_a_server_that_is_not_the_one_that_was_backed_up_is_left_to_a_person() -> None:
    healthy = [RUNS, SANE, *(saw(one, Finding.SOUND) for one in (Look.AMCHECK, Look.FULL_READ, Look.COUNTS))]
    strange = saw(Look.IDENTITY, Finding.DAMAGED)
    meaning = diagnose([*healthy, strange], running=True, answers=True)
    assert (meaning.verdict, meaning.because) == (Verdict.UNKNOWN, strange.evidence)
    damaged = saw(Look.FULL_READ, Finding.DAMAGED)
    assert diagnose([strange, damaged, RUNS], running=True, answers=True).verdict is Verdict.CORRUPT


def test_what_could_not_be_looked_at_says_what_was_in_the_way() -> None:
    locked = saw(Look.FULL_READ, Finding.NOT_MEASURED)
    meaning = diagnose([RUNS, SANE, locked], running=True, answers=True)
    assert meaning.verdict is Verdict.UNKNOWN
    assert meaning.because.endswith(f"{locked.name}: {locked.evidence}")


def test_rows_that_the_server_itself_removes_are_not_sought_by_a_replay_of_its_wal() -> None:
    lost = saw(Look.STATUS, Finding.DAMAGED)
    damaged = saw(Look.FULL_READ, Finding.DAMAGED)
    meaning = diagnose([RUNS, SANE, damaged, lost], running=True, answers=True)
    assert (meaning.verdict, meaning.because) == (Verdict.UNKNOWN, lost.evidence)
