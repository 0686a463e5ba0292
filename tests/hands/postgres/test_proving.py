"""What a real recovery proves of the backup that it brought back, and what it does not."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from activities.catalogue import find_backup, record_level
from activities.entries import find_entry
from activities.postgres.proving import Proving
from domain.backups import Level, VerifyBackupOrder
from domain.contents import Contents, TableState
from domain.verification_base import BY_RECOVERY, BY_RECOVERY_ALONE
from tests.hands.hostile.planted import target_on
from tests.hands.offsite.place import BASE, Place, base

COUNTED = Contents(at_lsn="0/500030", tables=(TableState(name="chat.public.messages", rows=7),))
TOO_LATE = COUNTED.model_copy(update={"at_lsn": "0/600000"})


def shelf_with(directory: Path, contents: Contents) -> Path:
    place = Place(directory, "", "")
    base(place)
    path = place.shelf / "postgres/base" / BASE / "dr.json"
    known = find_backup(place.shelf, BASE)
    path.write_text(known.model_copy(update={"contents": contents}).model_dump_json())
    return place.shelf


def recorded(shelf: Path) -> str:
    order = VerifyBackupOrder(target=target_on(str(shelf)), backup_id=BASE)
    return Proving().ensure_recorded_restored(order).sentence


def test_a_backup_that_was_compared_is_recorded_as_restored_by_the_recovery(tmp_path: Path) -> None:
    shelf = shelf_with(tmp_path, COUNTED)
    assert recorded(shelf).endswith("is recorded as restored, checked and compared")
    entry = find_entry(shelf, BASE)
    assert (entry.verified, entry.verified_by) == (Level.RESTORED, BY_RECOVERY)
    recorded(shelf)
    assert find_entry(shelf, BASE).verified_at == entry.verified_at, "a second time keeps the date"


@pytest.mark.parametrize("contents", [Contents(), TOO_LATE], ids=["nothing", "younger than the backup"])
def test_a_backup_of_which_nothing_was_recorded_keeps_the_level_of_its_files_and_says_why(
    tmp_path: Path, contents: Contents
) -> None:
    shelf = shelf_with(tmp_path, contents)
    assert "nothing was recorded to compare it with" in recorded(shelf)
    entry = find_entry(shelf, BASE)
    assert (entry.verified, entry.verified_by) == (Level.MANIFEST, BY_RECOVERY_ALONE)
    recorded(shelf)
    assert find_entry(shelf, BASE).verified_at == entry.verified_at, "a second time keeps the date"


def test_a_level_that_a_verification_gave_is_not_taken_away(tmp_path: Path) -> None:
    shelf = shelf_with(tmp_path, Contents())
    record_level(shelf, BASE, Level.RESTORED, datetime.now(UTC), "a restored copy")
    recorded(shelf)
    assert find_entry(shelf, BASE).verified is Level.RESTORED
