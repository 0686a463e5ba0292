"""A restore from a shelf and for a server that somebody else prepared, with real containers."""

from pathlib import Path

import pytest

from domain.errors import BackupUnusable
from domain.names import volume_name
from domain.recovery import RestoreOrder
from tests.faults.record import Seen
from tests.hands.postgres.scene import Scene

pytestmark = pytest.mark.timeout(300)
SECRET = "the secret of another place"


def restored(scene: Scene, attempt: int) -> Path:
    return Path(scene.engine.root()) / "volumes" / volume_name(scene.rid, "postgres", attempt) / "_data"


def texts(root: Path) -> list[str]:
    """Return the small texts of a volume."""
    files = [path for path in root.rglob("*") if path.is_file() and path.stat().st_size < 10_000]
    return [path.read_bytes().decode(errors="replace") for path in files]


def order(scene: Scene, attempt: int) -> RestoreOrder:
    assert scene.backup is not None
    return RestoreOrder(recovery_id=scene.rid, target=scene.target, backup=scene.backup, attempt=attempt)


@pytest.mark.fault("K2", at_length=True)
def test_a_backup_that_became_a_link_after_it_was_chosen_shows_nothing_of_the_host(
    scene: Scene, tmp_path: Path, seen: Seen
) -> None:
    """F-K2: data, directory and a file of a chosen backup are swapped for links before the restore."""
    assert scene.backup is not None
    outside = tmp_path / "outside"
    (outside / "data").mkdir(parents=True)
    for name in ("PG_VERSION", "data/PG_VERSION", "passwd"):
        (outside / name).write_text(SECRET)
    for path in (outside, outside / "data"):
        path.chmod(0o755)
    data = Path(scene.target.shelf) / scene.backup.path
    said = []
    for attempt, (place, target) in enumerate(
        ((data, outside / "data"), (data.parent, outside), (data / "planted", outside / "passwd")), start=1
    ):
        aside = place.with_name("aside")
        if place.exists():
            place.rename(aside)
        place.symlink_to(target)
        with pytest.raises(BackupUnusable) as refused:
            scene.restoring.ensure_restored(order(scene, attempt))
        said.append(refused.value.what)
        assert SECRET not in "".join(texts(restored(scene, attempt)))
        place.unlink()
        if aside.exists():
            aside.rename(place)
    assert scene.restoring.ensure_restored(order(scene, 9)).bytes > 10_000_000
    seen("; ".join(said))


@pytest.mark.fault("K3", at_length=True)
@pytest.mark.fault("K4", at_length=True)
def test_a_data_directory_called_like_a_command_is_a_directory(scene: Scene, seen: Seen) -> None:
    """F-K3, F-K4: PGDATA of the server, which reaches the scripts that run in our containers."""
    name = "$(touch pwned);`touch pwned` -rf x'y"
    server = scene.target.postgres
    hostile = server.model_copy(update={"pgdata": f"{server.mount_path}/{name}"})
    scene.target = scene.target.model_copy(update={"postgres": hostile})
    found = scene.restoring.ensure_restored(order(scene, 1))
    assert found.bytes > 10_000_000
    assert [path.name for path in restored(scene, 1).iterdir()] == [name]
    assert (restored(scene, 1) / name / "PG_VERSION").is_file()
    assert not list(restored(scene, 1).rglob("pwned"))
    seen(f"restored into {name}")
