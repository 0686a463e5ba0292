"""What a recovery asks of the far side when its shelf is lost or refused: choose, then fetch in its place."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from activities.alone import alone
from activities.catalogue import list_backups
from activities.ledger_journal import LedgerFiles
from activities.offsite import OffsiteCopies
from activities.offsite_choose import OffsiteChoosing
from activities.offsite_fetch import OffsiteFetching
from domain.backups import PassedOver
from domain.errors import BackupUnusable, Refused, Unavailable
from domain.far_choice import FarChoice, FarChooseOrder, Recalled
from domain.offsite_copies import FetchOrder
from tests.faults.record import Seen
from tests.hands.offsite.conftest import Make
from tests.hands.offsite.hostile import Trouble, Weather
from tests.hands.offsite.place import BASE, SEGMENTS, Place, base, kill_while_held, tree

RECOVERY = "20260302T0304Z-0badcafe"
NEWER = BASE.replace("T01", "T09")
ASIDE = f".{BASE}.refused-0badcafe"


def choose(place: Place, **asked: Any) -> FarChoice:
    order = FarChooseOrder(target=place.target, policy=place.policy, recovery_id=RECOVERY, **asked)
    return OffsiteChoosing(place.side()).choose_offsite(order)


def recall(place: Place, entry_id: str = BASE) -> Recalled:
    order = FetchOrder(
        target=place.target, policy=place.policy, recovery_id=RECOVERY, entry_id=entry_id, instead=True
    )
    return OffsiteFetching(place.side(), place.tokens()).ensure_recalled(order)


def bases(place: Place) -> Path:
    return place.shelf / "postgres" / "base"


def open_a_recovery(place: Place) -> None:
    flag = LedgerFiles(place.directory / "state", "lab").recovery_open
    flag.parent.mkdir(parents=True, exist_ok=True)
    flag.write_text(RECOVERY)


def test_the_newest_fit_copy_is_chosen_with_the_end_of_the_far_archive(place: Place) -> None:
    base(place, NEWER)
    place.copy()
    shutil.rmtree(place.shelf)
    found = choose(place)
    assert (found.entry_id, found.newest_segment, found.missing) == (NEWER, SEGMENTS[-1], "")
    assert found.wal_until is not None
    assert f"the far archive ends with {SEGMENTS[-1]}" in found.sentence
    tried = (PassedOver(id=NEWER, reason="block 9 is garbage"),)
    found = choose(place, excluded=tried)
    assert found.entry_id == BASE
    assert [one.id for one in found.passed_over] == [NEWER]
    assert not place.shelf.exists(), "a look makes nothing"


def test_what_cannot_be_the_servers_is_passed_over_and_named(place: Place) -> None:
    place.copy()
    found = choose(place, system_identifier="8")
    assert found.entry_id == ""
    assert "another database system" in found.passed_over[0].reason
    assert "another database system" in found.missing


@pytest.mark.fault("C11")
def test_without_the_key_a_recovery_is_told_which_one_is_missing(place: Place, seen: Seen) -> None:
    """F-C11: encryption key missing: the far copies cannot be opened, and nothing is fetched."""
    place.copy()
    (path,) = place.keys.directory.glob("*.key")
    path.rename(place.directory / "escrow")
    found = choose(place)
    assert found.entry_id == ""
    assert path.stem in found.missing
    seen(found.missing)


@pytest.mark.fault("C12")
@pytest.mark.parametrize(("status", "code"), [(403, "AccessDenied"), (403, "RequestTimeTooSkewed")])
def test_a_far_store_that_refuses_is_an_answer_with_its_reason(
    make: Make, weather: tuple[str, Weather], seen: Seen, status: int, code: str
) -> None:
    """F-C12: expired credentials, skew 403, when a recovery needs the far copy."""
    endpoint, between = weather
    place = make(endpoint)
    place.copy()
    between.troubles.append(Trouble("error", "GET", "list-type=2", times=1000, status=status, code=code))
    found = choose(place)
    assert found.entry_id == ""
    assert "The off-site store cannot be used" in found.missing
    seen(found.missing)


@pytest.mark.fault("C12")
def test_a_far_store_that_is_away_is_tried_again(place: Place, seen: Seen) -> None:
    """F-C12: off-site store down, when a recovery needs the far copy."""
    place.endpoint = "http://127.0.0.1:1"
    with pytest.raises(Unavailable, match="offsite-unavailable") as failed:
        choose(place)
    seen(str(failed.value))


def test_a_backup_that_was_refused_is_kept_aside_for_the_far_one(place: Place) -> None:
    place.copy()
    before = tree(bases(place) / BASE)
    damaged = bases(place) / BASE / "data" / "base" / "1" / "1259"
    damaged.write_bytes(b"garbage")
    came = recall(place)
    assert came.problem == ""
    assert came.aside == (f"postgres/base/{ASIDE}",)
    assert (bases(place) / ASIDE / "data" / "base" / "1" / "1259").read_bytes() == b"garbage"
    del before["data/base/5/junk.tmp"]
    assert tree(bases(place) / BASE) == before
    # Asked again, it is the one that came.
    assert recall(place).aside == came.aside
    assert sorted(path.name for path in bases(place).iterdir()) == [ASIDE, BASE]


def test_a_backup_that_is_whole_stays_and_only_its_wal_comes(place: Place) -> None:
    place.copy()
    archive = place.shelf / "postgres" / "wal" / "0001"
    (archive / SEGMENTS[2]).unlink()
    (archive / SEGMENTS[3]).write_bytes(b"short")
    entry = bases(place) / BASE / "dr.json"
    entry.write_text(entry.read_text().replace('"verified":"manifest"', '"verified":"restored"'))
    came = recall(place)
    assert (came.problem, came.segments) == ("", 2)
    assert (archive / f".{SEGMENTS[3]}.refused-0badcafe").read_bytes() == b"short"
    assert came.aside == (f"postgres/wal/0001/.{SEGMENTS[3]}.refused-0badcafe",)
    assert (archive / SEGMENTS[2]).is_file()
    assert '"verified":"restored"' in entry.read_text()
    assert not (bases(place) / ASIDE).exists()


def test_a_far_copy_that_is_damaged_is_an_answer_and_changes_nothing_here(place: Place) -> None:
    place.copy()
    key = place.key_of(BASE, "data/base/1/1259")
    place.client.put_object(Bucket=place.bucket, Key=key, Body=b"garbage")
    (bases(place) / BASE / "data" / "PG_VERSION").write_bytes(b"x")
    before = tree(bases(place) / BASE)
    came = recall(place)
    assert "cannot be used" in came.problem
    assert tree(bases(place) / BASE) == before
    assert not (bases(place) / ASIDE).exists()


def test_a_far_copy_of_which_an_object_is_missing_is_an_answer_too(place: Place) -> None:
    place.copy()
    key = place.key_of(BASE, "data/base/1/1259")
    place.client.delete_object(Bucket=place.bucket, Key=key)
    (bases(place) / BASE / "data" / "PG_VERSION").write_bytes(b"x")
    came = recall(place)
    assert "an object is missing in the far store" in came.problem
    assert not (bases(place) / ASIDE).exists()
    shutil.rmtree(place.shelf)
    with pytest.raises(BackupUnusable, match="offsite-damaged") as gone:
        place.fetch(BASE)
    assert gone.value.where == key


@pytest.mark.fault("A3")
def test_a_fetch_that_is_killed_half_way_goes_on_where_it_was(
    make: Make, weather: tuple[str, Weather], seen: Seen
) -> None:
    """F-A3: killed in the middle of a long effect: what came is not fetched again."""
    endpoint, between = weather
    place = make(endpoint, parallel=1)
    place.copy()
    shutil.rmtree(place.shelf)
    # Sorted: what lies behind the held file has not come yet, what lies before it has.
    between.troubles.append(Trouble("hold", "GET", f"{BASE}/files/data/base/5/16384"))
    kill_while_held(place, endpoint, between, "fetch")
    seen("killed by signal 9 while it held base/5/16384")
    assert list_backups(place.shelf) == []
    between.requests.clear()
    assert recall(place).problem == ""
    assert between.count("GET", "files/data/base/1/1259") == 0
    assert between.count("GET", "files/data/base/5/16384") == 1
    assert [path.name for path in bases(place).iterdir()] == [BASE]


def test_what_an_abandoned_fetch_left_is_cleared_by_the_next_one(place: Place) -> None:
    place.copy()
    shutil.rmtree(place.shelf)
    left = bases(place) / f".{NEWER}.fetching"
    (left / "data").mkdir(parents=True)
    (left / "data" / "half").write_bytes(b"x")
    recall(place)
    assert [path.name for path in bases(place).iterdir()] == [BASE]


@pytest.mark.fault("B5")
def test_without_room_nothing_is_fetched(place: Place, seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    """F-B5: disk full on the shelf: the room for the backup and for its WAL is looked at first."""
    place.copy()
    before = tree(bases(place))
    shutil.rmtree(place.shelf)
    room = SimpleNamespace(f_bavail=2 * 1024 * 1024, f_frsize=1)
    monkeypatch.setattr("activities.room.os.statvfs", lambda _: room)
    with pytest.raises(Refused, match="no-room") as refused:
        recall(place)
    seen(refused.value.what)
    assert not bases(place).exists()
    assert before


@pytest.mark.fault("G2")
def test_copies_stand_back_while_a_recovery_is_open_but_a_fetch_by_hand_does_not(
    place: Place, seen: Seen
) -> None:
    """F-G2: recovery while an off-site copy is due (I3); a fetch is what a parked recovery may wait for."""
    place.copy()
    far = place.far()
    open_a_recovery(place)
    base(place, NEWER)
    with pytest.raises(Refused, match="recovery-open") as refused:
        place.copy()
    seen(refused.value.what)
    assert place.far() == far
    shutil.rmtree(place.shelf)
    assert place.fetch().id == BASE


@pytest.mark.fault("C10")
def test_a_copy_that_runs_when_a_recovery_starts_ends_before_its_next_entry_and_goes_on_later(
    make: Make, weather: tuple[str, Weather], seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F-C10: backup running when recovery starts: the copy ends after the entry in hand."""
    endpoint, between = weather
    place = make(endpoint, parallel=1)
    as_it_was = between.trouble_for

    def opened(method: str, path: str) -> Trouble | None:
        if method == "PUT" and "/manifest" in path:
            open_a_recovery(place)
        return as_it_was(method, path)

    monkeypatch.setattr(between, "trouble_for", opened)
    with pytest.raises(Refused, match="recovery-open"):
        place.copy()
    whole = [key for key in place.far() if "/manifest" in key]
    assert len(whole) == 1
    seen(f"a recovery was opened while {whole[0]} was sent")
    LedgerFiles(place.directory / "state", "lab").recovery_open.unlink()
    monkeypatch.undo()
    assert len(place.copy().entries) == 2


def test_a_second_copy_waits_for_the_first_one(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("activities.offsite.alone", lambda state, what: alone(state, what, wait_seconds=0))
    with (
        alone(place.directory / "state", "offsite-lab"),
        pytest.raises(Unavailable, match="at-work"),
    ):
        OffsiteCopies(place.side(), place.tokens()).ensure_copied_offsite(place.copy_order())
    assert place.far() == {}
