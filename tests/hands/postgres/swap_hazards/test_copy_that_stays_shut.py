"""A copy that never lets anybody in, or cannot go on: by what the server was doing, or by how it is set."""

import pytest

from activities.postgres import standby
from domain.backups import ReceiveOrder
from domain.errors import BackupUnusable, VerificationFailed
from domain.recovery import Copy, PromoteOrder
from tests.hands.postgres.scene import Scene
from tests.hands.postgres.swap_hazards.naive import add_users, copy_on, doomed_session, on_copy, until

_PAUSE = "SELECT pg_get_wal_replay_pause_state()"


@pytest.mark.swap_hazard(11)
def test_a_copy_that_cannot_open_for_reading_is_told_from_one_that_is_slow(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 11 of what bites in a swap: more than 64 open subtransactions at the backup shut the copy."""
    with doomed_session(scene) as session:
        session.execute("BEGIN")
        for number in range(70):
            session.execute(f"SAVEPOINT s{number}")
            session.execute("INSERT INTO users VALUES (%s, %s)", [2000 + number, f"sub {number}"])
        scene.backup = scene.take_backup()
        scene.kill_server()
    plain = copy_on(scene, scene.restore(1).volume)
    until(lambda: "consistent recovery state reached" in plain.log(), "it does not become consistent")
    assert not plain.answers()
    assert "ready to accept read-only connections" not in plain.log()
    assert plain.run("pg_ctl", "promote", "-D", "/var/lib/postgresql/data").exit_code == 0
    assert plain.wait().ask("SELECT count(*) FROM users") == 200
    plain.remove()

    monkeypatch.setattr(standby, "_SHUT_SECONDS", 3.0)
    scene.restore(2)
    with pytest.raises(BackupUnusable, match="copy-stays-shut"):
        scene.follow(2)


def raised(scene: Scene, copy: Copy, workers: int) -> None:
    """Raise a maximum on the server, and wait until the copy has paused because of it."""
    scene.server.do(f"ALTER SYSTEM SET max_worker_processes = {workers}")
    scene.server.client.api.restart(scene.target.postgres.container_id, timeout=30)
    scene.server.wait()
    scene.protection.ensure_receiving(ReceiveOrder(target=scene.target))
    add_users(scene, 1000 + workers)
    until(lambda: on_copy(scene, copy, _PAUSE) == "paused", "raising a maximum did not pause the copy")


@pytest.mark.swap_hazard(11, at_length=True)
def test_no_maximum_of_the_copy_is_lower_than_the_servers_whenever_it_was_raised(scene: Scene) -> None:
    """Row 11 of what bites in a swap: lower maxima stop the copy; raised ones pause it in silence."""
    plain = copy_on(scene, scene.restore(1).volume, max_connections="20")
    until(lambda: plain.state().status == "exited", "it starts with lower maxima")
    assert "max_connections = 20 is a lower setting" in plain.log()
    plain.remove()

    scene.restore(2)
    copy = scene.follow(2)
    assert on_copy(scene, copy, "SHOW max_connections") == "60"
    raised(scene, copy, 20)
    assert scene.follow(2).replayed_lsn != copy.replayed_lsn
    assert on_copy(scene, copy, "SHOW max_worker_processes") == "20"
    raised(scene, copy, 30)
    last_known = PromoteOrder(
        recovery_id=scene.rid, target=scene.target, copy_=copy, expected_lsn="0/0", slot=scene.slot
    )
    with pytest.raises(VerificationFailed, match="replay-paused"):
        scene.promoting.ensure_promoted(last_known)
    scene.fence()
    last = scene.drain(copy, answers=True)
    assert on_copy(scene, copy, "SHOW max_worker_processes") == "30"
    assert on_copy(scene, copy, "SELECT count(*) FROM users") == 202
    assert scene.promote(copy, last).timeline == 2
