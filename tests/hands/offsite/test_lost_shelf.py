"""A real server's backup and WAL go off-site, the shelf is lost, and the data comes back from there."""

import secrets
from pathlib import Path

import pytest

from activities.catalogue import read_catalogue
from activities.postgres.backup import Backups
from activities.postgres.choose import Choosing
from domain.backups import BackupOrder, ChooseOrder, VerifyBackupOrder
from tests.faults.record import Seen
from tests.hands.offsite.place import NOW, Place
from tests.hands.postgres.conftest import client, engine, image_id, server, sql  # noqa: F401 - fixtures
from tests.hands.postgres.protected import scene  # noqa: F401 - the fixture
from tests.hands.postgres.scene import Scene


@pytest.mark.fault("C1")
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
