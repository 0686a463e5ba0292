"""The record of what a backup held: believed of exactly that backup, refused else. No server is needed."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from activities import stored
from activities.postgres.recorded import (
    ensure_base_record,
    with_base_record,
    with_dump_record,
    write_base,
    write_dump,
)
from domain.backups import Backup
from domain.contents import Contents, DatabaseState, TableState
from domain.dumps import GLOBALS, Recorded
from domain.entries import RECORD, Entry, Source, files_sha256
from domain.errors import BackupUnusable
from tests.hands import shelved

HELD = Contents(tables=(TableState(name="public.users", rows=200),), at_lsn="0/3000028", roles=("postgres",))
AT = datetime(2026, 11, 22, 1, 0, tzinfo=UTC)
TAKEN = Backup(
    id="20261122T010000Z-base",
    path="postgres/base/20261122T010000Z-base/data",
    started_at=AT,
    ended_at=AT,
    bytes=1,
    sha256="ab" * 32,
    system_identifier="77",
    server_version="17.11 (Debian 17.11-1)",
    image_id="sha256:0123",
    timeline=1,
    start_lsn="0/2000028",
    stop_lsn="0/4000028",
    start_segment="000000010000000000000002",
    contents=HELD,
)
REBUILT = TAKEN.model_copy(update={"contents": Contents(), "image_id": "", "server_version": "17"})


def dumped(name: str, rows: int, digest: str = "") -> Contents:
    table = TableState(name="public.users", rows=rows, digest=digest)
    return Contents(databases=(DatabaseState(name=name, file=f"{name}.dump", tables=(table,)),))


@pytest.fixture
def dump(tmp_path: Path) -> Entry:
    """Return a finished dump in ``tmp_path`` with its record beside it."""
    for name in ("chat.dump", GLOBALS):
        (tmp_path / name).write_text(f"-- {name}")
    files = stored.stored_files(tmp_path)
    made = shelved.AT
    entry = Entry(
        id=shelved.DAILY,
        store="postgres",
        kind="daily",
        path=f"postgres/daily/{shelved.DAILY}",
        started_at=made,
        ended_at=made,
        bytes=sum(file.bytes for file in files),
        sha256=files_sha256(files),
        files=files,
        source=Source(system_identifier="77", version="17.11"),
        contents=dumped("chat", 200, digest="d1"),
    )
    return write_dump(tmp_path, entry)


def bare_again(dump: Entry, directory: Path, contents: Contents) -> Entry:
    """Return the entry that the files alone give."""
    files = stored.stored_files(directory)
    return dump.model_copy(update={"files": files, "source": Source(version="17.11"), "contents": contents})


def changed(**said: object) -> Callable[[Path], None]:
    def change(file: Path) -> None:
        recorded = Recorded.model_validate_json(file.read_text()).model_copy(update=said)
        file.write_text(recorded.model_dump_json())

    return change


def test_what_was_written_beside_a_base_backup_is_known_again(tmp_path: Path) -> None:
    known = write_base(tmp_path, TAKEN)
    assert known.record_sha256
    assert (tmp_path / RECORD).lstat().st_mode & 0o777 == 0o600
    assert with_base_record(tmp_path, REBUILT) == known
    (tmp_path / RECORD).unlink()
    assert with_base_record(tmp_path, REBUILT) == REBUILT, "an older one has none"
    assert ensure_base_record(tmp_path, TAKEN) == TAKEN, "and is given none"
    assert not (tmp_path / RECORD).exists()
    assert ensure_base_record(tmp_path, known) == known
    assert with_base_record(tmp_path, REBUILT) == known, "a lost one is written again by its entry"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (changed(id="20261122T020000Z-base"), "it is that of postgres base 20261122T020000Z-base"),
        (changed(kind="daily"), "it is that of"),
        (changed(sha256="cd" * 32), "it was written of other files"),
        (changed(source=Source(system_identifier="78", version="17.11", timeline=1)), "of another server"),
        (changed(source=Source(system_identifier="77", version="16.1", timeline=1)), "of another server"),
        (changed(source=Source(image_id="x" * 3000)), "too long"),
        (changed(contents=HELD.model_copy(update={"at_lsn": "soon"})), "no real position"),
        (lambda file: file.write_text("{}"), "it is none"),
        (lambda file: file.write_bytes(b"\xff\x00garbage"), "it is none"),
        (lambda file: file.write_text("[" * 200_000), "it is none"),
        (lambda file: file.write_bytes(b" " * (16 * 1024 * 1024 + 1)), "it is larger than"),
    ],
)
def test_a_record_that_does_not_belong_to_a_base_backup_is_not_believed(
    tmp_path: Path, change: Callable[[Path], object], why: str
) -> None:
    write_base(tmp_path, TAKEN)
    change(tmp_path / RECORD)
    with pytest.raises(BackupUnusable) as refused:
        with_base_record(tmp_path, REBUILT)
    assert why in refused.value.what
    assert refused.value.code == "record-strange"


@pytest.mark.parametrize("what", ["link", "directory", "pipe"])
def test_a_record_that_is_no_file_is_not_followed(tmp_path: Path, what: str) -> None:
    beside = tmp_path / "backup"
    beside.mkdir()
    write_base(tmp_path, TAKEN)
    place = beside / RECORD
    if what == "link":
        place.symlink_to(tmp_path / RECORD)
    elif what == "directory":
        place.mkdir()
    else:
        os.mkfifo(place)
    with pytest.raises(BackupUnusable, match="cannot be read"):
        with_base_record(beside, REBUILT)


def test_the_record_of_a_dump_is_one_of_its_files_and_is_known_again(dump: Entry, tmp_path: Path) -> None:
    assert [file.path for file in dump.files] == ["chat.dump", RECORD, GLOBALS]
    assert not stored.what_differs(tmp_path, dump.files)
    assert dump.sha256 == files_sha256(dump.files)
    assert dump.bytes == sum(file.bytes for file in dump.files)
    again = with_dump_record(tmp_path, bare_again(dump, tmp_path, dumped("chat", 200)))
    assert (again.contents, again.source, again.files) == (dump.contents, dump.source, dump.files)


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (dumped("chat", 199), "it says 200 rows of public.users, 199 were dumped"),
        (dumped("other", 200), "it names other databases"),
        (Contents(), "it names other databases"),
    ],
)
def test_a_record_that_says_other_than_the_dumps_themselves_is_not_believed(
    dump: Entry, tmp_path: Path, found: Contents, why: str
) -> None:
    with pytest.raises(BackupUnusable) as refused:
        with_dump_record(tmp_path, bare_again(dump, tmp_path, found))
    assert why in refused.value.what


def test_the_record_of_a_dump_belongs_to_its_very_files(dump: Entry, tmp_path: Path) -> None:
    (tmp_path / "chat.dump").write_text("-- of another night")
    with pytest.raises(BackupUnusable, match="other files than these"):
        with_dump_record(tmp_path, bare_again(dump, tmp_path, dumped("chat", 200)))
