"""A real server's backup and WAL go off-site, the shelf is lost, and the data comes back from there."""

import secrets
from pathlib import Path

import pytest

from activities.catalogue import read_catalogue
from activities.postgres.backup import Backups
from activities.postgres.choose import Choosing
from domain.backups import BackupOrder, ChooseOrder, VerifyBackupOrder
from domain.errors import VerificationFailed
from domain.recovery import Copy, LastWal, LastWalOrder
from tests.faults.record import Seen
from tests.hands.offsite.place import NOW, Place
from tests.hands.postgres.conftest import clusters, engine, image_id, server, sql  # noqa: F401 - fixtures
from tests.hands.postgres.protected import scene  # noqa: F401 - the fixture
from tests.hands.postgres.scene import Scene


@pytest.mark.fault("C1", at_length=True)
def test_the_database_is_restored_from_the_far_copy_alone(
    scene: Scene,  # noqa: F811 - the fixture
    moto_port: int,
    tmp_path: Path,
    seen: Seen,
) -> None:
    """F-C1: the latest backup is missing, with the whole shelf: the off-site copy is what is left."""
    place = Place(scene.state, f"http://127.0.0.1:{moto_port}", f"copies-{secrets.token_hex(6)}")
    place.real = scene.target
    place.client.create_bucket(Bucket=place.bucket)
    place.keys.new(NOW)
    backups = Backups(scene.engine, scene.sql, place.tokens(), scene.state)
    made = backups.ensure_base_backup(BackupOrder(target=scene.target, label="nightly"))
    scene.server.do("INSERT INTO users VALUES (1001, 'later than the backup')")
    scene.archive_all()
    copied = place.copy()
    assert made.id in copied.entries
    assert copied.segments > 0

    # Another disk, empty: what the shelf held is out of reach.
    scene.target = place.real = scene.target.model_copy(update={"shelf": str(tmp_path / "new-shelf")})
    assert read_catalogue(place.shelf) == ([], [])
    seen(f"the shelf is empty, the bucket holds {len(place.far())} objects")
    fetched = place.fetch()
    assert fetched.id == made.id
    assert read_catalogue(place.shelf)[0] == [made.model_copy(update={"sentence": made.sentence})]
    verified = backups.verify_backup(VerifyBackupOrder(target=scene.target, backup_id=made.id))
    assert "agrees with its manifest" in verified.sentence
    choice = Choosing(scene.engine, scene.state).choose_backup(ChooseOrder(target=scene.target))
    assert choice.backup is not None
    scene.backup = choice.backup
    scene.restore()
    copy = scene.follow()
    with scene.sql.copy(copy) as connection:
        rows = connection.execute("SELECT count(*), count(*) FILTER (WHERE id = 1001) FROM users").fetchone()
    assert rows == (201, 1)


@pytest.fixture
def copied(scene: Scene, moto_port: int, tmp_path: Path) -> Place:  # noqa: F811 - the fixture
    """Return a host whose shelf was lost after everything on it had been copied, and was fetched again."""
    place = Place(scene.state, f"http://127.0.0.1:{moto_port}", f"copies-{secrets.token_hex(6)}")
    place.real = scene.target
    place.client.create_bucket(Bucket=place.bucket)
    place.keys.new(NOW)
    backups = Backups(scene.engine, scene.sql, place.tokens(), scene.state)
    backups.ensure_base_backup(BackupOrder(target=scene.target, label="nightly"))
    scene.server.do("INSERT INTO users VALUES (1001, 'before the copy')")
    scene.archive_all()
    place.copy()
    scene.server.do("INSERT INTO users VALUES (1002, 'after the copy')")
    scene.target = place.real = scene.target.model_copy(update={"shelf": str(tmp_path / "new-shelf")})
    place.fetch()
    scene.backup = Choosing(scene.engine, scene.state).choose_backup(ChooseOrder(target=scene.target)).backup
    return place


def drain(scene: Scene, copy: Copy, *, gap_ends: bool) -> LastWal:  # noqa: F811 - a type
    order = LastWalOrder(
        recovery_id=scene.rid, target=scene.target, copy_=copy, answers=False, gap_ends=gap_ends
    )
    return scene.draining.ensure_last_wal(order)


def ids(scene: Scene, copy: Copy) -> set[object]:  # noqa: F811 - a type
    with scene.sql.copy(copy) as connection:
        return {row[0] for row in connection.execute("SELECT id FROM users WHERE id > 1000").fetchall()}


@pytest.mark.long
def test_what_the_damaged_server_still_has_joins_the_far_archive(
    scene: Scene,  # noqa: F811 - the fixture
    copied: Place,
) -> None:
    scene.kill_server()
    scene.restore()
    copy = scene.follow()
    assert ids(scene, copy) == {1001}
    last = drain(scene, copy, gap_ends=True)
    assert last.source == "salvaged pg_wal"
    assert ids(scene, copy) == {1001, 1002}


@pytest.mark.long
def test_where_its_wal_does_not_follow_the_far_archive_the_chain_ends_there_and_it_is_said(
    scene: Scene,  # noqa: F811 - the fixture
    copied: Place,
) -> None:
    living = scene.server
    scene.engine.remove(f"dr-{scene.target.stack}-receiver", force=True)
    living.do(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name LIKE 'dr_%'"
    )
    for _ in range(3):
        living.do("SELECT pg_switch_wal(), pg_logical_emit_message(true, 'test', 'another segment')")
    for _ in range(2):
        living.do("CHECKPOINT")
    living.do("INSERT INTO users VALUES (1003, 'behind the gap')")
    scene.kill_server()
    scene.restore()
    copy = scene.follow()
    with pytest.raises(VerificationFailed, match="wal-gap"):
        drain(scene, copy, gap_ends=False)
    last = drain(scene, copy, gap_ends=True)
    assert "is nowhere, so what follows it is lost" in last.sentence
    assert ids(scene, copy) == {1001}
    assert drain(scene, copy, gap_ends=True).replayed_lsn == last.replayed_lsn
    assert scene.promote(copy, last).timeline == 2
