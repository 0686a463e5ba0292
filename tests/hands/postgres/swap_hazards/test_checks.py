"""Checks that say "all well" without having looked, or take damage for a broken line."""

import threading
from pathlib import Path

import psycopg
import pytest

from activities.engine import Engine
from activities.postgres import integrity_pause
from activities.postgres.contents import read_contents
from activities.postgres.integrity import Integrity
from activities.postgres.integrity_scans import amcheck
from activities.postgres.live_place import live_place
from activities.postgres.receiver import Protection
from activities.postgres.sql import Sql
from activities.tokens import Tokens
from domain.diagnosis import Finding
from domain.errors import VerificationFailed
from domain.order import TargetOrder
from domain.recovery import Copy, Proof, Verified, VerifyOrder
from domain.stack import Check
from tests.hands.postgres.conftest import Server
from tests.hands.postgres.scene import Scene
from tests.hands.postgres.swap_hazards.naive import copy_on, doomed_session, on_copy, until

DUMP = ("timeout", "3", "pg_dump", "-h", "/sock", "-U", "postgres", "-d", "chat", "-f", "/dev/null")


def verify(scene: Scene, copy: Copy, **more: object) -> Verified:
    order = {"recovery_id": scene.rid, "target": scene.target, "copy_": copy, **more}
    return Integrity(scene.engine, scene.sql, scene.state).verify_copy(VerifyOrder.model_validate(order))


def proofs(found: Verified) -> dict[str, Proof]:
    return {proof.name: proof for proof in found.proofs}


@pytest.mark.swap_hazard(10)
def test_a_database_without_amcheck_is_not_measured_and_never_sound(
    bare_server: Server, engine: Engine, sql: Sql, tokens: Tokens, state: Path
) -> None:
    """Row 10 of what bites in a swap: without the extension pg_amcheck checks nothing, and returns 0."""
    target = bare_server.target

    def naive(*words: str) -> int:
        command = ("pg_amcheck", "-U", "postgres", *words)
        return engine.run(target.postgres.container_id, command, user="999:999").exit_code

    assert naive("-d", "chat") == 1
    with bare_server.connect("postgres") as connection:
        connection.execute("CREATE EXTENSION amcheck")
    assert naive("--all") == 0
    scan = amcheck(engine, live_place(sql, target, "chat"), limit_seconds=60)
    assert scan.finding is Finding.NOT_MEASURED
    assert "not installed" in scan.evidence
    Protection(engine, sql, tokens, state).ensure_protected(TargetOrder(target=target))
    for database in ("chat", "postgres"):
        scan = amcheck(engine, live_place(sql, target, database), limit_seconds=60)
        assert (database, scan.finding) == (database, Finding.SOUND)


@pytest.mark.swap_hazard(12, at_length=True)
def test_a_backend_that_crashes_under_a_check_is_damage_and_not_a_broken_line(scene: Scene) -> None:
    """Row 12 of what bites in a swap: "server closed the connection" is taken for trouble of the network."""
    scene.restore(1)
    copy = scene.follow(1)
    check = Check(name="slow", sql="SELECT 1 FROM pg_sleep(60)", expect="positive")
    found: list[Verified] = []
    checking = threading.Thread(target=lambda: found.append(verify(scene, copy, checks=(check,))))
    checking.start()
    backend = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    until(lambda: on_copy(scene, copy, backend), "the check does not run", 60)
    pid = str(on_copy(scene, copy, backend))
    assert scene.engine.run(copy.container, ("kill", "-SEGV", pid), user="999:999").exit_code == 0
    checking.join(60)
    assert "was terminated by signal 11" in scene.engine.logs(copy.container, tail=100)
    assert not found[0].passed
    assert "a backend of the copy died" in proofs(found[0])["slow"].evidence
    assert "signal 11" in proofs(found[0])["copy survived"].evidence
    until(lambda: on_copy(scene, copy, "SELECT pg_get_wal_replay_pause_state()") == "not paused", "paused")


@pytest.mark.swap_hazard(13)
def test_unlogged_tables_are_left_out_of_the_counts_and_named_as_loss(scene: Scene) -> None:
    """Row 13 of what bites in a swap: an unlogged table cannot be read on the copy and is empty after."""
    scene.server.do("CREATE UNLOGGED TABLE sessions (id int PRIMARY KEY)")
    scene.server.do("INSERT INTO sessions SELECT generate_series(1, 300)")
    scene.archive_all()
    with scene.sql.live(scene.target) as connection:
        baseline = read_contents(connection)
    assert "public.sessions" not in {table.name for table in baseline.tables}
    plain = copy_on(scene, scene.restore(1).volume).wait()
    until(lambda: plain.ask("SELECT count(*) FROM pg_class WHERE relname = 'sessions'") == 1, "no such table")
    with pytest.raises(psycopg.Error, match="unlogged relations during recovery"):
        plain.ask("SELECT count(*) FROM sessions")
    assert plain.ask("SELECT pg_promote()") is True
    assert plain.ask("SELECT count(*) FROM sessions") == 0
    plain.remove()

    scene.restore(2)
    found = verify(scene, scene.follow(2), baseline=baseline)
    assert found.passed, found
    stated = proofs(found)["unlogged tables"]
    assert (stated.passed, stated.evidence) == (None, "1 come back empty: sessions")
    assert proofs(found)["full read"].passed is True


@pytest.mark.swap_hazard(9)
def test_a_replayed_exclusive_lock_is_waited_for_and_no_check_hangs_on_it(scene: Scene) -> None:
    """Row 9 of what bites in a swap: a replayed AccessExclusiveLock hangs pg_dump."""
    scene.restore(1)
    copy = scene.follow(1)
    with scene.server.connect() as session, scene.server.connect() as maker:
        maker.execute("BEGIN")
        maker.execute("CREATE TABLE half_made (id int)")
        session.execute("BEGIN")
        session.execute("LOCK TABLE drafts IN ACCESS EXCLUSIVE MODE")
        session.execute("INSERT INTO users VALUES (1001, 'in the same transaction')")
        scene.archive_all()
        locks = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock'"
        until(lambda: int(str(on_copy(scene, copy, locks))) >= 2, "no lock is replayed")
        assert scene.engine.run(copy.container, DUMP, user="999:999").exit_code == 124
        found: list[Verified] = []
        checking = threading.Thread(target=lambda: found.append(verify(scene, copy)))
        checking.start()
        until(
            lambda: on_copy(scene, copy, "SELECT pg_get_wal_replay_pause_state()") != "not paused",
            "the verification does not begin",
        )
        assert not found
        session.execute("COMMIT")
        scene.archive_all()
        # A table that an open transaction makes is locked for ever, and in nobody's way.
        checking.join(60)
        assert found
        assert found[0].passed, found[0]


@pytest.mark.swap_hazard(9, at_length=True)
def test_the_lock_of_a_transaction_that_died_with_its_server_does_not_shut_the_copy_for_ever(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 9 of what bites in a swap: no WAL will ever end a lock whose server is dead."""
    with doomed_session(scene) as session:
        session.execute("BEGIN")
        session.execute("LOCK TABLE drafts IN ACCESS EXCLUSIVE MODE")
        session.execute("INSERT INTO users VALUES (1001, 'never committed')")
        scene.archive_all()
        scene.kill_server()
    scene.restore(1)
    copy = scene.follow(1)
    monkeypatch.setattr(integrity_pause, "_PAUSE_SECONDS", 3.0)
    with pytest.raises(VerificationFailed, match="copy-locked"):
        verify(scene, copy)
    monkeypatch.undo()
    last = scene.drain(copy, answers=False)
    assert scene.engine.run(copy.container, DUMP, user="999:999").exit_code == 124
    found = verify(scene, copy)
    assert found.passed, found
    assert found.lsn == last.replayed_lsn
    assert verify(scene, copy).passed
    assert on_copy(scene, copy, "SELECT count(*) FROM users") == 200
    promoted = scene.promote(copy, last)
    assert promoted.timeline == 2
    scene.swap(copy.volume)
    scene.serve(promoted.timeline)
    slots = scene.server.ask("SELECT string_agg(slot_name, ' ') FROM pg_replication_slots")
    assert slots == scene.slot
