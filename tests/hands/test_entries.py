"""The catalogue of every store: written last, read with suspicion, and right about every byte."""

import errno
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from activities import catalogue, entries, plain_files, stored
from activities.engine import Engine
from activities.ledger_journal import LedgerFiles, put_flag
from activities.open_recovery import open_recovery, refuse_while_recovering
from activities.postgres.backup import Backups
from activities.shelf import Shelf
from activities.tokens import Tokens
from domain.backups import BackupOrder, Level, ShelfOrder
from domain.entries import EntryOrder, entry_of
from domain.errors import BackupUnusable, Refused
from domain.order import Order
from tests.hands.hostile.planted import entry as base_entry
from tests.hands.hostile.planted import target_on, untouched
from tests.hands.shelved import AT, DAILY, entry, partial, shelved

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def test_a_published_backup_is_found_whole_under_its_name(tmp_path: Path) -> None:
    made = shelved(tmp_path, reason="nightly")
    assert entries.read_entries(tmp_path) == ([made], [])
    assert entries.find_entry(tmp_path, DAILY) == made
    directory = tmp_path / "postgres" / "daily" / DAILY
    assert sorted(path.name for path in directory.iterdir()) == ["chat.dump", "dr.json", "globals.dump"]
    assert stored.what_differs(directory, made.files) == ""
    assert not list(directory.parent.glob(".*"))


def test_entries_of_all_stores_and_base_backups_are_listed_by_their_end(tmp_path: Path) -> None:
    dump = shelved(tmp_path, ended_at=AT + timedelta(hours=1))
    redis = shelved(tmp_path, "20261122T030000Z-rdb", "redis", ended_at=AT + timedelta(hours=2))
    data = tmp_path / catalogue.BASE / "20261122T010000Z-base" / catalogue.DATA
    data.mkdir(parents=True)
    base = base_entry("20261122T010000Z-base", ended_at=AT)
    catalogue.write_entry(data.parent, base)
    (tmp_path / "postgres" / "wal").mkdir()
    (tmp_path / "postgres" / ".pgpass").write_text("secret")
    found, strangers = entries.read_entries(tmp_path)
    assert found == [redis, dump, entry_of(base)]
    assert strangers == []
    assert entries.find_entry(tmp_path, "") == redis


def test_an_unfinished_backup_is_listed_as_such_and_never_used(tmp_path: Path) -> None:
    partial(tmp_path)
    found, (stranger,) = entries.read_entries(tmp_path)
    assert found == []
    assert stranger.reason == "an unfinished backup"


def test_a_backup_is_not_published_over_another_one(tmp_path: Path) -> None:
    made = shelved(tmp_path)
    again = partial(tmp_path, chat=b"other")
    with pytest.raises(Refused) as refused:
        entries.publish(again, entry(again))
    assert refused.value.code == "name-taken"
    assert entries.read_entries(tmp_path)[0] == [made]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"bytes": 1}, "does not agree"),
        ({"sha256": "0" * 64}, "does not agree"),
        ({"files": ()}, "lists no files"),
        ({"ended_at": datetime(2026, 11, 22)}, "no real times"),  # noqa: DTZ001 - what is refused
        ({"reason": "r" * 3000}, "too long"),
    ],
)
def test_an_entry_that_no_reader_would_believe_is_not_published(
    tmp_path: Path, wrong: dict[str, object], said: str
) -> None:
    made = partial(tmp_path)
    with pytest.raises(Refused, match=said) as refused:
        entries.publish(made, entry(made).model_copy(update=wrong))
    assert refused.value.code == "entry-implausible"
    assert entries.read_entries(tmp_path)[0] == []


@pytest.mark.parametrize("shift", [timedelta(days=2), -timedelta(days=2), timedelta(days=3650)])
def test_an_entry_that_dates_its_backup_otherwise_than_its_name_is_not_believed(
    tmp_path: Path, shift: timedelta
) -> None:
    made = shelved(tmp_path)
    waited = made.model_copy(update={"started_at": made.started_at + timedelta(hours=20)})
    entries.write_entry(tmp_path / made.path, waited)
    assert entries.read_entries(tmp_path) == ([waited], [])
    other = made.model_copy(update={name: getattr(made, name) + shift for name in ("started_at", "ended_at")})
    entries.write_entry(tmp_path / made.path, other)
    found, (stranger,) = entries.read_entries(tmp_path)
    assert found == []
    assert (stranger.id, "and its name 2026-11-22" in stranger.reason) == (DAILY, True)


def test_an_id_of_the_second_that_is_taken_is_that_of_the_next_one(tmp_path: Path) -> None:
    first = entries.new_id(tmp_path, "daily")
    (tmp_path / first).mkdir()
    second = entries.new_id(tmp_path, "daily")
    assert second > first
    assert entries.is_id(second, "daily")
    assert not entries.is_id(second, "weekly")
    assert not entries.is_id("20261399T020000Z-daily", "daily")


@pytest.mark.parametrize("level", [Level.MANIFEST, Level.RESTORED, Level.NONE])
def test_what_was_shown_of_a_backup_is_recorded_with_date_and_means(tmp_path: Path, level: Level) -> None:
    made = shelved(tmp_path)
    changed = entries.record_verified(tmp_path, made, level, NOW, "a drill")
    assert entries.find_entry(tmp_path, DAILY) == changed
    assert (changed.verified, changed.verified_at, changed.verified_by) == (level, NOW, "a drill")
    assert changed.files == made.files


def test_a_shelf_that_takes_no_writing_is_named_where_something_was_to_be_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = shelved(tmp_path)

    def replace(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), "dr.json.new")

    monkeypatch.setattr(plain_files, "replace", replace)
    with pytest.raises(Refused, match="Read-only file system") as refused:
        entries.record_verified(tmp_path, made, Level.MANIFEST, NOW, "a drill")
    assert (refused.value.where, refused.value.code) == (str(tmp_path / made.path), "shelf-unusable")
    assert refused.value.hint


def test_what_was_shown_of_a_base_backup_is_recorded_in_its_own_entry(tmp_path: Path) -> None:
    name = "20261122T010000Z-base"
    (tmp_path / catalogue.BASE / name / catalogue.DATA).mkdir(parents=True)
    catalogue.write_entry(tmp_path / catalogue.BASE / name, base_entry(name))
    seen = entries.find_entry(tmp_path, name)
    entries.record_verified(tmp_path, seen, Level.RESTORED, NOW, "a drill")
    assert catalogue.find_backup(tmp_path, name).verified is Level.RESTORED
    assert entries.find_entry(tmp_path, name).verified_by == "a drill"
    catalogue.record_level(tmp_path, name, Level.MANIFEST, NOW)
    assert entries.find_entry(tmp_path, name).verified_by == "pg_verifybackup"


def test_what_was_shown_of_one_backup_is_never_said_of_another_that_has_its_name_by_now(
    tmp_path: Path,
) -> None:
    made = shelved(tmp_path)
    (tmp_path / made.path).rename(tmp_path / "elsewhere")
    other = partial(tmp_path, chat=b"PGDMP of somebody else")
    entries.publish(other, entry(other))
    with pytest.raises(BackupUnusable) as refused:
        entries.record_verified(tmp_path, made, Level.RESTORED, NOW, "a drill")
    assert refused.value.code == "backup-replaced"
    assert entries.find_entry(tmp_path, DAILY).verified is Level.NONE


def test_a_backup_that_vanished_is_not_recorded_as_anything(tmp_path: Path) -> None:
    made = shelved(tmp_path)
    gone = tmp_path / made.path
    gone.rename(tmp_path / "elsewhere")
    with pytest.raises(BackupUnusable):
        entries.record_verified(tmp_path, made, Level.RESTORED, NOW, "a drill")
    assert not gone.exists()


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def test_every_way_in_which_files_can_differ_from_their_record_is_told(tmp_path: Path) -> None:
    made = shelved(tmp_path)
    directory = tmp_path / made.path
    file = directory / "chat.dump"
    whole = file.read_bytes()
    file.write_bytes(whole[:5])
    assert stored.what_differs(directory, made.files) == "chat.dump has 5 bytes, it had 13"
    file.write_bytes(whole)
    flip(file)
    assert "chat.dump has other bytes than it had" in stored.what_differs(directory, made.files)
    file.unlink()
    assert stored.what_differs(directory, made.files) == "chat.dump is missing"
    file.write_bytes(whole)
    (directory / "more").touch()
    assert "not on its list: more" in stored.what_differs(directory, made.files)
    (directory / "more").unlink()
    # What a worker leaves that is killed while it replaces an entry belongs to nobody's data.
    (directory / ".dr.json.0a1b2c3d.new").touch()
    assert stored.what_differs(directory, made.files) == ""


def test_verifying_the_files_takes_the_level_from_a_backup_that_was_altered(tmp_path: Path) -> None:
    made = shelved(tmp_path, "20261122T030000Z-rdb", "redis")
    order = EntryOrder(shelf=str(tmp_path), entry_id=made.id)
    assert Shelf().verify_files(order).verified is Level.MANIFEST
    flip(tmp_path / made.path / "chat.dump")
    with pytest.raises(BackupUnusable, match="other bytes") as damaged:
        Shelf().verify_files(order)
    assert damaged.value.code == "backup-damaged"
    assert entries.find_entry(tmp_path, made.id).verified is Level.NONE


def test_a_verified_level_is_not_taken_back_to_a_lesser_one(tmp_path: Path) -> None:
    made = shelved(tmp_path, "20261122T030000Z-rdb", "redis")
    entries.record_verified(tmp_path, made, Level.RESTORED, NOW, "a drill")
    seen = Shelf().verify_files(EntryOrder(shelf=str(tmp_path), entry_id=made.id))
    assert (seen.verified, seen.verified_at, seen.verified_by) == (Level.RESTORED, NOW, "a drill")


def test_a_list_is_small_and_an_entry_is_whole(tmp_path: Path) -> None:
    made = shelved(tmp_path)
    listed = Shelf().observe_entries(ShelfOrder(shelf=str(tmp_path)))
    assert [one.files for one in listed.entries] == [()]
    assert "1 backups on the shelf" in listed.sentence
    assert Shelf().observe_entry(EntryOrder(shelf=str(tmp_path), whole=True)).files == made.files
    with pytest.raises(BackupUnusable, match="it is not there"):
        Shelf().observe_entry(EntryOrder(shelf=str(tmp_path), entry_id="20200101T000000Z-daily"))
    with pytest.raises(BackupUnusable, match="holds no backup"):
        Shelf().observe_entry(EntryOrder(shelf=str(tmp_path / "empty")))


def test_while_a_recovery_is_open_only_its_own_backup_is_taken(tmp_path: Path) -> None:
    refuse_while_recovering(tmp_path, "chat", Order())
    put_flag(LedgerFiles(tmp_path, "chat").recovery_open, "20261122T0430Z-0a1b2c3d")
    assert open_recovery(tmp_path, "chat") == "20261122T0430Z-0a1b2c3d"
    with pytest.raises(Refused) as refused:
        refuse_while_recovering(tmp_path, "chat", Order(recovery_id="backup-chat-postgres-daily"))
    assert refused.value.code == "recovery-open"
    assert "20261122T0430Z-0a1b2c3d" in refused.value.what
    refuse_while_recovering(tmp_path, "chat", Order(recovery_id="20261122T0430Z-0a1b2c3d"))
    refuse_while_recovering(tmp_path, "other", Order())


def test_a_base_backup_is_refused_too_while_a_recovery_is_open(tmp_path: Path) -> None:
    put_flag(LedgerFiles(tmp_path, "shop").recovery_open, "20261122T0430Z-0a1b2c3d")
    # All that is asked is whether a killed attempt left a job running, which would have to end.
    idle = cast("Engine", SimpleNamespace(look=lambda _: None))
    order = BackupOrder(target=target_on(str(tmp_path / "shelf")), label="nightly")
    with pytest.raises(Refused) as refused:
        Backups(idle, untouched(), Tokens(tmp_path), tmp_path).ensure_base_backup(order)
    assert refused.value.code == "recovery-open"
    hand = Backups(untouched(), untouched(), Tokens(tmp_path), tmp_path)
    with pytest.raises(AssertionError, match="asked for"):
        hand.ensure_base_backup(order.model_copy(update={"recovery_id": "20261122T0430Z-0a1b2c3d"}))
