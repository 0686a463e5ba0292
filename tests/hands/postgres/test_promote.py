from collections.abc import Iterator
from pathlib import Path

import pytest

from activities.postgres.sql import Sql
from activities.records import Records
from domain.errors import Refused, VerificationFailed
from domain.recovery import Copy, LastWal
from tests.hands.postgres.conftest import Server
from tests.hands.postgres.scene import Scene, recovery


@pytest.fixture
def scene(server: Server, sql: Sql) -> Iterator[Scene]:
    with recovery(server, sql) as made:
        made.protect()
        yield made


def rows(scene: Scene, copy: Copy) -> set[int]:
    with scene.sql.copy(copy) as connection:
        found = connection.execute("SELECT id FROM messages WHERE id > 1000000").fetchall()
    return {int(str(row[0])) for row in found}


def restored(scene: Scene, volume: str, name: str) -> Path:
    return Path(scene.engine.root()) / "volumes" / volume / "_data" / name


def drained(scene: Scene, *, answers: bool = True) -> tuple[Copy, LastWal]:
    scene.restore()
    copy = scene.follow()
    scene.fence()
    return copy, scene.drain(copy, answers=answers)


def test_a_server_that_answers_gives_its_last_wal_and_stops_cleanly(scene: Scene) -> None:
    scene.restore()
    copy = scene.follow()
    scene.writer.start()
    scene.writer.wait_for(300)
    scene.fence()
    scene.writer.stop()
    last = scene.drain(copy, answers=True)
    assert last.server_stopped_cleanly
    assert last.target_lsn is not None
    assert rows(scene, copy) >= set(scene.writer.acknowledged)
    assert scene.drain(copy, answers=True) == last


def test_a_killed_server_loses_nothing_that_its_pg_wal_still_has(scene: Scene) -> None:
    scene.writer.start()
    scene.writer.wait_for(300)
    scene.kill_server()
    scene.destroy_control_file()
    copy, last = drained(scene, answers=False)
    assert (last.target_lsn, last.source) == (None, "salvaged pg_wal")
    assert not last.server_stopped_cleanly
    assert rows(scene, copy) >= set(scene.writer.acknowledged)


def test_without_pg_wal_the_receivers_partial_is_the_last_source(scene: Scene) -> None:
    scene.writer.start()
    scene.writer.wait_for(300)
    scene.writer.stop()
    scene.received_all()
    scene.kill_server()
    for segment in (scene.server.volume_path / "pg_wal").glob("0*"):
        segment.unlink()
    copy, last = drained(scene, answers=False)
    assert last.source == "partial"
    assert rows(scene, copy) >= set(scene.writer.acknowledged)
    assert scene.engine.look(f"dr-{scene.target.stack}-receiver") is None


def test_a_segment_missing_in_the_middle_is_named_and_nothing_is_promoted(scene: Scene) -> None:
    scene.restore()
    copy = scene.follow()
    scene.engine.remove(f"dr-{scene.target.stack}-receiver", force=True)
    names: list[str] = []
    for number in range(3):
        scene.server.do(f"INSERT INTO users VALUES ({2000 + number}, 'gap {number}')")  # noqa: S608 - a number
        names.append(str(scene.server.ask("SELECT pg_walfile_name(pg_switch_wal())")))
    scene.kill_server()
    (scene.server.volume_path / "pg_wal" / names[1]).unlink()
    with pytest.raises(VerificationFailed, match=names[1]):
        scene.drain(copy, answers=False)


@pytest.mark.long
def test_recycled_segments_with_future_names_are_not_taken_for_wal(scene: Scene) -> None:
    scene.server.mark(1)
    scene.kill_server()
    wal = scene.server.volume_path / "pg_wal"
    newest = max(path for path in wal.iterdir() if len(path.name) == 24)
    future = wal / f"{newest.name[:16]}{int(newest.name[16:], 16) + 5:08X}"
    future.write_bytes(newest.read_bytes())
    _, last = drained(scene, answers=False)
    assert last.source in {"salvaged pg_wal", "partial"}


def test_the_promoted_copy_is_on_the_next_timeline_cleanly_stopped_and_gone(scene: Scene) -> None:
    scene.server.mark(7)
    copy, last = drained(scene)
    found = scene.promote(copy, last)
    assert (found.timeline, found.last_marker) == (2, 7)
    assert found.system_identifier == copy.system_identifier
    assert scene.engine.look(copy.container) is None
    assert not restored(scene, copy.volume, "standby.signal").exists()
    assert restored(scene, copy.volume, f"pg_replslot/{scene.slot}").is_dir()
    assert scene.promote(copy, last) == found


@pytest.mark.long
def test_promotion_is_refused_while_replay_is_paused(scene: Scene) -> None:
    copy, last = drained(scene)
    with scene.sql.copy(copy) as connection:
        connection.execute("SELECT pg_wal_replay_pause()")
        while (
            str((connection.execute("SELECT pg_get_wal_replay_pause_state()").fetchone() or [""])[0])
            != "paused"
        ):
            pass
        with pytest.raises(VerificationFailed, match="replay-paused"):
            scene.promote(copy, last)
        row = connection.execute("SELECT pg_is_in_recovery()").fetchone()
    assert row == (True,)


def test_promotion_is_refused_before_the_wanted_wal_is_replayed(scene: Scene) -> None:
    copy, last = drained(scene)
    with pytest.raises(VerificationFailed, match="wal-missing"):
        scene.promote(copy, last.model_copy(update={"replayed_lsn": "FF/0"}))
    assert scene.promote(copy, last).timeline == 2


def test_a_worker_killed_right_after_the_promotion_is_no_trouble(scene: Scene) -> None:
    copy, last = drained(scene)
    with scene.sql.copy(copy) as connection:
        connection.execute("SELECT pg_create_physical_replication_slot(%s, true)", [scene.slot])
        connection.execute("SELECT pg_promote(true, 60)")
    assert scene.promote(copy, last).timeline == 2


@pytest.mark.long
def test_a_copy_that_was_killed_after_its_promotion_is_started_and_stopped_cleanly(scene: Scene) -> None:
    copy, last = drained(scene)
    with scene.sql.copy(copy) as connection:
        connection.execute("SELECT pg_promote(true, 60)")
    scene.engine.kill(copy.container, "SIGKILL")
    assert scene.promote(copy, last).timeline == 2


@pytest.mark.long
def test_a_copy_that_was_killed_after_its_record_was_written_is_stopped_cleanly(scene: Scene) -> None:
    copy, last = drained(scene)
    found = scene.promoting._promote(scene.promote_order(copy, last))
    scene.engine.kill(copy.container, "SIGKILL")
    assert found["timeline"] == 2
    assert scene.promote(copy, last).timeline == 2


@pytest.mark.long
def test_a_copy_that_vanished_before_its_promotion_is_not_taken_for_promoted(scene: Scene) -> None:
    copy, last = drained(scene)
    scene.engine.remove(copy.container, force=True)
    with pytest.raises(Refused, match="copy-gone"):
        scene.promote(copy, last)


def test_configuration_newer_than_the_backup_is_carried_over_without_fence_and_quiet(scene: Scene) -> None:
    root = scene.server.volume_path
    with (root / "pg_hba.conf").open("a") as file:
        file.write("host all all 10.1.2.3/32 reject\n")
    rules = (root / "pg_hba.conf").read_bytes()
    scene.server.do("ALTER SYSTEM SET work_mem = '9MB'")
    scene.server.do("ALTER SYSTEM SET autovacuum = off")
    Records(scene.state).write("quiet", scene.target.stack, {})
    copy, last = drained(scene)
    found = scene.promote(copy, last)
    assert set(found.configuration_carried) == {"pg_hba.conf", "postgresql.auto.conf"}
    assert restored(scene, copy.volume, "pg_hba.conf").read_bytes() == rules
    auto = restored(scene, copy.volume, "postgresql.auto.conf").read_text()
    assert "work_mem = '9MB'" in auto
    assert "autovacuum" not in auto


@pytest.mark.long
def test_damaged_configuration_is_not_carried_over(scene: Scene) -> None:
    scene.kill_server()
    (scene.server.volume_path / "postgresql.conf").write_bytes(b"\0" * 300)
    (scene.server.volume_path / "postgresql.auto.conf").write_text("max_connections = 'many'\n")
    copy, last = drained(scene, answers=False)
    found = scene.promote(copy, last)
    assert set(found.configuration_refused) == {"postgresql.conf", "postgresql.auto.conf"}
    assert b"\0" not in restored(scene, copy.volume, "postgresql.conf").read_bytes()
    assert "many" not in restored(scene, copy.volume, "postgresql.auto.conf").read_text()
