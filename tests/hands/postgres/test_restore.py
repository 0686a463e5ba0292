from collections.abc import Iterator
from pathlib import Path

import pytest

from activities.postgres.sql import Sql
from domain.errors import BackupUnusable, Refused
from domain.names import LABEL_RECOVERY, container_name, volume_name
from tests.hands.postgres.conftest import Server
from tests.hands.postgres.scene import Scene, recovery


@pytest.fixture
def scene(server: Server, sql: Sql) -> Iterator[Scene]:
    with recovery(server, sql) as made:
        made.protect()
        yield made


def volume_path(scene: Scene, attempt: int = 1) -> Path:
    return Path(scene.engine.root()) / "volumes" / volume_name(scene.rid, "postgres", attempt) / "_data"


def contents(root: Path) -> dict[str, int]:
    return {
        str(path.relative_to(root)): path.stat().st_size
        for path in root.rglob("*")
        if path.is_file() and path.name != "dr.recovery"
    }


def test_the_restored_volume_holds_the_backup_and_belongs_to_the_server(scene: Scene) -> None:
    assert scene.backup is not None
    found = scene.restore()
    root = volume_path(scene)
    assert contents(root) == contents(Path(scene.target.shelf) / scene.backup.path)
    assert (root.stat().st_uid, root.stat().st_mode & 0o777) == (scene.target.postgres.uid, 0o700)
    assert found.bytes > 10_000_000
    assert not found.reattached


def test_a_second_call_finds_the_restored_volume_and_answers_the_same(scene: Scene) -> None:
    first = scene.restore()
    assert scene.restore() == first.model_copy(update={"reattached": True})
    scene.engine.remove(container_name(scene.rid, "restore"), force=True)
    again = scene.restore()
    assert (again.bytes, again.seconds) == (first.bytes, first.seconds)


def test_a_directory_without_marker_is_emptied_and_done_again(scene: Scene) -> None:
    scene.restore()
    scene.engine.remove(container_name(scene.rid, "restore"), force=True)
    root = volume_path(scene)
    (root / "dr.recovery").unlink()
    (root / "PG_VERSION").write_text("half")
    (root / "left over").mkdir()
    scene.restore()
    assert not (root / "left over").exists()
    assert (root / "PG_VERSION").read_text() != "half"
    assert (root / "dr.recovery").exists()


def test_a_volume_that_docker_made_as_roots_is_given_to_the_server(scene: Scene) -> None:
    name = volume_name(scene.rid, "postgres", 1)
    scene.engine.ensure_volume(name, {LABEL_RECOVERY: scene.rid, "dr.stack": scene.target.stack,
                                      "dr.role": "restored"})  # fmt: skip
    root = volume_path(scene)
    (root / "not empty").touch()
    root.chmod(0o755)
    scene.restore()
    assert (root.stat().st_uid, root.stat().st_mode & 0o777) == (scene.target.postgres.uid, 0o700)


def test_a_backup_with_a_file_missing_is_unusable_and_leaves_nothing_half_done(scene: Scene) -> None:
    assert scene.backup is not None
    (Path(scene.target.shelf) / scene.backup.path / "global" / "pg_filenode.map").unlink()
    with pytest.raises(BackupUnusable):
        scene.restore()
    assert not (volume_path(scene) / "dr.recovery").exists()


def test_every_attempt_has_a_volume_of_its_own(scene: Scene) -> None:
    assert scene.restore(1).volume != scene.restore(2).volume
    assert (volume_path(scene, 1) / "dr.recovery").exists()


def test_a_volume_of_that_name_that_is_not_ours_is_refused(scene: Scene) -> None:
    name = volume_name(scene.rid, "postgres", 1)
    scene.server.client.volumes.create(name)
    try:
        with pytest.raises(Refused, match="name-taken"):
            scene.restore()
    finally:
        scene.engine.remove_volume(name)
