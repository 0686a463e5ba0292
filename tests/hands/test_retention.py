"""Retention on a real shelf: exactly what the plan says goes, however often the hand is killed."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from activities import catalogue, removal
from activities.ledger_journal import LedgerFiles, put_flag
from activities.retention import Retaining
from activities.taken import note_taken, vanished
from activities.tokens import Tokens
from domain.backup_policy import BackupPolicy
from domain.backups import Level
from domain.errors import Refused
from domain.retention_plan import RetentionOrder
from domain.wal import segment_name
from tests.faults.record import Seen
from tests.hands.hostile.planted import Planted, planted, target_on

NOW = datetime(2026, 11, 22, 7, 30, tzinfo=UTC)
MIB = 2**20
WAL = Path("postgres") / "wal"


class Place:
    """A shelf with backups of the last ten days, their WAL, and things of others among them."""

    def __init__(self, root: Path) -> None:
        self.planted: Planted = planted(root)
        self.shelf = self.planted.shelf
        self.state = root / "state"
        self.flag = LedgerFiles(self.state, "shop").recovery_open
        for days in range(10, 0, -1):
            self.backup(days)
        for number in range(12):
            self.segment(number, days=12 - number)

    def backup(self, days: int, *, level: Level = Level.MANIFEST) -> str:
        at = NOW - timedelta(days=days, hours=6)
        made = self.planted.backup(
            f"{at:%Y%m%dT%H%M%SZ}-base",
            started_at=at,
            ended_at=at,
            bytes=100,
            verified=level,
            start_segment=segment_name(1, (11 - days) * MIB, MIB),
            wal_segment_bytes=MIB,
        )
        (self.planted.base / made.id / "data" / "global").mkdir()
        (self.planted.base / made.id / "data" / "global" / "pg_control").write_bytes(b"x" * 1000)
        note_taken(self.state, "shop", made)
        return made.id

    def segment(self, number: int, *, days: float, directory: str = "dr_recv_1") -> Path:
        path = self.shelf / WAL / directory / segment_name(1, number * MIB, MIB)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.truncate(MIB)
        at = (NOW - timedelta(days=days)).timestamp()
        os.utime(path, (at, at))
        return path

    def hands(self, clock: datetime = NOW) -> Retaining:
        return Retaining(Tokens(self.state), self.state, lambda: clock)

    def order(self, as_of: datetime = NOW, **policy: Any) -> RetentionOrder:
        return RetentionOrder(target=target_on(str(self.shelf)), policy=BackupPolicy(**policy), as_of=as_of)

    def backups(self) -> list[str]:
        return sorted(self.planted.names())

    def segments(self) -> list[int]:
        found = (self.shelf / WAL / "dr_recv_1").glob("00000001????????????????")
        return sorted(int(path.name[16:], 16) for path in found)

    def tree(self) -> set[str]:
        return {str(path.relative_to(self.shelf)) for path in self.shelf.rglob("*")}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_what_would_go_is_told_with_its_reasons_and_nothing_is_touched(place: Place) -> None:
    before = place.tree()
    plan = place.hands().observe_retention(place.order())
    assert [one.id for one in plan.going] == [f"202611{day}T013000Z-base" for day in (12, 13, 14, 15)]
    assert plan.going[0].reason == "it is older than 7 d: 10 d"
    assert len(plan.staying) == 6
    (wal,) = plan.wal_going
    assert (wal.directory, wal.segments, wal.bytes) == ("postgres/wal/dr_recv_1", 5, 5 * MIB)
    assert plan.bytes_going == 4 * 100 + 5 * MIB
    assert place.tree() == before


def test_exactly_the_plan_is_removed_and_a_second_time_nothing(place: Place) -> None:
    plan = place.hands().observe_retention(place.order())
    done = place.hands().ensure_retained(place.order())
    assert done.removed == tuple(one.id for one in plan.going)
    assert place.backups() == sorted(one.id for one in plan.staying)
    assert done.segments_removed == 5
    assert place.segments() == list(range(5, 12))
    # What was removed on purpose is not missed.
    assert vanished(place.state, "shop", set(place.backups())) == []
    # The bytes are those of the files, not those that an entry claims.
    assert 4 * 1000 + 5 * MIB < done.freed_bytes < 4 * 10_000 + 5 * MIB
    assert not [name for name in place.tree() if "/." in name]
    after = place.tree()
    again = place.hands().ensure_retained(place.order())
    assert (again.removed, again.segments_removed, again.freed_bytes) == ((), 0, 0)
    assert place.tree() == after


def test_what_belongs_to_others_is_told_and_stays(place: Place) -> None:
    base, wal = place.planted.base, place.shelf / WAL
    strange = base / "20200101T000000Z-base"
    strange.mkdir()
    (strange / "notes.txt").write_text("somebody's")
    (base / "19990101T000000Z-base").symlink_to(place.planted.outside)
    (base / ".gone-20200102T000000Z-base").mkdir()
    (base / ".gone-20200102T000000Z-base" / "notes.txt").write_text("somebody's")
    (base / ".erasing-20200103T000000Z-base").symlink_to(place.planted.outside)
    for name in ("00000002.history", segment_name(1, 0, MIB) + ".partial", "notes"):
        (wal / "dr_recv_1" / name).write_text("x")
    short = place.segment(1, days=40, directory="dr_recv_1")
    short.write_bytes(b"x" * 1000)
    foreign = place.segment(0, days=40, directory="theirs")
    (wal / "dr_recv_2").symlink_to(place.planted.outside)
    (wal / "dr_recv_1" / segment_name(7, 0, MIB)).symlink_to(place.planted.outside / "passwd")
    (place.shelf / "redis").symlink_to(place.planted.outside)
    before, forbidden = place.tree(), place.planted.forbidden()
    done = place.hands().ensure_retained(place.order())
    went = {f"postgres/base/{one}" for one in done.removed}
    left = place.tree()
    gone = {name for name in before - left if not any(name.startswith(one) for one in went)}
    assert {Path(name).name for name in gone} == {segment_name(1, n * MIB, MIB) for n in (0, 2, 3, 4)}
    assert foreign.exists()
    assert short.exists()
    assert place.planted.forbidden() == forbidden
    told = {one.id: one.reason for one in done.plan.strangers}
    assert told[strange.name].startswith("its entry dr.json cannot be read")
    assert "symbolic link" in told["19990101T000000Z-base"]


@pytest.mark.fault("C9")
def test_while_a_recovery_is_open_nothing_is_removed(place: Place, seen: Seen) -> None:
    """F-C9: retention during an incident; the host's own flag says so, whatever the server knows."""
    put_flag(place.flag, "20261122T0700Z-0badcafe")
    before = place.tree()
    with pytest.raises(Refused, match="20261122T0700Z-0badcafe is open") as refused:
        place.hands().ensure_retained(place.order())
    assert refused.value.code == "recovery-open"
    plan = place.hands().observe_retention(place.order())
    assert not plan.going
    assert not plan.wal_going
    assert "20261122T0700Z-0badcafe" in plan.paused_because
    assert place.tree() == before
    seen(refused.value.what)


@pytest.mark.fault("C9")
def test_a_recovery_that_opens_in_the_middle_finds_every_backup_that_is_left_whole(
    place: Place, monkeypatch: pytest.MonkeyPatch, seen: Seen
) -> None:
    """F-C9: the flag is raised after a backup was set aside; that one comes back."""
    whole = place.backups()
    original = removal.set_aside

    def opened(where: Path, name: str) -> None:
        original(where, name)
        if name == whole[1]:
            put_flag(place.flag, "20261122T0730Z-0badcafe")

    monkeypatch.setattr(removal, "set_aside", opened)
    with pytest.raises(Refused, match="is open"):
        place.hands().ensure_retained(place.order())
    assert place.backups() == whole[1:], "the first was gone before, the second came back"
    assert (place.planted.base / whole[1] / "data" / "global" / "pg_control").exists()
    assert len(place.segments()) == 12
    seen(f"{whole[1]} came back")


@pytest.mark.fault("C9")
def test_a_schedule_whose_clock_is_ahead_ages_nothing(place: Place, seen: Seen) -> None:
    """F-C9: retention with a later clock than the host's."""
    early = NOW - timedelta(days=3)
    done = place.hands(clock=early).ensure_retained(place.order(as_of=NOW + timedelta(days=400)))
    assert done.plan.as_of == early
    assert len(done.removed) == 1
    # And when both clocks are ahead, the last ones stay all the same.
    later = NOW + timedelta(days=400)
    done = place.hands(clock=later).ensure_retained(place.order(as_of=later))
    assert place.backups() == ["20261121T013000Z-base"]
    assert done.plan.staying[0].reason.endswith("but it is the last one of its kind")
    seen(done.plan.staying[0].reason)
    assert place.segments() == [10, 11]


def test_the_last_verified_backup_stays_however_old_it_is(place: Place) -> None:
    for name in place.backups()[1:]:
        catalogue.record_level(place.shelf, name, Level.NONE, NOW)
    done = place.hands().ensure_retained(place.order())
    assert place.backups()[0] == "20261112T013000Z-base"
    assert len(done.removed) == 3
    assert place.segments() == list(range(1, 12)), "its WAL stays with it"


def test_nothing_is_removed_behind_a_link_or_in_a_place_of_the_system(place: Place, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(place.shelf)
    before = place.tree()
    through = place.order().model_copy(update={"target": target_on(str(link))})
    done = place.hands().ensure_retained(through)
    assert (done.removed, done.segments_removed) == ((), 0)
    for shelf in (f"{tmp_path}/x/../shelf", "/etc", "/", "shelf"):
        order = place.order().model_copy(update={"target": target_on(shelf)})
        with pytest.raises(Refused) as refused:
            place.hands().ensure_retained(order)
        assert refused.value.code == "path-escapes"
    assert place.tree() == before


def test_a_link_in_the_place_of_a_backup_is_not_followed(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Swapped between the look and the removal."""
    original, first = removal.set_aside, place.planted.base / place.backups()[0]

    def swapped(where: Path, name: str) -> None:
        first.rename(first.with_name("elsewhere"))
        first.symlink_to(place.planted.outside)
        original(where, name)

    monkeypatch.setattr(removal, "set_aside", swapped)
    forbidden = place.planted.forbidden()
    with pytest.raises(Refused, match="it is no directory"):
        place.hands().ensure_retained(place.order())
    assert place.planted.forbidden() == forbidden


def test_links_inside_a_backup_go_and_what_they_point_to_stays(place: Place) -> None:
    data = place.planted.base / place.backups()[0] / "data"
    (data / "pg_wal").symlink_to(place.planted.outside)
    (data / "file").symlink_to(place.planted.outside / "passwd")
    forbidden = place.planted.forbidden()
    place.hands().ensure_retained(place.order())
    assert not data.exists()
    assert place.planted.forbidden() == forbidden


class _Killed(BaseException):
    """Stands for SIGKILL: nothing of ours catches it."""


def _kill_at(monkeypatch: pytest.MonkeyPatch, number: int, *, after: bool) -> list[str]:
    """Let the process die before or after its effect of that number; return the effects as they come."""
    done: list[str] = []

    def striking(effect: Callable[..., Any]) -> Callable[..., Any]:
        def struck(*given: Any, **more: Any) -> Any:
            done.append(f"{effect.__name__} {given[0]}")
            if len(done) == number and not after:
                raise _Killed
            result = effect(*given, **more)
            if len(done) == number:
                raise _Killed
            return result

        return struck

    for name in ("rename", "unlink", "rmdir"):
        monkeypatch.setattr(os, name, striking(getattr(os, name)))
    return done


@pytest.mark.long
def test_killed_before_or_after_any_effect_it_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole = Place(tmp_path / "undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        effects = len(_kill_and_run(patch, whole, number=10**6, after=False))
    expected = whole.tree()
    assert effects > 30
    for number in range(1, effects + 1):
        for after in (False, True):
            here = Place(tmp_path / f"{number}-{after}")
            with pytest.MonkeyPatch.context() as patch, pytest.raises(_Killed):
                _kill_and_run(patch, here, number=number, after=after)
            _require_only_whole_backups(here)
            here.hands().ensure_retained(here.order())
            assert here.tree() == expected, f"killed {'after' if after else 'before'} effect {number}"
            assert vanished(here.state, "shop", set(here.backups())) == []


def _kill_and_run(patch: pytest.MonkeyPatch, place: Place, *, number: int, after: bool) -> list[str]:
    done = _kill_at(patch, number, after=after)
    place.hands().ensure_retained(place.order())
    return done


def _require_only_whole_backups(place: Place) -> None:
    """Whatever the catalogue lists is all there, and the WAL of every kept one is, too."""
    for name in place.backups():
        assert (place.planted.base / name / "data" / "global" / "pg_control").is_file(), name
        assert (place.planted.base / name / "data" / "PG_VERSION").is_file(), name
    kept = [name for name in place.backups() if name >= "20261116"]
    assert len(kept) == 6
    assert set(place.segments()) >= set(range(5, 12))


def test_what_was_set_aside_by_a_killed_run_is_judged_again_and_not_simply_erased(place: Place) -> None:
    oldest = place.backups()[0]
    removal.set_aside(place.planted.base, oldest)
    for name in place.backups():
        catalogue.record_level(place.shelf, name, Level.NONE, NOW)
    place.hands().ensure_retained(place.order())
    assert oldest in place.backups(), "it has become the last one that was verified"
