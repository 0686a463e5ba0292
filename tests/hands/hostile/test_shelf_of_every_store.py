"""Entries of any store as somebody else may have put them there: named as strangers, never used."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from activities import entries, stored
from activities.shelf import Shelf
from domain.backups import Level, ShelfOrder
from domain.entries import ENTRY, EntryOrder, files_sha256
from domain.errors import BackupUnusable, Refused
from tests.faults.record import Seen
from tests.hands.hostile.planted import NOW, Planted, planted
from tests.hands.shelved import DAILY, shelved

OTHER = "20261122T030000Z-daily"


@pytest.fixture
def place(tmp_path: Path) -> Planted:
    made = planted(tmp_path)
    shelved(made.shelf)
    return made


def reasons(place: Planted) -> dict[str, str]:
    """Return the strangers; the one sound backup must be found beside them all."""
    found, strangers = entries.read_entries(place.shelf)
    assert [entry.id for entry in found] == [DAILY]
    return {stranger.id: stranger.reason for stranger in strangers}


def rewritten(place: Planted, **facts: Any) -> None:
    """Put a second backup there whose entry says something else."""
    made = shelved(place.shelf, OTHER)
    entry = place.shelf / made.path / ENTRY
    entry.write_text(json.dumps({**json.loads(entry.read_text()), **facts}))


@pytest.mark.fault("K1")
@pytest.mark.parametrize(
    "wrong",
    [
        {"path": "../outside"},
        {"path": "/etc"},
        {"path": f"postgres/daily/{DAILY}"},
        {"id": "../outside"},
        {"id": DAILY},
        {"store": "redis"},
        {"kind": "weekly"},
    ],
    ids=str,
)
def test_an_entry_that_lies_about_its_place_is_a_stranger(
    place: Planted, wrong: dict[str, str], seen: Seen
) -> None:
    """F-K1: id, store, kind and path inside an entry that name another place."""
    rewritten(place, **wrong)
    assert "its entry is that of" in reasons(place)[OTHER]
    seen(reasons(place)[OTHER])


@pytest.mark.fault("K1")
@pytest.mark.parametrize(
    "path", ["../../../outside/passwd", "/etc/passwd", "a/../../b", "", "a//b", "dr.json", "a\nb"], ids=ascii
)
def test_a_list_of_files_that_leads_elsewhere_is_not_believed(place: Planted, path: str, seen: Seen) -> None:
    """F-K1: the path of a file in the list of an entry."""
    made = shelved(place.shelf, OTHER)
    files = (made.files[0].model_copy(update={"path": path}), *made.files[1:])
    facts = {"files": [file.model_dump() for file in files], "sha256": files_sha256(files)}
    entry = place.shelf / made.path / ENTRY
    entry.write_text(json.dumps({**json.loads(entry.read_text()), **facts}))
    assert "outside its directory" in reasons(place)[OTHER]
    seen(reasons(place)[OTHER])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"surprise": 1}, "surprise"),
        ({"files": []}, "lists no files"),
        ({"bytes": 0}, "does not agree with its own list"),
        ({"sha256": "0" * 64}, "does not agree with its own list"),
        ({"ended_at": "2026-11-22T04:30:00"}, "no real times"),
        ({"scheduled_for": "2026-11-22T04:30:00"}, "no real times"),
        ({"label": "x" * 5000}, "too long"),
    ],
)
def test_an_entry_that_cannot_be_true_is_a_stranger(place: Planted, wrong: dict[str, Any], said: str) -> None:
    rewritten(place, **wrong)
    assert said in reasons(place)[OTHER]


@pytest.mark.fault("K2")
def test_links_in_the_place_of_stores_kinds_backups_and_files_are_not_followed(
    place: Planted, seen: Seen
) -> None:
    """F-K2: a symbolic link at every level of the shelf."""
    before = place.forbidden()
    (place.shelf / "redis").symlink_to(place.outside)
    (place.shelf / "postgres" / "weekly").symlink_to(place.outside)
    (place.shelf / "postgres" / "daily" / OTHER).symlink_to(place.shelf / "postgres" / "daily" / DAILY)
    found = reasons(place)
    assert {found[name] for name in ("redis", "postgres/weekly", OTHER)} == {
        "a symbolic link, which is not followed"
    }
    assert place.forbidden() == before
    seen(str(found))


@pytest.mark.fault("K2")
@pytest.mark.parametrize("what", ["chat.dump", "dr.json"])
def test_a_link_in_the_place_of_a_file_is_neither_read_nor_written_through(
    place: Planted, what: str, seen: Seen
) -> None:
    """F-K2: a dump, and an entry, that are links to a file elsewhere."""
    made = shelved(place.shelf, OTHER)
    victim = place.shelf / made.path / what
    victim.unlink()
    victim.symlink_to(place.outside / "passwd")
    before = place.forbidden()
    order = EntryOrder(shelf=str(place.shelf), entry_id=OTHER)
    with pytest.raises(BackupUnusable, match="link"):
        Shelf().verify_files(order)
    assert "link" in stored.what_differs(place.shelf / made.path, made.files)
    assert place.forbidden() == before
    seen("refused, and what the link points to is as it was")


def test_a_pipe_in_the_place_of_a_file_holds_nobody(place: Planted) -> None:
    made = shelved(place.shelf, OTHER)
    victim = place.shelf / made.path / "chat.dump"
    victim.unlink()
    os.mkfifo(victim)
    assert "no file, which is not followed" in stored.what_differs(place.shelf / made.path, made.files)


@pytest.mark.fault("K3")
@pytest.mark.fault("K6")
@pytest.mark.parametrize(
    "name",
    [b"--privileged", b"$(touch pwned)", b"a\nFORGED: recovered", b"\xff\xfe", b"20261122T030000Z-daily;id"],
    ids=ascii,
)
def test_a_directory_with_another_name_than_a_backup_has_is_a_stranger(
    place: Planted, name: bytes, seen: Seen
) -> None:
    """F-K3, F-K6: names that would reach containers, argument lists and terminals."""
    os.mkdir(os.fsencode(place.shelf / "postgres" / "daily") + b"/" + name)  # noqa: PTH102 - of bytes
    listed = Shelf().observe_entries(ShelfOrder(shelf=str(place.shelf)))
    (stranger,) = listed.strangers
    assert stranger.reason == "its name is none that a backup has"
    assert stranger.id.isprintable()
    assert "\n" not in listed.model_dump_json()
    seen(f"{stranger.id}: {stranger.reason}")


@pytest.mark.fault("K7")
def test_an_endless_or_deep_entry_is_none(place: Planted, seen: Seen) -> None:
    """F-K7: a sparse terabyte, and JSON that nests, in the place of an entry."""
    deep, endless = (shelved(place.shelf, f"2026112{n}T030000Z-daily") for n in (3, 4))
    (place.shelf / deep.path / ENTRY).write_text("[" * 200_000 + "]" * 200_000)
    with (place.shelf / endless.path / ENTRY).open("wb") as file:
        file.truncate(1 << 40)
    found = reasons(place)
    assert "is broken" in found[deep.id]
    assert "is larger than" in found[endless.id]
    seen(str(found))


def test_what_is_no_store_and_no_kind_is_named_and_left_alone(place: Planted) -> None:
    (place.shelf / "notes.txt").write_text("mine")
    (place.shelf / "postgres" / "hourly").mkdir()
    (place.shelf / "emergency").mkdir()
    assert reasons(place) == {"notes.txt": "it is no store", "postgres/hourly": "it is no kind of backup"}
    assert (place.shelf / "notes.txt").read_text() == "mine"


def test_a_thousand_strangers_fit_into_an_answer(place: Planted) -> None:
    for number in range(1000):
        (place.shelf / "postgres" / "daily" / f"{number:04} {'x' * 200}").touch()
    found = reasons(place)
    assert len(found) == 51
    assert found["…"] == "950 more that are no backups"


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", f"daily/{DAILY}", "."])
def test_a_name_finds_entries_and_never_paths(place: Planted, name: str) -> None:
    before = place.forbidden()
    with pytest.raises(BackupUnusable) as refused:
        entries.find_entry(place.shelf, name)
    assert refused.value.code == "backup-unknown"
    sound = entries.find_entry(place.shelf, DAILY)
    with pytest.raises(Refused, match="part of the path"):
        entries.record_verified(
            place.shelf, sound.model_copy(update={"id": "../../../outside"}), Level.RESTORED, NOW, "x"
        )
    assert place.forbidden() == before
