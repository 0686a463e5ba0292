"""A catalogue that was lost is made anew from the backups themselves, and from nothing else."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from activities import catalogue, entries
from activities.engine import Engine
from activities.postgres.backup import Backups
from activities.postgres.dump import Dumps
from activities.postgres.restore_base import BaseChecks
from activities.postgres.restore_dump import DumpChecks
from activities.postgres.sql import Sql
from activities.rebuild import Rebuilding
from activities.tokens import Tokens
from domain.backups import BackupOrder, Level, VerifyBackupOrder
from domain.contents import Contents
from domain.dumps import EntryTargetOrder
from domain.entries import ENTRY, RECORD
from domain.order import TargetOrder
from domain.verification_base import ProveBaseOrder
from tests.hands.postgres.conftest import Server
from tests.hands.postgres.dumped import wanted
from tests.hands.shelved import partial, shelved

pytestmark = pytest.mark.hand


@pytest.fixture
def rebuilding(engine: Engine, tokens: Tokens, state: Path) -> Rebuilding:
    return Rebuilding(engine, tokens, state)


def lost(shelf: Path) -> None:
    for entry in shelf.glob("*/*/*/dr.json"):
        entry.unlink()


def test_a_base_backup_is_known_again_by_its_own_files(
    server: Server, engine: Engine, sql: Sql, tokens: Tokens, state: Path, rebuilding: Rebuilding
) -> None:
    backups = Backups(engine, sql, tokens, state)
    made = backups.ensure_base_backup(BackupOrder(target=server.target, label="nightly"))
    shelf = Path(server.target.shelf)
    lost(shelf)
    assert entries.read_entries(shelf)[0] == []
    said = rebuilding.ensure_catalogue_rebuilt(TargetOrder(target=server.target))
    assert (said.rebuilt, said.problems) == ((made.id,), ())
    again = catalogue.find_backup(shelf, made.id)
    same = (
        "id", "path", "bytes", "sha256", "system_identifier", "timeline", "start_lsn", "stop_lsn",
        "start_segment", "wal_segment_bytes",
    )  # fmt: skip
    for name in same:
        assert getattr(again, name) == getattr(made, name), name
    assert (again.verified, again.contents, again.reason) == (Level.NONE, made.contents, "rebuilt")
    assert (again.server_version, again.image_id) == (made.server_version, made.image_id)
    assert (again.record_sha256, again.record_bytes) == (made.record_sha256, made.record_bytes)
    # A recovery takes only what ended before the damage began; the manifest is what is written last.
    written = (catalogue.data_directory(shelf, made.id) / "backup_manifest").stat().st_mtime
    assert again.ended_at >= datetime.fromtimestamp(written, UTC) >= made.started_at
    order = VerifyBackupOrder(target=server.target, backup_id=made.id)
    assert backups.verify_backup(order).verified is Level.MANIFEST
    proven = BaseChecks(engine, sql, tokens, state).verify_base_restored(
        ProveBaseOrder(target=server.target, entry_id=made.id)
    )
    # What was counted lies beside it, and was compared.
    assert proven.passed, proven.sentence
    assert {proof.name: proof.passed for proof in proven.proofs}["contents"]
    assert catalogue.find_backup(shelf, made.id).verified is Level.RESTORED
    record = catalogue.data_directory(shelf, made.id).with_name(RECORD)
    said_before = record.read_bytes()
    record.write_bytes(b"another")
    assert backups.verify_backup(order).verified is Level.RESTORED
    assert record.read_bytes() == said_before, "the entry says the same, so it is written again"


@pytest.mark.long
def test_a_base_backup_without_its_record_or_with_a_strange_one_restores_and_is_not_called_proven(
    server: Server, engine: Engine, sql: Sql, tokens: Tokens, state: Path, rebuilding: Rebuilding
) -> None:
    backups = Backups(engine, sql, tokens, state)
    made = backups.ensure_base_backup(BackupOrder(target=server.target, label="nightly"))
    shelf = Path(server.target.shelf)
    record = catalogue.data_directory(shelf, made.id).with_name(RECORD)
    lost(shelf)
    record.write_text("no record at all")
    said = rebuilding.ensure_catalogue_rebuilt(TargetOrder(target=server.target))
    assert (said.rebuilt, said.problems) == ((made.id,), ())
    assert said.disbelieved[0].startswith(f"{made.id}: its {RECORD} is not believed")
    assert catalogue.find_backup(shelf, made.id).contents == Contents()
    lost(shelf)
    record.unlink()
    said = rebuilding.ensure_catalogue_rebuilt(TargetOrder(target=server.target))
    assert (said.rebuilt, said.problems, said.disbelieved) == ((made.id,), (), ())
    again = catalogue.find_backup(shelf, made.id)
    assert (again.contents, again.server_version) == (Contents(), made.server_version.partition(".")[0])
    order = VerifyBackupOrder(target=server.target, backup_id=made.id)
    assert backups.verify_backup(order).verified is Level.MANIFEST
    proven = BaseChecks(engine, sql, tokens, state).verify_base_restored(
        ProveBaseOrder(target=server.target, entry_id=made.id)
    )
    # Nothing was recorded: it restores, and there is nothing to compare it with.
    assert not proven.passed
    assert {proof.passed for proof in proven.proofs} == {True, None}
    assert {proof.name: proof.passed for proof in proven.proofs}["contents"] is None
    assert catalogue.find_backup(shelf, made.id).verified is Level.MANIFEST


def test_a_dump_is_known_again_and_names_its_databases(
    server: Server,
    dumps: Dumps,
    engine: Engine,
    sql: Sql,
    tokens: Tokens,
    state: Path,
    rebuilding: Rebuilding,
) -> None:
    server.do('CREATE DATABASE "od""d"')
    server.do('CREATE TABLE "a (b) ""c"" FROM stdin;" (id int, note text)')
    server.do("""INSERT INTO "a (b) ""c"" FROM stdin;" VALUES (1, E'two\\nlines'), (2, '\\.'), (3, NULL)""")
    server.do("CREATE UNLOGGED TABLE passing (id int)")
    server.do("INSERT INTO passing VALUES (1)")
    server.do("CREATE TABLE nothing_in_it (id int)")
    made = dumps.ensure_dump(wanted(server))
    shelf = Path(server.target.shelf)
    lost(shelf)
    order = TargetOrder(target=server.target)
    assert rebuilding.ensure_catalogue_rebuilt(order).rebuilt == (made.id,)
    assert rebuilding.ensure_catalogue_rebuilt(order).rebuilt == ()
    again = entries.find_entry(shelf, made.id)
    assert (again.files, again.sha256, again.bytes) == (made.files, made.sha256, made.bytes)
    assert {(one.name, one.file) for one in again.contents.databases} == {
        (one.name, one.file) for one in made.contents.databases
    }
    assert (again.source, again.contents) == (made.source, made.contents)
    assert (again.verified, again.reason) == (Level.NONE, "rebuilt")
    wanted_entry = EntryTargetOrder(target=server.target, entry_id=made.id)
    proven = DumpChecks(engine, sql, tokens, state).verify_restored(wanted_entry)
    assert proven.passed, proven.sentence
    assert {proof.name: proof.passed for proof in proven.proofs}["digests"]
    assert entries.find_entry(shelf, made.id).verified is Level.RESTORED


@pytest.mark.long
def test_a_dump_without_its_record_is_known_by_the_rows_in_it(
    server: Server,
    dumps: Dumps,
    engine: Engine,
    sql: Sql,
    tokens: Tokens,
    state: Path,
    rebuilding: Rebuilding,
) -> None:
    made = dumps.ensure_dump(wanted(server))
    shelf = Path(server.target.shelf)
    lost(shelf)
    (shelf / made.path / RECORD).unlink()
    assert rebuilding.ensure_catalogue_rebuilt(TargetOrder(target=server.target)).rebuilt == (made.id,)
    again = entries.find_entry(shelf, made.id)
    assert again.source.version.partition(" ")[0] == made.source.version.partition(" ")[0]
    # The rows are counted in the dump: what it has is what must come back.
    for one in made.contents.databases:
        (found,) = (other for other in again.contents.databases if other.name == one.name)
        assert {t.name: t.rows for t in found.tables} == {t.name: t.rows for t in one.tables}
    assert set(made.contents.roles) == set(again.contents.roles)
    wanted_entry = EntryTargetOrder(target=server.target, entry_id=made.id)
    assert dumps.verify_dump(wanted_entry).verified is Level.MANIFEST
    proven = DumpChecks(engine, sql, tokens, state).verify_restored(wanted_entry)
    assert not proven.passed
    shown = {proof.name: proof.passed for proof in proven.proofs}
    assert (shown["rows"], shown["tables"], shown["digests"]) == (True, True, None)
    assert set(shown.values()) == {True, None}
    assert entries.find_entry(shelf, made.id).verified is Level.MANIFEST


def test_what_is_no_snapshot_of_redis_is_not_made_one(server: Server, rebuilding: Rebuilding) -> None:
    shelf = Path(server.target.shelf)
    made = shelved(shelf, "20261122T030000Z-rdb", "redis")
    lost(shelf)
    said = rebuilding.ensure_catalogue_rebuilt(TargetOrder(target=server.target))
    assert said.rebuilt == ()
    assert said.problems[0].startswith(f"{made.id}: ")
    assert not list(shelf.glob("*/*/*/dr.json"))


def test_what_is_no_backup_is_not_made_one(server: Server, rebuilding: Rebuilding) -> None:
    shelf = Path(server.target.shelf)
    partial(shelf, "20261122T030000Z-rdb", "redis")
    for name in ("notes", "20261122T030000Z-weekly"):
        (shelf / "postgres" / "daily" / name).mkdir(parents=True)
        (shelf / "postgres" / "daily" / name / "chat.dump").write_bytes(b"mine")
    (shelf / "redis" / "rdb" / "20261122T040000Z-rdb").symlink_to("/etc")
    linked = shelved(shelf, "20261122T050000Z-rdb", "redis")
    (shelf / linked.path / ENTRY).unlink()
    (shelf / linked.path / "chat.dump").unlink()
    (shelf / linked.path / "chat.dump").symlink_to("/etc/passwd")
    said = rebuilding.ensure_catalogue_rebuilt(TargetOrder(target=server.target))
    assert said.rebuilt == ()
    assert [problem.partition(":")[0] for problem in said.problems] == [linked.id]
    assert "symbolic link" in said.problems[0]
    assert not list(shelf.glob("*/*/*/dr.json"))


def test_an_entry_that_is_there_but_lies_is_not_replaced(server: Server, rebuilding: Rebuilding) -> None:
    shelf = Path(server.target.shelf)
    made = shelved(shelf, "20261122T030000Z-rdb", "redis")
    entry = shelf / made.path / ENTRY
    lie = json.dumps({**json.loads(entry.read_text()), "path": "/etc"})
    entry.write_text(lie)
    assert rebuilding.ensure_catalogue_rebuilt(TargetOrder(target=server.target)).rebuilt == ()
    assert entry.read_text() == lie


def test_a_dump_that_is_none_stays_without_an_entry(
    server: Server, dumps: Dumps, rebuilding: Rebuilding
) -> None:
    made = dumps.ensure_dump(wanted(server))
    directory = Path(server.target.shelf) / made.path
    (directory / ENTRY).unlink()
    (directory / "chat.dump").write_bytes(b"no dump at all")
    said = rebuilding.ensure_catalogue_rebuilt(TargetOrder(target=server.target))
    assert said.rebuilt == ()
    assert "chat.dump is no dump" in said.problems[0]
