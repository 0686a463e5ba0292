"""What lies on a shelf may be called and say anything: it stops no recovery, and is named as what it is."""

import json
import os
from pathlib import Path

import pytest

from activities import catalogue, plain_files
from activities.postgres import manifest, shelf
from activities.postgres.listing import Listing
from activities.postgres.slots import recorded_slot
from domain.backups import ShelfOrder
from domain.contents import Contents, TableState
from domain.entries import ENTRY
from domain.errors import BackupUnusable
from domain.wal import follow_chain
from tests.faults.record import Seen
from tests.hands.hostile.planted import Planted, entry, planted

NAMES = [
    b"--privileged",
    b"-v",
    b"$(touch pwned)",
    b"x; rm -rf x",
    b"`id`",
    b"a\nFORGED: recovered",
    b"\x1b[31mred",
    b"\xff\xfe not unicode",
    "\u202egpj.exe".encode(),
    b"x" * 200,
    b"a:b",
]
SEGMENT = 16 * 1024 * 1024


@pytest.fixture
def place(tmp_path: Path) -> Planted:
    return planted(tmp_path)


def directory_called(place: Planted, name: bytes) -> Path:
    path = Path(os.fsdecode(os.fsencode(place.base) + b"/" + name))
    (path / catalogue.DATA).mkdir(parents=True)
    shown = path.name.encode(errors="replace").decode()
    made = entry("x").model_copy(update={"id": shown, "path": f"postgres/base/{shown}/data"})
    catalogue.write_entry(path, made)
    return path


@pytest.mark.fault("K3")
@pytest.mark.fault("K4")
@pytest.mark.parametrize("name", NAMES[:5], ids=ascii)
def test_a_directory_called_like_a_command_or_an_option_is_a_stranger(
    place: Planted, name: bytes, seen: Seen
) -> None:
    """F-K3, F-K4: the directory of a backup whose name would reach argument lists and container names."""
    directory_called(place, name)
    place.backup("sound")
    assert place.names() == ["sound"]
    assert place.reasons()[name.decode()] == "its name is none that a backup has"
    with pytest.raises(BackupUnusable):
        catalogue.find_backup(place.shelf, name.decode())
    seen(str(place.reasons()))


@pytest.mark.fault("K6")
@pytest.mark.parametrize("name", NAMES[5:], ids=ascii)
def test_a_name_that_no_text_can_hold_is_listed_escaped(place: Planted, name: bytes, seen: Seen) -> None:
    """F-K6: file names with newlines, escapes, bytes that are no Unicode, and of great length."""
    directory_called(place, name)
    place.backup("sound")
    listed = Listing().observe_backups(ShelfOrder(shelf=str(place.shelf)))
    assert [backup.id for backup in listed.backups] == ["sound"]
    (stranger,) = listed.strangers
    assert stranger.id.isprintable()
    assert "\n" not in listed.model_dump_json(indent=None)
    seen(f"{stranger.id}: {stranger.reason}")


@pytest.mark.fault("K6")
def test_ten_thousand_strangers_and_fat_entries_fit_into_an_answer(place: Planted, seen: Seen) -> None:
    """F-K6: a shelf full of things that are no backups, and entries with megabytes of text."""
    for number in range(10_000):
        (place.base / f"{number:05} {'x' * 200}").touch()
    fat = place.base / "fat"
    (fat / catalogue.DATA).mkdir(parents=True)
    catalogue.write_entry(fat, entry("fat").model_copy(update={"reason": "r" * 10_000_000}))
    tables = tuple(TableState(name=f"public.table_{number:050}", rows=1) for number in range(2000))
    for number in range(20):
        place.backup(f"b{number}", contents=Contents(tables=tables))
    listed = Listing().observe_backups(ShelfOrder(shelf=str(place.shelf)))
    assert len(listed.backups) == 20
    assert len(listed.model_dump_json()) < 200_000
    assert "more that are no backups" in listed.strangers[-1].reason
    seen(f"{listed.strangers[-1].reason}; {len(listed.model_dump_json())} bytes in all")


@pytest.mark.timeout(120)
@pytest.mark.fault("K7")
def test_texts_that_nest_or_grow_without_end_are_no_entries(place: Planted, seen: Seen) -> None:
    """F-K7: deep JSON and endless files in the place of entry, manifest, record and history."""
    deep = "[" * 200_000 + "]" * 200_000
    for name, text in (("deep", deep), ("deepmap", '{"a":' * 100_000), ("digits", "9" * 100_000)):
        place.backup(name)
        (place.base / name / ENTRY).write_text(text)
    place.backup("endless")
    with (place.base / "endless" / ENTRY).open("wb") as file:
        file.truncate(1 << 40)
    place.backup("sound")
    data = place.base / "sound" / catalogue.DATA
    (data / "backup_manifest").write_text(deep)
    wal = place.shelf / "postgres" / "wal"
    (wal / "dr_recv_1").mkdir(parents=True)
    (wal / "receiver.json").write_text(deep)
    (wal / "dr_recv_1" / "00000002.history").write_text("1 " * 5_000_000)
    (wal / "dr_recv_1" / "00000003.history").write_text("9" * 10_000 + "\t0/1\n")
    assert place.names() == ["sound"]
    with pytest.raises(BackupUnusable, match="not readable as one"):
        manifest.read_facts(data)
    with (data / "backup_manifest").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(BackupUnusable, match="larger than"):
        manifest.read_facts(data)
    assert recorded_slot(place.shelf / "postgres") is None
    assert not shelf.read_received(place.shelf, SEGMENT, os.getuid()).archive.histories
    with pytest.raises(OSError, match="larger than"):
        plain_files.read(place.base / "endless" / ENTRY, 1000)
    seen(str(place.reasons()))


@pytest.mark.timeout(120)
@pytest.mark.fault("K7")
def test_a_segment_that_claims_a_far_place_does_not_fill_the_memory(place: Planted, seen: Seen) -> None:
    """F-K7: one file in the archive whose name lies a trillion segments ahead."""
    wal = place.shelf / "postgres" / "wal" / "dr_recv_1"
    wal.mkdir(parents=True)
    for name in ("000000010000000000000001", "00000001FFFFFFFF000000FF"):
        with (wal / name).open("wb") as file:
            file.truncate(SEGMENT)
    archive = shelf.read_received(place.shelf, SEGMENT, os.getuid()).archive
    assert len(archive.closed) == 2
    chain = follow_chain(archive, start="000000010000000000000001", stop_lsn="0/1000100", timeline=1)
    assert not chain.whole
    assert "000000010000000000000002 to" in chain.problem
    seen(chain.problem)


@pytest.mark.parametrize("slot", ["../../outside", "x; id", "", ["dr_recv_1"], None])
def test_a_record_of_the_receiver_that_names_no_slot_is_none(place: Planted, slot: object) -> None:
    wal = place.shelf / "postgres" / "wal"
    wal.mkdir(parents=True)
    (wal / "receiver.json").write_text(json.dumps({"slot": slot}))
    assert recorded_slot(place.shelf / "postgres") is None
