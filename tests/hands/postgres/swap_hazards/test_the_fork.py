"""WAL at the end of the old timeline and at the beginning of the new one."""

import shutil

import pytest

from activities.postgres.choose import Choosing
from activities.postgres.sql import Sql
from domain.backups import ChooseOrder, ReceiveOrder
from tests.faults.record import Seen
from tests.hands.postgres.conftest import UID
from tests.hands.postgres.scene import Scene, recovery
from tests.hands.postgres.swap_hazards.naive import (
    SEGMENT,
    Plain,
    add_users,
    archive_of,
    container,
    copy_on,
    data_of,
    followed,
    on_copy,
    until,
)

CHURN = ("SELECT pg_create_restore_point('churn')", "SELECT pg_switch_wal()", "CHECKPOINT")
_RECEIVER = ("pg_receivewal", "-h", "127.0.0.1", "-U", "postgres", "-w")


def fork_of(scene: Scene, volume: str) -> str:
    """Return the name of the segment in which timeline 2 begins."""
    path = data_of(scene, volume) / "pg_wal" / "00000002.history"
    lsn = path.read_text().split()[1]
    high, low = (int(part, 16) for part in lsn.split("/"))
    return f"00000002{high:08X}{low // SEGMENT:08X}"


def receiver(scene: Scene, slot: str, directory: str) -> Plain:
    """Start a receiver as a sidecar without care."""
    return container(
        scene,
        (*_RECEIVER, "-D", f"/archive/{directory}", "-S", slot),
        {f"{scene.target.shelf}/postgres/wal": "/archive:rw"},
        network=f"container:{scene.target.postgres.container_id}",
    )


@pytest.mark.swap_hazard(6)
def test_a_recovery_point_after_the_swap_is_reached_from_the_old_backup(scene: Scene, sql: Sql) -> None:
    """Row 6 of what bites in a swap: the fork's segments are recycled unless a slot was there before it."""
    plain = copy_on(scene, scene.restore(8).volume, min_wal_size="32MB", wal_keep_size="0").wait()
    assert plain.ask("SELECT pg_promote()") is True
    volume = next(m["Name"] for m in plain.state().raw["Mounts"] if m["Destination"].endswith("/data"))
    fork = data_of(scene, volume) / "pg_wal" / fork_of(scene, volume)
    assert fork.exists()
    with plain.connect() as connection:
        for statement in CHURN * 4:
            connection.execute(statement.encode())
    until(lambda: not fork.exists(), "the segment of the fork is kept")
    plain.remove()

    add_users(scene, 1001)
    copy, promoted = scene.to_promoted(answers=True)
    scene.swap(copy.volume)
    scene.serve(promoted.timeline)
    server = scene.server
    server.do("ALTER SYSTEM SET min_wal_size = '32MB'")
    server.do("SELECT pg_reload_conf()")
    for statement in CHURN * 4:
        server.do(statement)
    fork = server.volume_path / "pg_wal" / fork_of(scene, scene.target.postgres.volume)
    assert fork.exists()
    received = scene.protection.ensure_receiving(ReceiveOrder(target=scene.target, slot=scene.slot))
    assert received.active
    archive = archive_of(scene, scene.slot)
    assert {"00000002.history", fork.name} <= {path.name for path in archive.iterdir()}
    add_users(scene, 1002)
    choice = Choosing(scene.engine, scene.state).choose_backup(ChooseOrder(target=scene.target, timeline=2))
    assert "history is missing" not in str(choice.passed_over)
    with recovery(server, sql) as later:
        later.backup = scene.backup
        across = followed(later, timeline=2)
        assert on_copy(later, across, "SELECT count(*) FROM users") == 202

    # Receivers that look alive and receive nothing: no slot of that name, and a directory past the fork.
    lost = receiver(scene, "no_such_slot", scene.slot)
    past = archive.parent / "past"
    past.mkdir()
    with (past / "0000000100000000000000FF").open("wb") as file:
        file.truncate(SEGMENT)
    for path in (past, *past.iterdir()):
        shutil.chown(path, UID, UID)
    server.do("SELECT pg_create_physical_replication_slot('past', true)")
    stuck = receiver(scene, "past", "past")
    for sidecar, said in (
        (lost, 'slot "no_such_slot" does not exist'),
        (stuck, "not in this server's history"),
    ):
        until(lambda: said in sidecar.log(), said)  # noqa: B023 - used at once
        assert sidecar.state().running
        sidecar.remove()


@pytest.mark.swap_hazard(15, at_length=True)
def test_an_idle_server_is_drained_by_the_lsn_that_it_names(scene: Scene) -> None:
    """Row 15 of what bites in a swap: ``pg_switch_wal()`` on an idle server makes no segment."""
    scene.restore(1)
    copy = scene.follow(1)
    scene.fence()
    first = scene.fencing.psql(scene.target, "SELECT pg_switch_wal()").output.strip()

    def idle() -> bool:
        before = scene.fencing.psql(scene.target, "SELECT pg_switch_wal()").output.strip()
        names = scene.fencing.psql(scene.target, "SELECT count(*) FROM pg_ls_waldir()").output
        again = scene.fencing.psql(scene.target, "SELECT pg_switch_wal()").output.strip()
        return (
            before == again
            and names == scene.fencing.psql(scene.target, "SELECT count(*) FROM pg_ls_waldir()").output
        )

    assert first
    until(idle, "the server is never idle")
    last = scene.drain(copy, answers=True)
    assert last.target_lsn is not None
    assert last.server_stopped_cleanly
    assert on_copy(scene, copy, "SELECT count(*) FROM users") == 200


@pytest.mark.swap_hazard(15)
@pytest.mark.fault("D5")
def test_after_a_kill_the_last_segment_is_found_in_pg_wal_or_in_the_receivers_partial(
    scene: Scene, seen: Seen
) -> None:
    """F-D5: Row 15 of what bites in a swap: the last segment of a killed server is in no archive."""
    scene.writer.start()
    scene.writer.wait_for(200)
    scene.writer.stop()
    scene.received_all()
    scene.kill_server()
    partial = next(archive_of(scene).glob("*.partial"))
    name = partial.name.removesuffix(".partial")
    assert not (archive_of(scene) / name).exists()
    scene.engine.stop(f"dr-{scene.target.stack}-receiver", 5)
    binds = {scene.target.postgres.volume: "/volume:ro", f"{scene.target.shelf}/postgres/wal": "/archive:ro"}
    look = container(scene, ("sleep", "60"), binds)
    assert look.run("pg_waldump", f"/archive/dr_recv_1/{partial.name}").exit_code != 0
    assert look.run("cp", f"/archive/dr_recv_1/{partial.name}", f"/tmp/{name}").exit_code == 0  # noqa: S108 - in it
    ends = [
        look.run("pg_waldump", path).output.strip().splitlines()[-1]
        for path in (f"/tmp/{name}", f"/volume/pg_wal/{name}")  # noqa: S108 - inside the container
    ]
    assert ends[0] == ends[1]
    seen(f"segment {name} is in pg_wal and as {partial.name}, and not in the archive; both end alike")
    look.remove()

    scene.restore(1)
    copy = scene.follow(1)
    without = on_copy(scene, copy, "SELECT count(*) FROM messages WHERE id > 1000000")
    assert int(str(without)) < len(scene.writer.acknowledged)
    last = scene.drain(copy, answers=False)
    assert last.target_lsn is None
    with scene.sql.copy(copy) as connection:
        rows = connection.execute("SELECT id FROM messages WHERE id > 1000000").fetchall()
    assert {row[0] for row in rows} >= set(scene.writer.acknowledged)
