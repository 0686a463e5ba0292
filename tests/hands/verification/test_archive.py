"""The archived WAL as a verification follows it: from the newest whole base backup, of its own cluster."""

from pathlib import Path

import pytest

from activities import catalogue
from activities.postgres.archive_check import ArchiveChecks
from domain.backups import Level
from domain.order import TargetOrder
from domain.recovery import Judged
from tests.faults.record import Seen
from tests.hands.hostile.planted import entry, target_on
from tests.hands.postgres.test_misstated import NAMES, SIZE, SYSTEM, segment

pytestmark = pytest.mark.hand

ID = "20261122T010000Z-base"


class Shelf:
    """A base backup that ended in the first of four segments."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.wal = path / "postgres" / "wal" / "dr_recv_1"
        self.wal.mkdir(parents=True)
        for name in NAMES:
            segment(self.wal, name)
        self.backed_up(ID)

    def backed_up(self, name: str, **other: object) -> Path:
        """Put a base backup on the shelf, with the one segment that it needs itself; return that segment."""
        data = self.path / catalogue.BASE / name / catalogue.DATA
        (data / "pg_wal").mkdir(parents=True, exist_ok=True)
        values: dict[str, object] = {
            "system_identifier": SYSTEM,
            "wal_segment_bytes": SIZE,
            "start_lsn": "0/100028",
            "stop_lsn": "0/100100",
        }
        catalogue.write_entry(data.parent, entry(name, **(values | other)))
        segment(data / "pg_wal", NAMES[0])
        return data / "pg_wal" / NAMES[0]

    def judged(self) -> Judged:
        return ArchiveChecks().verify_archive(TargetOrder(target=target_on(str(self.path))))


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def test_a_whole_archive_passes_and_says_how_far_it_goes(shelf: Shelf) -> None:
    found = shelf.judged()
    assert found.passed, found
    assert f"4 segments from {NAMES[0]} to {NAMES[3]}, none missing, written at 20" in found.sentence


def test_a_segment_that_is_missing_or_of_another_cluster_fails_it_by_name(shelf: Shelf) -> None:
    (shelf.wal / NAMES[1]).unlink()
    segment(shelf.wal, NAMES[2], system="7")
    found = shelf.judged()
    assert not found.passed
    assert f"{NAMES[1]} to {NAMES[2]} (2 segments) missing or unusable" in found.sentence


def test_what_a_backup_brings_itself_is_no_archive(shelf: Shelf) -> None:
    for path in shelf.wal.iterdir():
        path.unlink()
    found = shelf.judged()
    assert [(one.name, one.passed) for one in found.proofs] == [("chain", True), ("archive", False)]
    assert not found.passed
    segment(shelf.wal, NAMES[1])
    (shelf.wal / NAMES[1]).rename(shelf.wal / f"{NAMES[1]}.partial")
    assert not shelf.judged().passed, "an open segment may be anybody's"
    segment(shelf.wal, NAMES[0])
    assert shelf.judged().passed


@pytest.mark.fault("C7")
def test_a_base_backup_of_another_server_is_not_followed_by_this_ones_wal(shelf: Shelf, seen: Seen) -> None:
    """F-C7: the newest base backup on the shelf was taken of another stack's server."""
    assert shelf.judged().passed
    shelf.backed_up("20261123T010000Z-base", system_identifier="7", ended_at="2026-12-23T01:10:00Z")
    found = shelf.judged()
    assert not found.passed
    assert "the archive holds no WAL of this cluster" in found.sentence
    seen(found.sentence)


def test_a_backup_that_is_known_to_be_damaged_is_not_what_the_archive_goes_on_from(shelf: Shelf) -> None:
    (shelf.wal / NAMES[1]).unlink()
    shelf.backed_up(ID, verified=Level.NONE)
    found = shelf.judged()
    assert (found.passed, found.proofs) == (False, ())
    assert "no base backup is known to be whole" in found.sentence
