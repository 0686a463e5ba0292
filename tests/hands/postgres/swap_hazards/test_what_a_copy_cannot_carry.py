"""The rest: data outside the volume, a copy that is not on disk, memory, stop signals, open ends."""

from pathlib import Path

import psycopg
import pytest

from activities.postgres.backup import Backups
from activities.postgres.integrity import Integrity, VerifyServerOrder
from activities.postgres.memory import share_for_copy
from activities.tokens import Tokens
from domain.backups import BackupOrder, ReceiveOrder
from domain.errors import BackupUnusable, Refused
from domain.recovery import VerifyOrder
from tests.faults.record import Seen
from tests.hands.postgres.conftest import PGDATA
from tests.hands.postgres.scene import Scene
from tests.hands.postgres.swap_hazards.naive import add_users, container, copy_on, on_copy


def backup(scene: Scene) -> None:
    hand = Backups(scene.engine, scene.sql, Tokens(scene.state), scene.state)
    hand.ensure_base_backup(BackupOrder(target=scene.target, label="elsewhere"))


@pytest.mark.swap_hazard(19)
@pytest.mark.fault("D10")
def test_data_outside_the_volume_is_refused_or_stops_the_copy(scene: Scene, seen: Seen) -> None:
    """F-D10: Row 19 of what bites in a swap: external tablespaces and a linked pg_wal are elsewhere."""
    container_id = scene.target.postgres.container_id

    def inside(*words: str) -> None:
        done = scene.engine.run(container_id, words, user="999:999")
        assert done.exit_code == 0, done

    inside("mkdir", "/tmp/outside")  # noqa: S108 - inside the container
    scene.server.do("CREATE TABLESPACE outside LOCATION '/tmp/outside'")
    scene.server.do("CREATE TABLE far (id int) TABLESPACE outside")
    scene.server.do("INSERT INTO far SELECT generate_series(1, 100)")
    scene.archive_all()
    link = next((scene.server.volume_path / "pg_tblspc").iterdir())
    assert str(link.readlink()) == "/tmp/outside"  # noqa: S108 - inside the container
    seen("the table's file lies behind a link that leads out of the volume")
    with pytest.raises(Refused, match="tablespaces-unsupported"):
        backup(scene)
    scene.restore(1)
    with pytest.raises(BackupUnusable, match="/tmp/outside"):  # noqa: S108
        scene.follow(1)
    scene.server.do("DROP TABLE far")
    scene.server.do("DROP TABLESPACE outside")

    scene.engine.set_restart(container_id, "no")
    scene.engine.stop(container_id, 30)
    wal = scene.server.volume_path / "pg_wal"
    wal.rename(wal.with_name("elsewhere"))
    wal.symlink_to(f"{PGDATA}/elsewhere")
    scene.engine.start(container_id)
    scene.server.wait()
    with pytest.raises(Refused, match="pg-wal-elsewhere"):
        backup(scene)


@pytest.mark.swap_hazard(19)
def test_a_copy_is_durable_bounded_in_memory_and_stops_cleanly_with_an_open_session(scene: Scene) -> None:
    """Row 19 of what bites in a swap: by SIGTERM an open session means exit 137; a second server's memory."""
    words = ("postgres", "-D", PGDATA, "--unix_socket_directories=/sock", "--listen_addresses=")
    binds = {scene.restore(1).volume: f"{PGDATA}:rw"}
    plain = container(scene, words, binds, stop_signal="SIGTERM").wait()
    with plain.connect() as session:
        session.execute("SELECT 1")
        scene.engine.stop(plain.id, 2)
        assert plain.state().exit_code == 137
    plain.remove()

    scene.restore(2)
    copy = scene.follow(2)
    found = scene.engine.look(copy.container)
    assert found is not None
    assert (on_copy(scene, copy, "SHOW fsync"), found.raw["Config"]["StopSignal"]) == ("on", "SIGINT")
    limit = int(found.raw["HostConfig"]["Memory"])
    buffers = int(str(on_copy(scene, copy, "SELECT pg_size_bytes(current_setting('shared_buffers'))")))
    assert 0 < buffers * 2 <= limit
    with scene.sql.copy(copy) as session:
        session.execute("SELECT 1")
        scene.engine.stop(copy.container, 30)
        stopped = scene.engine.look(copy.container)
        assert stopped is not None
        assert stopped.exit_code == 0


@pytest.mark.swap_hazard(19, at_length=True)
def test_prepared_transactions_other_collations_and_slots_of_others_are_stated(scene: Scene) -> None:
    """Row 19 of what bites in a swap: prepared transactions keep locks, slots do not come back."""
    scene.server.do("ALTER SYSTEM SET max_prepared_transactions = 5")
    scene.server.client.api.restart(scene.target.postgres.container_id, timeout=30)
    scene.server.wait()
    scene.protection.ensure_receiving(ReceiveOrder(target=scene.target))
    with scene.server.connect() as session:
        session.execute("BEGIN")
        session.execute("UPDATE users SET name = 'held' WHERE id = 1")
        session.execute("PREPARE TRANSACTION 'half way'")
    scene.server.do("SELECT pg_create_physical_replication_slot('their_standby', true)")
    scene.server.do("UPDATE pg_database SET datcollversion = '0.1' WHERE datname = 'chat'")
    add_users(scene, 1001)
    plain = copy_on(scene, scene.restore(1).volume, max_prepared_transactions="5").wait()
    assert plain.ask("SELECT pg_promote()") is True
    with plain.connect() as session:
        session.execute("SET lock_timeout = '300ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            session.execute("UPDATE users SET name = 'mine' WHERE id = 1")
    plain.remove()

    scene.restore(2)
    copy = scene.follow(2)
    hand = Integrity(scene.engine, scene.sql, scene.state)
    found = hand.verify_copy(VerifyOrder(recovery_id=scene.rid, target=scene.target, copy_=copy))
    stated = {proof.name: proof for proof in found.proofs}["collations"]
    assert found.passed, found
    assert stated.passed is None
    assert "database chat" in stated.evidence
    scene.fence()
    promoted = scene.promote(copy, scene.drain(copy, answers=True))
    scene.swap(copy.volume)
    scene.serve(promoted.timeline)
    order = VerifyServerOrder(recovery_id=scene.rid, target=scene.target, expected_timeline=promoted.timeline)
    judged = hand.verify_server(order)
    assert judged.passed, judged
    (slots,) = [proof for proof in judged.proofs if proof.name == "replication slots"]
    assert slots.passed is None
    assert slots.evidence.startswith("1 of others did not come back: their_standby; ")
    scene.server.do("SELECT pg_create_physical_replication_slot('their_standby')")
    again = hand.verify_server(order)
    assert "replication slots" not in {proof.name for proof in again.proofs}
    assert "1 wait for COMMIT PREPARED or ROLLBACK PREPARED: half way in chat" in str(judged.proofs)


@pytest.mark.unit
@pytest.mark.swap_hazard(19)
def test_a_host_without_memory_for_a_second_server_is_refused_before_it_starts(tmp_path: Path) -> None:
    """Row 19 of what bites in a swap: a second server without bounds makes the host end one of the two."""
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 4000000 kB\nMemAvailable: 1048576 kB\n")
    share = share_for_copy(meminfo)
    assert share.limit_bytes == 768 << 20
    assert share.settings() == {"shared_buffers": "192MB", "maintenance_work_mem": "96MB"}
    meminfo.write_text("MemAvailable: 600000 kB\n")
    with pytest.raises(Refused, match="no-memory"):
        share_for_copy(meminfo)
    assert share_for_copy(tmp_path / "nothing").limit_bytes is None
