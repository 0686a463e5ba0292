"""F-B5 and F-B7: a filesystem that is full, read-only, out of inodes, or owned by somebody else."""

import hashlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import pytest

from activities.catalogue import record
from activities.engine import Engine
from activities.host import Host
from activities.postgres.choose import Choosing
from activities.postgres.sql import Sql
from activities.postgres_target import postgres_target
from domain.backups import ChooseOrder
from domain.errors import Refused, Unavailable
from domain.names import LABEL_RECOVERY, LABEL_ROLE, LABEL_STACK, volume_name
from domain.order import TargetOrder
from domain.recovery import Proof
from domain.release import DiscardOrder
from domain.stack import Kind, Service
from tests.faults.record import Seen
from tests.hands.postgres.conftest import PGDATA, Server, running_server
from tests.hands.postgres.scene import Scene, recovery


@contextmanager
def mounted(path: Path, options: str) -> Iterator[None]:
    """Have a small filesystem of its own at a path, as a volume on a disk of its own has."""
    if os.geteuid() != 0:
        pytest.skip("filesystems can be mounted by root alone")
    mount = ["mount", "-t", "tmpfs", "-o", options, "dr-test", str(path)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(path)], check=True, timeout=30)


def volume_of(scene: Scene) -> Path:
    """Make the volume of this recovery's first attempt as the hand makes it, and return its directory."""
    labels = {LABEL_RECOVERY: scene.rid, LABEL_STACK: scene.target.stack, LABEL_ROLE: "restored"}
    made = scene.engine.ensure_volume(volume_name(scene.rid, "postgres", 1), labels)
    return Path(str(made["Mountpoint"]))


def digest(root: Path) -> dict[str, tuple[int, float]]:
    """Return size and time of every file below a directory."""
    found = ((path, path.lstat()) for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): (stat.st_size, stat.st_mtime) for path, stat in found}


# -- full -------------------------------------------------------------------------------------------------


@pytest.mark.fault("B5")
def test_a_disk_that_runs_full_in_the_middle_of_the_copy_leaves_nothing_half_and_the_old_data_untouched(
    scene: Scene, seen: Seen
) -> None:
    """F-B5: disk full during the restore."""
    assert scene.backup is not None
    scene.engine.stop(scene.target.postgres.container_id, 20)
    old, backup = scene.server.volume_path, Path(scene.target.shelf) / scene.backup.path
    before, shelf_before = digest(old), digest(backup)
    directory = volume_of(scene)
    with mounted(directory, "size=12m,mode=0700,uid=999,gid=999"):
        with pytest.raises(Refused) as refused:
            scene.restore()
        room = os.statvfs(directory)
        assert room.f_blocks * room.f_frsize < scene.backup.bytes
        seen(f"{scene.backup.bytes} bytes do not fit into {room.f_blocks * room.f_frsize}: {refused.value}")
        assert refused.value.code == "no-room"
        assert "the live data is untouched" in refused.value.hint
        assert list(directory.iterdir()) == [], "the partial copy is removed"
        assert room.f_bfree == room.f_blocks, "and its room is free again"
        assert not scene.engine.labelled(f"{LABEL_RECOVERY}={scene.rid}"), "no job is left"
        with pytest.raises(Refused) as again:
            scene.restore()
        assert again.value.code == "no-room"
    assert digest(old) == before
    assert digest(backup) == shelf_before
    # With room, a retry of the same step goes through; what it made is named by the recovery.
    done = scene.restore()
    assert done.volume == volume_name(scene.rid, "postgres", 1)
    released = scene.releasing.ensure_discarded(DiscardOrder(recovery_id=scene.rid, target=scene.target))
    assert released.volumes == (done.volume,)
    assert digest(old) == before


@pytest.mark.fault("B5", at_length=True)
def test_too_little_room_is_seen_before_anything_is_copied_and_more_room_cures_it(
    scene: Scene, tmp_path: Path, seen: Seen
) -> None:
    """F-B5: the room is checked first, by backup and WAL with a tenth to spare."""
    assert scene.backup is not None
    record(Path(scene.target.shelf), scene.backup.model_copy(update={"sha256": _manifest_digest(scene)}))
    volumes = tmp_path / "volumes"
    volumes.mkdir()
    server = scene.target.postgres.model_copy(update={"volumes_root": str(volumes)})
    order = ChooseOrder(recovery_id=scene.rid, target=scene.target.model_copy(update={"postgres": server}))
    with mounted(volumes, f"size={scene.backup.bytes}"):
        choice = Choosing(scene.engine, scene.state).choose_backup(order)
        seen(f"{choice.room_bytes} free of {choice.needed_bytes} needed")
        assert choice.backup is None
        assert "No room for a restored copy" in choice.missing
        assert choice.needed_bytes is not None
        assert choice.room_bytes is not None
        wal = choice.needed_bytes / 1.1 - scene.backup.bytes
        assert wal >= scene.backup.wal_segment_bytes - 1, "the WAL to replay is counted too"
        assert choice.room_bytes < choice.needed_bytes
    with mounted(volumes, f"size={2 * choice.needed_bytes}"):
        assert Choosing(scene.engine, scene.state).choose_backup(order).backup is not None


def _manifest_digest(scene: Scene) -> str:
    assert scene.backup is not None
    data = Path(scene.target.shelf) / scene.backup.path
    return hashlib.sha256((data / "backup_manifest").read_bytes()).hexdigest()


# -- read-only, without inodes ------------------------------------------------------------------------------


@pytest.mark.fault("B7", at_length=True)
def test_a_filesystem_without_inodes_refuses_the_restore_by_name_and_keeps_nothing_half(
    scene: Scene, seen: Seen
) -> None:
    """F-B7: inodes exhausted while restoring."""
    directory = volume_of(scene)
    with mounted(directory, "nr_inodes=200,size=1g,mode=0700,uid=999,gid=999"):
        with pytest.raises(Refused, match="no inodes") as refused:
            scene.restore()
        room = os.statvfs(directory)
        seen(f"{room.f_files} inodes and {room.f_bavail * room.f_frsize} bytes: {refused.value.what}")
        assert refused.value.code == "no-room"
        assert list(directory.iterdir()) == []


@pytest.mark.fault("B7", at_length=True)
def test_a_read_only_filesystem_is_the_reason_that_a_restore_gives(scene: Scene, seen: Seen) -> None:
    """F-B7: read-only filesystem under the new volume."""
    directory = volume_of(scene)
    with mounted(directory, "size=1g,mode=0700,uid=999,gid=999"):
        subprocess.run(["mount", "-o", "remount,ro", str(directory)], check=True)
        with pytest.raises(Unavailable, match=r"(?i)read-only file system") as refused:
            scene.restore()
        seen(refused.value.what)
        assert refused.value.code in {"volume-owner", "docker-failed"}, "it is tried again, and then parks"


def proofs(scene: Scene, **changed: str) -> dict[str, Proof]:
    """Return what the doctor says of the host."""
    server = scene.target.postgres.model_copy(
        update={key: value for key, value in changed.items() if key != "shelf"}
    )
    target = scene.target.model_copy(
        update={"postgres": server, "shelf": changed.get("shelf", scene.target.shelf)}
    )
    judged = Host(scene.engine, scene.state, scene.tools).observe_host(TargetOrder(target=target))
    return {proof.name: proof for proof in judged.proofs}


@pytest.mark.fault("B7", at_length=True)
def test_the_doctor_finds_read_only_filesystems_and_spent_inodes(
    scene: Scene, tmp_path: Path, seen: Seen
) -> None:
    """F-B7: inodes exhausted, read-only filesystem, as doctor finds them before a recovery."""
    sound = proofs(scene)
    checked = ("shelf", "owner of the data", "inodes for a restored copy", "room for a restored copy")
    assert {name: sound[name].passed for name in checked} == dict.fromkeys(checked, True)
    volumes, shelf = tmp_path / "volumes", tmp_path / "another shelf"
    for path in (volumes, shelf):
        path.mkdir()
    with mounted(volumes, "nr_inodes=40,size=64m"):
        data = volumes / scene.target.postgres.volume / "_data"
        data.mkdir(parents=True)
        for number in range(30):
            (data / str(number)).touch()
        inodes = proofs(scene, volumes_root=str(volumes))["inodes for a restored copy"]
        assert inodes.passed is False
        subprocess.run(["mount", "-o", "remount,ro", str(volumes)], check=True)
        room = proofs(scene, volumes_root=str(volumes))["room for a restored copy"]
        assert room.passed is False
        assert "read-only" in room.evidence
    with mounted(shelf, "size=8m"):
        own = shelf / "postgres"
        own.mkdir(mode=0o700)
        os.chown(own, 999, 999)
        assert proofs(scene, shelf=str(shelf))["shelf"].passed is True
        subprocess.run(["mount", "-o", "remount,ro", str(shelf)], check=True)
        written = proofs(scene, shelf=str(shelf))["shelf"]
        assert written.passed is False
        assert "read-only" in written.evidence
    seen(f"{inodes.evidence}; {room.evidence}; {written.evidence}")


# -- wrong owner, wrong mode --------------------------------------------------------------------------------


@pytest.mark.fault("B7")
def test_the_doctor_finds_a_wrong_owner_and_a_wrong_mode_of_data_and_shelf(scene: Scene, seen: Seen) -> None:
    """F-B7: wrong owner or mode (70 against 999)."""
    data, shelf = scene.server.volume_path, Path(scene.target.shelf) / "postgres"
    os.chown(data, 70, 70)
    try:
        owner = proofs(scene)["owner of the data"]
    finally:
        os.chown(data, 999, 999)
    assert owner.passed is False
    assert "belongs to 70:70" in owner.evidence
    assert "user 999" in owner.evidence
    data.chmod(0o755)
    try:
        mode = proofs(scene)["owner of the data"]
    finally:
        data.chmod(0o700)
    assert mode.passed is False
    assert "0755" in mode.evidence
    os.chown(shelf, 70, 70)
    found = proofs(scene)["shelf"]
    os.chown(shelf, 999, 999)
    assert found.passed is False
    assert "the server's user is 999" in found.evidence
    scene.engine.stop(scene.target.postgres.container_id, 20)
    assert proofs(scene)["owner of the data"].passed is True, "a stopped server's image is asked too"
    seen(f"{owner.evidence}; {mode.evidence}; {found.evidence}")


@pytest.fixture
def image_of_seventy(client: docker.DockerClient, image_id: str) -> Iterator[str]:
    """Make an image whose postgres is user 70, as in the images built on Alpine."""
    places = "/var/lib/postgresql /run/postgresql"
    change = f"usermod -u 70 postgres && groupmod -g 70 postgres && chown -R 70:70 {places}"
    working = client.containers.create(image_id, ["sh", "-c", change], entrypoint=[], user="0:0")
    try:
        working.start()
        assert working.wait(timeout=60)["StatusCode"] == 0, working.logs().decode()
        made = working.commit(changes='ENTRYPOINT ["docker-entrypoint.sh"]\nCMD ["postgres"]\nUSER root')
    finally:
        working.remove(force=True, v=True)
    try:
        yield str(made.id)
    finally:
        client.images.remove(str(made.id), force=True)


@pytest.mark.fault("B7", at_length=True)
def test_a_restored_copy_belongs_to_the_user_of_the_old_directory_whatever_its_number(
    client: docker.DockerClient, image_of_seventy: str, sql: Sql, tmp_path: Path, seen: Seen
) -> None:
    """F-B7: owner 70 where another image has 999: the hand takes it from the old directory."""
    with running_server(client, image_of_seventy, tmp_path / "shelf") as server:
        owner = (server.volume_path.stat().st_uid, server.volume_path.stat().st_gid)
        seen(f"the data belongs to {owner}")
        assert owner == (70, 70)
        resolved = resolve(server)
        assert (resolved.target.postgres.uid, resolved.target.postgres.gid) == (70, 70)
        with recovery(resolved, sql) as scene:
            scene.protect()
            assert proofs(scene)["owner of the data"].passed is True
            done = scene.restore()
            made = Path(scene.engine.root()) / "volumes" / done.volume / "_data"
            owners = {(path.stat().st_uid, path.stat().st_gid) for path in (made, *made.rglob("*"))}
            assert owners == {(70, 70)}
            assert made.stat().st_mode & 0o777 == 0o700
            copy = scene.follow()
            assert copy.system_identifier


def resolve(server: Server) -> Server:
    """Resolve the server's owner as a run does; the fixture's description assumes 999."""
    engine = Engine(server.client)
    container = engine.look(server.target.postgres.container_id)
    assert container is not None
    service = server.target.services[0]
    found = postgres_target(engine, "", service, Service(kind=Kind.POSTGRES), container)
    server_of = server.target.postgres.model_copy(update={"uid": found.uid, "gid": found.gid})
    assert found.pgdata == PGDATA
    return Server(server.target.model_copy(update={"postgres": server_of}), server.client)
