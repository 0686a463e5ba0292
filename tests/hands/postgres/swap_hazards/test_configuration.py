"""What is not in WAL, or is and should not be: access rules, settings, certificates, signal files."""

import psycopg
import pytest

from domain.backups import ReceiveOrder
from domain.errors import Refused, Unavailable, VerificationFailed
from domain.order import TargetOrder
from tests.faults.record import Seen
from tests.hands.postgres.conftest import PASSWORD
from tests.hands.postgres.scene import Scene
from tests.hands.postgres.swap_hazards.naive import copy_on, data_of, on_copy, server_on, until


@pytest.mark.swap_hazard(5)
def test_the_fence_closes_the_server_and_not_the_copy(scene: Scene) -> None:
    """Row 5 of what bites in a swap: ``ALLOW_CONNECTIONS false`` is replayed and closes the copy for ever."""
    plain = copy_on(scene, scene.restore(1).volume).wait()
    server = scene.target.postgres
    with scene.server.connect("postgres") as connection:
        connection.execute("ALTER DATABASE chat ALLOW_CONNECTIONS false")
        connection.execute("SELECT pg_switch_wal()")
        until(lambda: not plain.answers(), "the setting is not replayed")
        assert plain.ask("SELECT pg_promote()", "postgres") is True
        with pytest.raises(psycopg.OperationalError, match="not currently accepting connections"):
            plain.ask("SELECT 1")
        connection.execute("ALTER DATABASE chat ALLOW_CONNECTIONS true")
    scene.archive_all()
    plain.remove()

    scene.restore(2)
    copy = scene.follow(2)
    scene.fence()
    with pytest.raises(psycopg.OperationalError, match="reject"):
        psycopg.connect(
            host="127.0.0.1", port=server.host_port, user="postgres", password=PASSWORD, dbname="chat"
        )
    promoted = scene.promote(copy, scene.drain(copy, answers=True))
    assert "dr: closed" not in (data_of(scene, copy.volume) / "pg_hba.conf").read_text()
    scene.swap(copy.volume)
    scene.serve(promoted.timeline)
    assert scene.server.ask("SELECT count(*) FROM users") == 200


@pytest.mark.swap_hazard(16)
@pytest.mark.fault("D9")
def test_configuration_comes_from_the_server_and_no_signal_file_slips_through(
    scene: Scene, seen: Seen
) -> None:
    """F-D9: Row 16 of what bites in a swap: configuration is not in WAL; a leftover signal file counts."""
    live = scene.server.volume_path
    scene.server.do("ALTER SYSTEM SET work_mem = '9MB'")
    with (live / "pg_hba.conf").open("a") as file:
        file.write("host all all 10.1.2.3/32 reject\n")
    (live / "server.crt").write_text("a certificate newer than the backup\n")
    rules = (live / "pg_hba.conf").read_text()
    scene.restore(1)
    copy = scene.follow(1)
    restored = data_of(scene, copy.volume)
    assert on_copy(scene, copy, "SHOW work_mem") != "9MB"
    assert (restored / "pg_hba.conf").read_text() != rules
    assert not (restored / "server.crt").exists()
    scene.fence()
    promoted = scene.promote(copy, scene.drain(copy, answers=True))
    assert {"postgresql.auto.conf", "pg_hba.conf", "server.crt"} <= set(promoted.configuration_carried)
    assert (restored / "pg_hba.conf").read_text() == rules

    (restored / "standby.signal").touch()
    plain = server_on(scene, copy.volume).wait()
    assert plain.run("pg_isready").exit_code == 0
    assert plain.ask("SELECT pg_is_in_recovery()") is True
    seen("a server with a forgotten standby.signal is read-only and passes pg_isready")
    plain.remove()
    with pytest.raises(Refused, match="swap-unfit"):
        scene.swap(copy.volume)
    (restored / "standby.signal").unlink()
    (restored / "postmaster.pid").unlink(missing_ok=True)
    scene.swap(copy.volume)
    (scene.server.volume_path / "standby.signal").touch()
    with pytest.raises(VerificationFailed, match="server-read-only"):
        scene.serve(promoted.timeline)


@pytest.mark.swap_hazard(8)
def test_a_receiver_is_judged_by_its_slot_and_made_again_with_the_server(scene: Scene) -> None:
    """Row 8 of what bites in a swap: the receiver dies silently while its container says "Up"."""
    order = ReceiveOrder(target=scene.target)
    look = TargetOrder(target=scene.target)
    name, server = f"dr-{scene.target.stack}-receiver", scene.target.postgres.container_id
    scene.server.client.api.restart(server, timeout=20)
    scene.server.wait()
    until(lambda: "Connection refused" in scene.engine.logs(name, tail="all"), "it is not cut off")
    dead = scene.engine.look(name)
    assert dead is not None
    assert dead.running
    assert scene.server.ask("SELECT active FROM pg_replication_slots") is False
    seen_by_us = scene.protection.observe_receiver(look)
    assert not seen_by_us.active
    assert "does not stream" in seen_by_us.sentence
    again = scene.protection.ensure_receiving(order)
    assert again.active
    assert again.container != dead.id

    scene.engine.stop(server, 20)
    scene.engine.stop(name, 5)
    with pytest.raises((Unavailable, Refused), match="network of"):
        scene.engine.start(name)
    with pytest.raises(Unavailable, match="does not run"):
        scene.protection.ensure_receiving(order)
    scene.engine.start(server)
    scene.server.wait()
    found = scene.engine.look(name)
    assert found is not None
    assert not found.running
    before = scene.protection.ensure_receiving(order)
    assert before.active
    scene.archive_all()
    assert scene.protection.observe_receiver(look).newest_segment > before.newest_segment
