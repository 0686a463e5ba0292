"""How far something is, in one sentence: no figure without a basis."""

import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from activities import offsite_progress, reading
from activities.offsite_progress import Progress
from domain.progress import keys, progress_sentence

GB = 1_000_000_000
COUNTS = some.integers(min_value=0, max_value=10**15)
SHARE = re.compile(r"(\d+) %")


@given(
    done=COUNTS,
    total=some.none() | COUNTS,
    before=COUNTS,
    about=some.booleans(),
    seconds=some.floats(min_value=0, max_value=1e9),
)
def test_no_share_is_over_a_hundred_and_no_time_is_told_without_a_total(
    done: int,
    total: int | None,
    before: int,
    about: bool,  # noqa: FBT001 - drawn
    seconds: float,
) -> None:
    said = progress_sentence("it", done, total, seconds=seconds, before=before, about=about)
    found = SHARE.search(said)
    if found is not None:
        assert int(found[1]) <= (99 if about else 100)
    if total is None or (about and done > total):
        assert found is None
        assert "left" not in said
    if "left" in said:
        assert done > before, "what does not move has no end in sight"
        assert seconds >= 1
    assert "nan" not in said
    assert "inf" not in said


@pytest.mark.parametrize(
    ("done", "total", "about", "said"),
    [
        (GB, 4 * GB, False, "it 25 %: 1.00 GB of 4.00 GB, 100.0 MB a second, about 30.0 s left"),
        (GB, 4 * GB, True, "it about 25 %: 1.00 GB of about 4.00 GB, 100.0 MB a second, about 30.0 s left"),
        (5 * GB, 4 * GB, True, "it: 5.00 GB, more than expected, 500.0 MB a second"),
        (5 * GB, 4 * GB, False, "it 100 %: 4.00 GB of 4.00 GB, 400.0 MB a second"),
        (4 * GB, 4 * GB, True, "it about 99 %: 4.00 GB of about 4.00 GB, 400.0 MB a second"),
        (GB, None, False, "it: 1.00 GB, 100.0 MB a second"),
        (GB, 0, True, "it: 1.00 GB, 100.0 MB a second"),
        (0, None, False, "it"),
        (0, 4 * GB, False, "it 0 %: 0.0 MB of 4.00 GB"),
    ],
)
def test_a_total_that_was_only_expected_is_told_as_such_and_no_longer_once_it_was_passed(
    done: int,
    total: int | None,
    about: bool,  # noqa: FBT001 - one of a table
    said: str,
) -> None:
    assert progress_sentence("it", done, total, seconds=10, about=about) == said


def test_what_was_behind_us_when_we_began_to_look_is_no_rate_of_ours() -> None:
    now = [100.0]
    progress = Progress("it", 4 * GB, clock=lambda: now[0])
    progress.at(2 * GB)
    assert progress.sentence() == "it 50 %: 2.00 GB of 4.00 GB", "one look is no rate"
    now[0] += 10
    progress.at(3 * GB)
    assert progress.sentence() == "it 75 %: 3.00 GB of 4.00 GB, 100.0 MB a second, about 10.0 s left"


def test_what_is_counted_may_be_something_else_than_bytes() -> None:
    now = [0.0]
    progress = Progress("it", 4000, unit=keys, clock=lambda: now[0])
    now[0] = 10
    progress.add(1000)
    assert progress.sentence() == "it 25 %: 1,000 keys of 4,000 keys, 100 keys a second, about 30.0 s left"


def test_telling_beats_with_the_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(offsite_progress, "beat", told.append)
    progress = Progress("it", None, about=True)
    progress.tell(GB)
    progress.tell(2 * GB, 4 * GB)
    assert told == ["it: 1.00 GB", "it about 50 %: 2.00 GB of about 4.00 GB"]


def process(root: Path, pid: int, count: int, *children: int) -> None:
    thread = root / str(pid) / "task" / str(pid)
    thread.mkdir(parents=True)
    (root / str(pid) / "io").write_text(f"rchar: {count}\nwchar: 7\n")
    (thread / "children").write_text("".join(f"{child} " for child in children))


def test_what_a_container_has_read_is_what_its_first_process_and_all_below_it_have(tmp_path: Path) -> None:
    process(tmp_path, 1, 10, 2)
    process(tmp_path, 2, 100, 3, 4)
    process(tmp_path, 3, 1000)
    # Number 4 has ended between two looks.
    assert reading.read_by(1, tmp_path) == 1110
    with pytest.raises(OSError, match="No such file"):
        reading.read_by(9, tmp_path)


def test_processes_that_name_each_other_do_not_hold_the_worker(tmp_path: Path) -> None:
    for one, other in pairwise((1, 2, 1)):
        process(tmp_path, one, 1, other)
    assert reading.read_by(1, tmp_path) > 0
