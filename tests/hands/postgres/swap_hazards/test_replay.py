"""Replay that ends early, pauses or follows the wrong line, without any error."""

import shutil

import psycopg
import pytest

from activities.postgres.sql import Sql
from domain.backups import ReceiveOrder
from domain.errors import VerificationFailed
from tests.faults.record import Seen
from tests.hands.postgres.scene import Scene, recovery
from tests.hands.postgres.swap_hazards.naive import (
    SEGMENT,
    Plain,
    add_users,
    archive_of,
    copy_on,
    data_of,
    on_copy,
    until,
)

USERS = "SELECT count(*) FROM users"
PAUSE = "SELECT pg_get_wal_replay_pause_state()"
TARGETS = (
    "SELECT string_agg(setting, '') FROM pg_settings"
    " WHERE name ~ '^recovery_target' AND name !~ '(action|timeline|inclusive)$'"
)


def paused_at(scene: Scene, lsn: object, attempt: int) -> Plain:
    """Start a copy with a target, which stands paused there."""
    plain = copy_on(
        scene,
        scene.restore(attempt).volume,
        recovery_target_lsn=str(lsn),
        recovery_target_action="pause",
        recovery_target_timeline="current",
    ).wait()
    until(
        lambda: plain.ask(PAUSE) == "paused",
        "it does not pause at the target",
    )
    return plain


@pytest.mark.swap_hazard(2)
def test_a_copy_is_never_promoted_while_its_replay_is_paused(scene: Scene) -> None:
    """Row 2 of what bites in a swap: promoting while replay is paused throws archived WAL away."""
    add_users(scene, 1001)
    before = scene.server.ask("SELECT pg_current_wal_lsn()")
    add_users(scene, 1002, 1003)
    promoted = paused_at(scene, before, 1)
    assert promoted.ask("SELECT pg_promote()") is True
    assert (promoted.ask("SELECT pg_is_in_recovery()"), promoted.ask(USERS)) == (False, 201)
    resumed = paused_at(scene, before, 2)
    resumed.ask("SELECT pg_wal_replay_resume()")
    until(lambda: resumed.ask("SELECT pg_is_in_recovery()") is False, "resuming did not promote")
    assert resumed.ask(USERS) == 201
    for plain in (promoted, resumed):
        plain.remove()

    scene.restore(3)
    copy = scene.follow(3)
    targets = on_copy(
        scene,
        copy,
        TARGETS,
    )
    assert targets == ""
    on_copy(scene, copy, "SELECT pg_wal_replay_pause()")
    until(lambda: on_copy(scene, copy, PAUSE) == "paused", "no pause")
    add_users(scene, 1004)
    scene.fence()
    with pytest.raises(VerificationFailed, match="replay-paused"):
        scene.drain(copy, answers=True)
    on_copy(scene, copy, "SELECT pg_wal_replay_resume()")
    last = scene.drain(copy, answers=True)
    assert on_copy(scene, copy, USERS) == 204
    on_copy(scene, copy, "SELECT pg_wal_replay_pause()")
    until(lambda: on_copy(scene, copy, PAUSE) == "paused", "no pause")
    with pytest.raises(VerificationFailed, match="replay-paused"):
        scene.promote(copy, last)
    on_copy(scene, copy, "SELECT pg_wal_replay_resume()")
    assert scene.promote(copy, last).timeline == 2


@pytest.mark.swap_hazard(17)
def test_a_segment_that_cannot_be_read_stops_the_copy_instead_of_ending_recovery(scene: Scene) -> None:
    """Row 17 of what bites in a swap: an unreadable segment counts as the end of the WAL."""
    add_users(scene, 1001, 1002, 1003)
    segments = sorted(path for path in archive_of(scene).iterdir() if len(path.name) == 24)
    unreadable = segments[-2]
    shutil.chown(unreadable, 0, 0)
    unreadable.chmod(0o600)
    plain = copy_on(scene, scene.restore(1).volume, "recovery.signal").wait()
    until(lambda: plain.ask("SELECT pg_is_in_recovery()") is False, "it does not promote itself")
    assert int(str(plain.ask(USERS))) < 203
    assert "FATAL" not in plain.log().rpartition("ready to accept read-only connections")[2]
    plain.remove()

    scene.restore(2)
    with pytest.raises(VerificationFailed, match=unreadable.name):
        scene.follow(2)
    shutil.chown(unreadable, scene.target.postgres.uid, scene.target.postgres.gid)
    assert on_copy(scene, scene.follow(2), USERS) == 203


def undone_recovery(scene: Scene) -> None:
    """Promote a copy, archive its timeline, and go back to the server as if nothing had been."""
    copy, _ = scene.to_promoted(answers=True)
    leftovers = archive_of(scene, "dr_recv_undone")
    leftovers.mkdir()
    for path in data_of(scene, copy.volume).glob("pg_wal/00000002*"):
        shutil.copy(path, leftovers)
    assert any(path.stat().st_size == SEGMENT for path in leftovers.iterdir())
    for path in (leftovers, *leftovers.iterdir()):
        shutil.chown(path, scene.target.postgres.uid, scene.target.postgres.gid)
    scene.fencing.ensure_unfenced(scene.order())
    scene.engine.start(scene.target.postgres.container_id)
    scene.server.wait()
    scene.protection.ensure_receiving(ReceiveOrder(target=scene.target))


@pytest.mark.swap_hazard(7, at_length=True)
@pytest.mark.fault("D7")
def test_what_an_undone_recovery_left_in_the_archive_does_not_lead_the_next_copy_astray(
    scene: Scene, sql: Sql, seen: Seen
) -> None:
    """F-D7: Row 7 of what bites in a swap: ``recovery_target_timeline=latest`` follows leftovers."""
    undone_recovery(scene)
    add_users(scene, 1001, 1002)
    with recovery(scene.server, sql) as again:
        again.backup = scene.backup
        plain = copy_on(
            again,
            again.restore(1).volume,
            recovery_target_timeline="latest",
            restore_command="cp /archive/dr_recv_undone/%f %p || cp /archive/dr_recv_1/%f %p",
        ).wait()
        until(lambda: 'restored log file "00000002.history"' in plain.log(), "the leftovers are not read")
        until(lambda: "0000000200000000" in plain.log(), "no segment of the leftover timeline is replayed")
        assert plain.ask("SELECT pg_promote()") is True
        assert plain.ask(USERS) == 200
        seen("a copy that follows the latest timeline lost the two newest rows and was promoted")
        plain.remove()

        again.restore(2)
        copy = again.follow(2)
        assert (copy.timeline, on_copy(again, copy, USERS)) == (1, 202)
        again.fence()
        assert again.promote(copy, again.drain(copy, answers=True)).timeline == 3


@pytest.mark.swap_hazard(9)
def test_replay_cancels_no_query_of_the_copy_and_waits_for_it(scene: Scene) -> None:
    """Row 9 of what bites in a swap: replay cancels queries, after 30 s by default."""
    scene.server.do("INSERT INTO drafts SELECT n, 'draft' FROM generate_series(1, 500) n")
    scene.archive_all()
    plain = copy_on(scene, scene.restore(1).volume, max_standby_archive_delay="200ms").wait()
    until(lambda: plain.ask("SELECT count(*) FROM drafts") == 500, "the copy lags behind")
    assert plain.ask("SELECT boot_val FROM pg_settings WHERE name = 'max_standby_archive_delay'") == "30000"
    scene.restore(2)
    copy = scene.follow(2)
    repeatable = "BEGIN ISOLATION LEVEL REPEATABLE READ"
    with plain.connect() as theirs, scene.sql.copy(copy) as ours:
        for session in (theirs, ours):
            session.execute(repeatable)
            assert session.execute("SELECT count(*) FROM drafts").fetchone() == (500,)
        scene.server.do("DELETE FROM drafts")
        scene.server.do("VACUUM drafts")
        scene.archive_all()

        def cancelled() -> bool:
            try:
                theirs.execute("SELECT count(*) FROM drafts")
            except psycopg.Error as error:
                return "conflict with recovery" in str(error) or theirs.closed
            return False

        until(cancelled, "replay cancelled nothing")
        assert ours.execute("SELECT count(*) FROM drafts").fetchone() == (500,)
        ours.execute("COMMIT")
        until(lambda: on_copy(scene, copy, "SELECT count(*) FROM drafts") == 0, "the copy does not go on")
