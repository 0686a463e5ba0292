"""The shelf as somebody else filled it: no path and no link on it leads anywhere else."""

import json
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from activities import catalogue, plain_files
from activities.engine import Engine
from activities.ledger_journal import LedgerFiles
from activities.postgres import manifest, maxima, shelf
from activities.postgres.last_wal import Draining
from activities.postgres.restore import Restoring
from activities.postgres.slots import record_slot, recorded_slot
from activities.records import Records
from activities.reports import Reports
from activities.tokens import Tokens
from domain.backups import Level
from domain.entries import ENTRY
from domain.errors import BackupUnusable, Refused
from domain.order import Order, Token
from domain.recovery import Copy, RestoreOrder
from domain.report import ReportOrder
from tests.faults.record import Seen
from tests.hands.hostile.planted import NOW, SECRET, Planted, entry, planted, target_on, untouched
from tests.hands.test_reports import SAMPLE
from worker.report_store import load_report, report_path

PATHS = ["../../../../etc", "/etc", "postgres/base/../../../outside/data", "..", "%2e%2e/outside", "a\x00b"]
NAME = "20261122T043000Z-base"


@pytest.fixture
def place(tmp_path: Path) -> Planted:
    return planted(tmp_path)


@pytest.mark.fault("K1")
@pytest.mark.parametrize("path", PATHS, ids=ascii)
def test_a_restore_from_a_path_outside_the_shelf_is_refused(place: Planted, path: str, seen: Seen) -> None:
    """F-K1: the path of a backup in an order taken from history."""
    hand = Restoring(untouched(), Tokens(place.shelf), place.shelf)
    order = RestoreOrder(
        recovery_id="r1",
        target=target_on(str(place.shelf)),
        backup=entry(NAME).model_copy(update={"path": path}),
    )
    with pytest.raises(Refused) as refused:
        hand.ensure_restored(order)
    assert refused.value.code == "path-escapes"
    seen(f"refused before Docker was asked for anything: {refused.value.what}")


@pytest.mark.fault("K1")
@pytest.mark.parametrize("root", ["/", "/etc", "/proc/1/root", "/srv/../etc", "/srv/a:/etc", "relative"])
def test_a_shelf_from_history_that_is_no_shelf_is_never_mounted(root: str, seen: Seen) -> None:
    """F-K1: the shelf in an order taken from history."""
    hand = Restoring(untouched(), Tokens(Path("/nowhere")), Path("/nowhere"))
    with pytest.raises(Refused) as refused:
        hand.ensure_restored(RestoreOrder(recovery_id="r1", target=target_on(root), backup=entry(NAME)))
    assert refused.value.code == "path-escapes"
    with pytest.raises(Refused):
        shelf.archive_of(target_on(root))
    seen(refused.value.what)


@pytest.mark.fault("K1")
@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../../outside", "", "."])
def test_a_name_of_a_backup_finds_entries_and_never_paths(place: Planted, name: str, seen: Seen) -> None:
    """F-K1: the name of a backup as `dr backup verify` and the Web UI give it."""
    place.backup(NAME)
    before = place.forbidden()
    acts: list[Callable[[], object]] = [
        lambda: catalogue.find_backup(place.shelf, name),
        lambda: catalogue.record_level(place.shelf, name, Level.RESTORED, NOW),
    ]
    for act in acts:
        with pytest.raises(BackupUnusable) as refused:
            act()
        assert refused.value.code == "backup-unknown"
    assert place.forbidden() == before
    seen("no such backup, and nothing outside was touched")


@pytest.mark.fault("K1")
def test_an_entry_that_names_another_place_is_a_stranger(place: Planted, seen: Seen) -> None:
    """F-K1: the path and the id inside the catalogue's own files."""
    for number, wrong in enumerate(({"path": "../outside/data"}, {"path": "/etc"}, {"id": "../outside"})):
        directory = place.base / f"b{number}"
        (directory / catalogue.DATA).mkdir(parents=True)
        catalogue.write_entry(directory, entry(f"b{number}").model_copy(update=wrong))
    assert place.names() == []
    assert set(place.reasons()) == {"b0", "b1", "b2"}
    seen(str(place.reasons()))


@pytest.mark.fault("K1")
@pytest.mark.parametrize("name", ["../outside/x", "/etc/x", "a/b", "..", "x\x00"], ids=ascii)
async def test_records_tokens_and_reports_stay_in_the_state_directory(
    place: Planted, name: str, seen: Seen
) -> None:
    """F-K1: a recovery id, a stack and a run in orders taken from history and in `dr report`."""
    state = place.shelf
    before = place.forbidden()
    records = Records(state)
    acts: list[Callable[[], object]] = [
        lambda: records.write("swap", name, {}),
        lambda: records.read("swap", name),
        lambda: records.remove("swap", name),
        lambda: Tokens(state).admit(Order(token=Token(run_started_ns=1)), name),
        lambda: LedgerFiles(state, name),
    ]
    for act in acts:
        with pytest.raises(Refused) as refused:
            act()
        assert refused.value.code == "path-escapes"
    for field in ("stack", "recovery_id"):
        order = ReportOrder(draft=SAMPLE.model_copy(update={field: name}))
        with pytest.raises(Refused):
            await Reports(state, untouched()).ensure_report_written(order)
    assert report_path(state, name) is None
    assert place.forbidden() == before
    seen("refused, and nothing outside was touched")


@pytest.mark.fault("K1")
def test_the_pointer_to_the_latest_report_leads_to_reports_alone(place: Planted, seen: Seen) -> None:
    """F-K1: the path in a file of the state directory."""
    report = place.outside / "report.json"
    report.write_text(SAMPLE.model_dump_json())
    pointer = place.shelf / "reports" / "latest.json"
    pointer.parent.mkdir()
    for path in (str(report), "../../outside/report.json", f"{pointer.parent}/../../outside/report.json"):
        pointer.write_text(json.dumps({"path": path}))
        assert load_report(place.shelf) is None
    seen("a report outside was not read")


@pytest.mark.fault("K2")
def test_links_on_the_shelf_are_not_followed(place: Planted, seen: Seen) -> None:
    """F-K2: symbolic links in the place of an entry, a backup, its data, its manifest."""
    for name in ("entry", "whole", "data", "manifest"):
        place.backup(name)
    (place.base / "entry" / ENTRY).rename(place.outside / "entry.json")
    (place.base / "entry" / ENTRY).symlink_to(place.outside / "entry.json")
    (place.base / "whole").rename(place.outside / "whole")
    (place.base / "whole").symlink_to(place.outside / "whole")
    (place.base / "data" / catalogue.DATA / "PG_VERSION").unlink()
    (place.base / "data" / catalogue.DATA).rmdir()
    (place.base / "data" / catalogue.DATA).symlink_to(place.outside / "data")
    (place.base / "manifest" / catalogue.DATA / "backup_manifest").symlink_to(place.outside / "passwd")
    assert place.names() == ["manifest"]
    assert set(place.reasons()) == {"entry", "whole", "data"}
    with pytest.raises(BackupUnusable) as refused:
        manifest.read_facts(place.base / "manifest" / catalogue.DATA)
    assert "symbolic link" in refused.value.what
    assert SECRET not in str(refused.value)
    seen(f"{place.reasons()}, {refused.value.what}")


@pytest.mark.fault("K2")
def test_a_link_that_replaces_a_backup_between_check_and_use_is_not_written_through(
    place: Planted, seen: Seen
) -> None:
    """F-K2: the directory of a judged backup is swapped for a link before its level is recorded."""
    found = place.backup(NAME)
    before = place.forbidden()
    (place.base / NAME).rename(place.base / "moved")
    (place.base / NAME).symlink_to(place.outside)
    with pytest.raises(OSError, match="symbolic link"):
        catalogue.record(place.shelf, found.model_copy(update={"verified": Level.RESTORED}))
    with pytest.raises(OSError, match="symbolic link"):
        plain_files.read(place.base / NAME / "passwd", 1000)
    assert place.forbidden() == before
    seen("the write ended at the link")


@pytest.mark.fault("K2")
def test_a_directory_is_given_to_the_server_only_when_it_is_one(place: Planted, seen: Seen) -> None:
    """F-K2: a link in the place of a directory that is about to change its owner and mode."""
    before = place.outside.stat()
    (place.shelf / "postgres" / "wal").symlink_to(place.outside)
    with pytest.raises(Refused) as refused:
        shelf.prepare(target_on(str(place.shelf)))
    with pytest.raises(OSError, match="symbolic link"):
        plain_files.own(place.shelf / "postgres" / "wal", 12345, 12345)
    after = place.outside.stat()
    assert (after.st_uid, after.st_mode) == (before.st_uid, before.st_mode)
    with pytest.raises(Refused):
        shelf.archive_of(target_on(str(place.shelf)))
    seen(refused.value.what)


@pytest.mark.fault("K2")
def test_a_hard_link_is_replaced_and_its_other_name_keeps_the_content(place: Planted, seen: Seen) -> None:
    """F-K2: entry and record are hard links to files of another place."""
    place.backup(NAME)
    record = place.shelf / "postgres" / "wal" / "receiver.json"
    record.parent.mkdir()
    other = place.outside / "other.json"
    other.write_bytes((place.base / NAME / ENTRY).read_bytes())
    (place.base / NAME / ENTRY).unlink()
    os.link(other, place.base / NAME / ENTRY)
    os.link(place.outside / "passwd", record)
    before = place.forbidden()
    catalogue.record_level(place.shelf, NAME, Level.RESTORED, NOW + timedelta(days=1))
    record_slot(place.shelf / "postgres", "dr_recv_1")
    assert place.forbidden() == before
    assert catalogue.find_backup(place.shelf, NAME).verified is Level.RESTORED
    assert recorded_slot(place.shelf / "postgres") is not None
    seen("new files took the names; the linked ones are as they were")


@pytest.mark.fault("K2")
@pytest.mark.timeout(60)
def test_a_pipe_or_a_device_in_the_place_of_a_file_holds_nobody(place: Planted, seen: Seen) -> None:
    """F-K2: things that are no files, where files are read."""
    for name in ("pipe", "link"):
        place.backup(name)
        (place.base / name / ENTRY).unlink()
    os.mkfifo(place.base / "pipe" / ENTRY)
    (place.base / "link" / ENTRY).symlink_to("/dev/zero")
    place.backup("sound")
    os.mkfifo(place.base / "sound" / catalogue.DATA / "backup_manifest")
    wal = place.shelf / "postgres" / "wal" / "dr_recv_1"
    wal.mkdir(parents=True)
    os.mkfifo(wal / "00000002.history")
    os.mkfifo(wal / "000000010000000000000001")
    os.mkfifo(wal.parent / "receiver.json")
    assert place.names() == ["sound"]
    with pytest.raises(BackupUnusable, match="no regular file"):
        manifest.read_facts(place.base / "sound" / catalogue.DATA)
    assert "no file" in plain_files.strange_in(place.base / "sound" / catalogue.DATA)
    received = shelf.read_received(place.shelf, 16 * 1024 * 1024, os.getuid())
    assert not received.archive.closed
    assert recorded_slot(place.shelf / "postgres") is None
    seen(str(place.reasons()))


@pytest.mark.fault("K2")
def test_a_partial_segment_that_is_a_link_is_not_copied_for_the_server(place: Planted, seen: Seen) -> None:
    """F-K2: the receiver's unfinished segment is a link to a file that only root may read."""
    wal = place.shelf / "postgres" / "wal" / "dr_recv_1"
    wal.mkdir(parents=True)
    (wal / "000000010000000000000002.partial").symlink_to(place.outside / "passwd")
    (wal / "000000010000000000000003.partial").write_bytes(b"w" * 100)
    sockets = place.shelf / "sockets"
    sockets.mkdir()
    copy = Copy(
        container="dr-x-copy",
        volume="v",
        socket_dir=str(sockets),
        user="postgres",
        database="d",
        timeline=1,
        replayed_lsn="0/1",
        wal_segment_bytes=16 * 1024 * 1024,
    )
    Draining(Nobody(), untouched(), Tokens(place.shelf), place.shelf)._retire_receiver(
        target_on(str(place.shelf)), copy
    )
    assert [path.name for path in (sockets / "aside").iterdir()] == ["000000010000000000000003"]
    (sockets / maxima.FILE).symlink_to(place.outside / "passwd")
    before = place.forbidden()
    assert maxima.read(copy) == {}
    assert maxima.write(copy, target_on(str(place.shelf)), {"max_connections": 7})
    assert maxima.read(copy) == {"max_connections": 7}
    assert place.forbidden() == before
    seen("the link was left out, and the one in the copy's directory was replaced")


class Nobody(Engine):
    """An engine on which nothing runs."""

    def __init__(self) -> None:
        pass

    def look(self, name: str) -> None:
        """Find nothing."""
