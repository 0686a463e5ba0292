"""Base backups of a real server."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from activities.catalogue import list_backups, read_catalogue
from activities.engine import ContainerState, Engine
from activities.postgres.backup import Backups
from activities.postgres.choose import Choosing
from activities.postgres.sql import Sql
from activities.tokens import Tokens
from domain.backups import BackupOrder, ChooseOrder, Level, VerifyBackupOrder
from domain.errors import BackupUnusable, Refused, Unavailable
from domain.names import LABEL_STACK
from tests.hands.postgres.conftest import Server

pytestmark = pytest.mark.hand

SLOW = 5 * 1024 * 1024
THE_HAND_ALONE = """
import sys
from pathlib import Path
import docker
from activities.engine import Engine
from activities.postgres.backup import Backups
from activities.postgres.sql import Sql
from activities.secrets import Secrets
from activities.tokens import Tokens
from domain.backups import BackupOrder
state = Path(sys.argv[1])
engine = Engine(docker.from_env(timeout=60))
order = BackupOrder.model_validate_json(sys.stdin.read())
Backups(engine, Sql(Secrets(engine)), Tokens(state), state).ensure_base_backup(order)
"""


@pytest.fixture
def backups(engine: Engine, sql: Sql, tokens: Tokens, state: Path) -> Backups:
    return Backups(engine, sql, tokens, state)


def jobs_of(engine: Engine, server: Server) -> list[ContainerState]:
    return engine.labelled(f"{LABEL_STACK}={server.target.stack}", "dr.role=base-backup")


def test_a_backup_of_a_running_server_is_verified_and_listed(
    server: Server, backups: Backups, engine: Engine
) -> None:
    server.mark(41)
    server.mark(42)
    made = backups.ensure_base_backup(BackupOrder(target=server.target, label="nightly", reason="test"))
    assert made.verified is Level.MANIFEST
    assert made.system_identifier == str(server.ask("SELECT system_identifier FROM pg_control_system()"))
    assert {table.name: table.rows for table in made.contents.tables} == {
        "public.channels": 50,
        "public.drafts": 0,
        "public.messages": 20_000,
        "public.users": 200,
    }
    assert (made.contents.policies, made.contents.triggers, made.contents.last_marker) == (1, 1, 42)
    shelf = Path(server.target.shelf)
    assert list_backups(shelf) == [made]
    assert (shelf / made.path / "backup_manifest").is_file()
    assert (shelf / made.path).stat().st_uid == server.target.postgres.uid
    assert jobs_of(engine, server) == []


def test_a_second_call_with_the_label_returns_the_first_backup(server: Server, backups: Backups) -> None:
    order = BackupOrder(target=server.target, label="nightly")
    first = backups.ensure_base_backup(order)
    assert backups.ensure_base_backup(order) == first
    other = backups.ensure_base_backup(BackupOrder(target=server.target, label="weekly"))
    assert [entry.id for entry in list_backups(Path(server.target.shelf))] == [other.id, first.id]


def test_a_hand_killed_in_the_middle_leaves_a_job_that_the_next_call_follows(
    server: Server, backups: Backups, engine: Engine, state: Path
) -> None:
    order = BackupOrder(target=server.target, label="nightly", max_rate_bytes=SLOW)
    with subprocess.Popen(
        [sys.executable, "-c", THE_HAND_ALONE, str(state)],
        stdin=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": "."},
        start_new_session=True,
    ) as hand:
        assert hand.stdin is not None
        hand.stdin.write(order.model_dump_json().encode())
        hand.stdin.close()
        deadline = time.monotonic() + 30
        while not any(job.running for job in jobs_of(engine, server)):
            assert hand.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        hand.send_signal(signal.SIGKILL)
    (left,) = jobs_of(engine, server)
    assert left.running
    assert list_backups(Path(server.target.shelf)) == []
    made = backups.ensure_base_backup(order)
    assert made.id == left.labels["dr.backup"]
    assert made.started_at.isoformat()[:19] == left.raw["State"]["StartedAt"][:19]
    entries, strangers = read_catalogue(Path(server.target.shelf))
    assert (entries, strangers) == ([made], [])


def test_a_job_that_was_killed_is_reported_and_the_next_call_starts_anew(
    server: Server, backups: Backups, engine: Engine, state: Path
) -> None:
    order = BackupOrder(target=server.target, label="nightly", max_rate_bytes=SLOW)
    with subprocess.Popen(
        [sys.executable, "-c", THE_HAND_ALONE, str(state)],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": "."},
    ) as hand:
        assert hand.stdin is not None
        assert hand.stderr is not None
        hand.stdin.write(order.model_dump_json().encode())
        hand.stdin.close()
        deadline = time.monotonic() + 30
        while not (running := [job for job in jobs_of(engine, server) if job.running]):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        engine.kill(running[0].id)
        said = hand.stderr.read().decode()
    assert "backup-failed" in said
    assert read_catalogue(Path(server.target.shelf)) == ([], [])
    made = backups.ensure_base_backup(order.model_copy(update={"max_rate_bytes": None}))
    assert list_backups(Path(server.target.shelf)) == [made]


def test_leftovers_without_a_job_are_cleared_and_strangers_are_left_alone(
    server: Server, backups: Backups
) -> None:
    base = Path(server.target.shelf) / "postgres" / "base"
    leftover = base / ".20200101T000000Z-base.partial"
    leftover.mkdir(parents=True)
    (base / "notes.txt").write_text("mine")
    (base / "linked").symlink_to("/etc")
    made = backups.ensure_base_backup(BackupOrder(target=server.target, label="nightly"))
    entries, strangers = read_catalogue(Path(server.target.shelf))
    assert entries == [made]
    assert {known.id: known.reason for known in strangers} == {
        "linked": "a symbolic link, which is not followed",
        "notes.txt": "not a backup's directory",
    }


def test_a_damaged_entry_is_reported_and_never_raised(server: Server, backups: Backups) -> None:
    made = backups.ensure_base_backup(BackupOrder(target=server.target, label="nightly"))
    entry = Path(server.target.shelf) / "postgres" / "base" / made.id / "dr.json"
    whole = json.loads(entry.read_text())
    for text, said in (
        (entry.read_text()[:100], "broken"),
        (json.dumps({**whole, "id": "other"}), "that of other"),
        (json.dumps({**whole, "surprise": 1}), "surprise"),
        (json.dumps({**whole, "start_segment": "the first"}), "no real times or positions"),
        (json.dumps({**whole, "stop_lsn": "0"}), "no real times or positions"),
        (json.dumps({**whole, "wal_segment_bytes": 0}), "no real times or positions"),
        (json.dumps({**whole, "ended_at": "2026-11-22T04:30:00"}), "no real times or positions"),
    ):
        entry.write_text(text)
        entries, strangers = read_catalogue(Path(server.target.shelf))
        assert entries == []
        assert said in strangers[0].reason
    entry.unlink()
    assert "cannot be read" in read_catalogue(Path(server.target.shelf))[1][0].reason


def test_verifying_again_finds_later_damage_and_takes_the_level_away(
    server: Server, backups: Backups
) -> None:
    made = backups.ensure_base_backup(BackupOrder(target=server.target, label="nightly"))
    order = VerifyBackupOrder(target=server.target, backup_id=made.id)
    assert backups.verify_backup(order).verified is Level.MANIFEST
    version = Path(server.target.shelf) / made.path / "PG_VERSION"
    was = version.read_text()
    version.write_text("9\n")
    with pytest.raises(BackupUnusable, match=r"its files are of PostgreSQL 9, its entry says \d+"):
        backups.verify_backup(order)
    version.write_text(was)
    assert backups.verify_backup(order).verified is Level.MANIFEST
    victim = Path(server.target.shelf) / made.path / "pg_hba.conf"
    victim.write_bytes(bytes([victim.read_bytes()[0] ^ 1]) + victim.read_bytes()[1:])
    with pytest.raises(BackupUnusable, match=r"pg_hba\.conf"):
        backups.verify_backup(order)
    assert list_backups(Path(server.target.shelf))[0].verified is Level.NONE
    with pytest.raises(BackupUnusable, match="not there"):
        backups.verify_backup(VerifyBackupOrder(target=server.target, backup_id="20200101T000000Z-base"))


def test_a_backup_that_the_servers_user_may_not_read_is_not_called_damaged_and_keeps_its_level(
    server: Server, backups: Backups, engine: Engine, state: Path
) -> None:
    made = backups.ensure_base_backup(BackupOrder(target=server.target, label="unreadable"))
    file = Path(server.target.shelf) / made.path / "PG_VERSION"
    owner = file.stat()
    os.chown(file, 0, 0)
    file.chmod(0o600)
    order = VerifyBackupOrder(target=server.target, backup_id=made.id)
    with pytest.raises(Refused, match="backup-unreadable") as refused:
        backups.verify_backup(order)
    assert f"chown -R {server.target.postgres.uid}:{server.target.postgres.gid}" in refused.value.hint
    assert list_backups(Path(server.target.shelf))[0].verified is Level.MANIFEST
    choice = Choosing(engine, state).choose_backup(ChooseOrder(target=server.target))
    assert choice.backup is None
    (reason,) = [one.reason for one in choice.passed_over if one.id == made.id]
    assert "Permission denied" in reason
    assert "chown -R" in reason
    os.chown(file, owner.st_uid, owner.st_gid)
    assert backups.verify_backup(order).verified is Level.MANIFEST


def test_tablespaces_are_refused_before_anything_is_made(server: Server, backups: Backups) -> None:
    made = server.client.containers.get(server.target.postgres.container_id)
    made.exec_run(["install", "-d", "-o", "postgres", "/var/lib/postgresql/elsewhere"])
    server.do("CREATE TABLESPACE elsewhere LOCATION '/var/lib/postgresql/elsewhere'")
    with pytest.raises(Refused, match="tablespaces"):
        backups.ensure_base_backup(BackupOrder(target=server.target, label="nightly"))
    assert list((Path(server.target.shelf) / "postgres" / "base").iterdir()) == []


def test_a_stopped_server_gives_no_backup_and_leaves_nothing(
    server: Server, backups: Backups, engine: Engine
) -> None:
    engine.stop(server.target.postgres.container_id, 20)
    with pytest.raises(Unavailable):
        backups.ensure_base_backup(BackupOrder(target=server.target, label="nightly"))
    assert jobs_of(engine, server) == []
    assert read_catalogue(Path(server.target.shelf)) == ([], [])
