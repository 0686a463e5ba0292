"""Backups and segments that say otherwise than their own bytes do: names and entries can be anybody's."""

import json
import os
import struct
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import pytest

from activities.engine import Engine
from activities.postgres import dump_jobs, manifest, shelf
from domain.backups import Backup
from domain.dumps import GLOBALS
from domain.entries import Entry, StoredFile
from domain.order import Target
from tests.hands.hostile.planted import entry as base_entry
from tests.hands.hostile.planted import target_on

SIZE = 1024 * 1024
SYSTEM = "7412345678901234567"
NOW = datetime(2026, 11, 22, 4, 30, tzinfo=UTC)
NAMES = [f"00000001000000000000000{number}" for number in range(1, 5)]


class Agreeing:
    """Stands for ``pg_verifybackup`` and ``pg_restore`` that have nothing to say."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(manifest, "verify_manifest", lambda *_, **__: "")
        monkeypatch.setattr(dump_jobs, "read_through", lambda *_: "")
        self.engine = cast("Engine", None)


def segment(root: Path, name: str, *, system: str = SYSTEM, place: str = "") -> None:
    number = int((place or name)[16:], 16)
    first = struct.pack("=HHIQI4xQII", 0xD113, 2, 1, number * SIZE, 0, int(system), SIZE, 8192)
    (root / name).write_bytes(first + bytes(SIZE - len(first)))


def closed(tmp_path: Path) -> set[str]:
    return set(shelf.read_received(tmp_path, SIZE, os.getuid(), SYSTEM).archive.closed)


@pytest.fixture
def wal(tmp_path: Path) -> Path:
    made = tmp_path / "postgres" / "wal" / "dr_recv_1"
    made.mkdir(parents=True)
    for name in NAMES:
        segment(made, name)
    return made


@pytest.mark.mutant("M6")
def test_a_segment_of_another_cluster_and_one_under_another_name_are_not_in_the_chain(
    tmp_path: Path, wal: Path
) -> None:
    assert closed(tmp_path) == set(NAMES)
    segment(wal, NAMES[1], system="7")
    segment(wal, NAMES[2], place=NAMES[0])
    assert closed(tmp_path) == {NAMES[0], NAMES[3]}


def test_where_the_system_is_not_known_names_and_sizes_are_all_there_is(tmp_path: Path, wal: Path) -> None:
    segment(wal, NAMES[1], system="7")
    assert shelf.read_received(tmp_path, SIZE, os.getuid()).archive.closed == set(NAMES)


def backed_up(tmp_path: Path, *, made_at: datetime = NOW, **other: object) -> tuple[Target, Backup]:
    """Put a backup on a shelf whose manifest states a time; return it with what its entry says."""
    facts: dict[str, Any] = {"started_at": NOW, "ended_at": NOW, "system_identifier": SYSTEM, **other}
    data = tmp_path / "postgres" / "base" / "b" / "data"
    (data / "global").mkdir(parents=True)
    (data / "global" / "pg_control").write_bytes(struct.pack("=Q", int(SYSTEM)))
    listed = [{"Path": "backup_label", "Last-Modified": f"{made_at:%Y-%m-%d %H:%M:%S} GMT"}]
    reach = [{"Timeline": 1, "Start-LSN": "0/1000028", "End-LSN": "0/1000100"}]
    text = json.dumps({"Files": listed, "WAL-Ranges": reach}).encode()
    (data / "backup_manifest").write_bytes(text)
    return target_on(str(tmp_path)), base_entry("b", sha256=sha256(text).hexdigest(), **facts)


def wrong(engine: Engine, target: Target, backup: Backup) -> str:
    return manifest.what_is_wrong(engine, target, backup, name="n", labels={})


@pytest.mark.mutant("M14")
@pytest.mark.parametrize(("hours", "found"), [(0, False), (1, False), (-1, False), (3, True), (24, True)])
def test_a_backup_is_no_younger_than_its_newest_file(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    hours: int,
    found: bool,  # noqa: FBT001 - one of a table
) -> None:
    target, backup = backed_up(tmp_path, made_at=NOW - timedelta(hours=hours))
    said = wrong(Agreeing(monkeypatch).engine, target, backup)
    assert ("older than it says" in said) is found
    assert found or not said


@pytest.mark.mutant("M14")
@pytest.mark.parametrize(
    "other", [{"stop_lsn": "0/2000100"}, {"start_lsn": "0/2000028"}, {"timeline": 2}], ids=str
)
def test_an_entry_that_claims_other_wal_than_the_manifest_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: dict[str, Any]
) -> None:
    target, backup = backed_up(tmp_path, **other)
    assert "its manifest is of 0/1000028 to 0/1000100" in wrong(Agreeing(monkeypatch).engine, target, backup)


def test_positions_that_are_none_make_no_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, backup = backed_up(tmp_path)
    file = tmp_path / "postgres" / "base" / "b" / "data" / "backup_manifest"
    text = file.read_bytes().replace(b"0/1000028", b"somewhere")
    file.write_bytes(text)
    backup = backup.model_copy(update={"sha256": sha256(text).hexdigest()})
    assert "not readable as one" in wrong(Agreeing(monkeypatch).engine, target, backup)


@pytest.mark.mutant("M14")
@pytest.mark.parametrize(("hours", "found"), [(0, False), (15, False), (-30, False), (17, True), (100, True)])
def test_a_dump_is_no_younger_than_it_says_itself(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    hours: int,
    found: bool,  # noqa: FBT001 - one of a table
) -> None:
    made = NOW - timedelta(hours=hours)
    fields = (made.second, made.minute, made.hour, made.day, made.month - 1, made.year - 1900, 0)
    head = b"PGDMP\x01\x0f\x00\x04\x08\x01\x01" + b"".join(b"\0" + struct.pack("<I", one) for one in fields)
    (tmp_path / "chat.dump").write_bytes(head + bytes(100))
    (tmp_path / GLOBALS).write_text("-- PostgreSQL database cluster dump complete\n")
    files = tuple(StoredFile(path=name, bytes=1, sha256="") for name in ("chat.dump", GLOBALS))
    entry = Entry(
        id="d", store="postgres", kind="daily", path="p", started_at=NOW, ended_at=NOW, bytes=2, sha256="",
        files=files,
    )  # fmt: skip
    said = dump_jobs.what_is_wrong(Agreeing(monkeypatch).engine, target_on(str(tmp_path)), tmp_path, entry)
    assert ("chat.dump is older than its entry says" in said) is found
    assert found or not said
