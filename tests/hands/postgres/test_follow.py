import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from activities.engine import Engine
from activities.postgres.follow import Following, _settings
from activities.postgres.one_shot import settings_of
from activities.postgres.sql import Sql
from activities.postgres.standby import Standby
from activities.tokens import Tokens
from domain.errors import Refused, VerificationFailed
from domain.recovery import Copy
from tests.hands.postgres.conftest import Server
from tests.hands.postgres.scene import Scene, recovery


@pytest.fixture
def scene(server: Server, sql: Sql) -> Iterator[Scene]:
    with recovery(server, sql) as made:
        made.protect()
        yield made


def count(scene: Scene, copy: Copy) -> int:
    with scene.sql.copy(copy) as connection:
        row = connection.execute("SELECT count(*) FROM users").fetchone()
    assert row is not None
    return int(str(row[0]))


def add_user(scene: Scene, number: int) -> None:
    scene.server.do(f"INSERT INTO users VALUES ({number}, 'later {number}')")  # noqa: S608 - a number
    scene.archive_all()


def archive(scene: Scene) -> Path:
    return next((Path(scene.target.shelf) / "postgres" / "wal").glob("*/"))


def test_the_copy_has_what_the_archive_holds_and_goes_on_following_it(scene: Scene) -> None:
    add_user(scene, 1001)
    scene.restore()
    copy = scene.follow()
    assert count(scene, copy) == 201
    add_user(scene, 1002)
    deadline = time.monotonic() + 20
    while count(scene, copy) != 202:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_the_copy_is_read_only_alone_and_does_not_come_back_by_itself(scene: Scene) -> None:
    scene.restore()
    copy = scene.follow()
    assert scene.follow().container == copy.container
    found = scene.engine.look(copy.container)
    assert found is not None
    host = found.raw["HostConfig"]
    assert host["NetworkMode"] == "none"
    assert host["RestartPolicy"]["Name"] == "no"
    mounts = {mount["Destination"]: mount["RW"] for mount in found.raw["Mounts"]}
    assert (mounts["/archive"], mounts["/salvage"]) == (False, False)
    with scene.sql.copy(copy) as connection, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        connection.execute("CREATE TABLE anything ()")


@pytest.mark.long
def test_leftovers_of_another_recovery_do_not_steer_the_copy(scene: Scene) -> None:
    assert scene.backup is not None
    data = Path(scene.target.shelf) / scene.backup.path
    auto = data / "postgresql.auto.conf"
    (data / "backup_manifest").unlink()
    auto.write_text(
        "work_mem = '5MB'\nrecovery_target_time = '2020-01-01 00:00:00+00'\nprimary_conninfo = 'x'\n"
    )
    (data / "recovery.signal").touch()
    add_user(scene, 1001)
    restored = scene.restore()
    assert count(scene, scene.follow()) == 201
    root = Path(scene.engine.root()) / "volumes" / restored.volume / "_data"
    assert (root / "postgresql.auto.conf").read_text() == "work_mem = '5MB'\n"
    assert not (root / "recovery.signal").exists()


@pytest.mark.long
def test_a_stopped_copy_is_woken_and_goes_on(scene: Scene) -> None:
    scene.restore()
    copy = scene.follow()
    scene.engine.kill(copy.container, "SIGKILL")
    deadline = time.monotonic() + 10
    while (found := scene.engine.look(copy.container)) is not None and found.running:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    add_user(scene, 1001)
    assert count(scene, scene.follow()) == 201


def test_two_different_files_of_one_name_stop_the_copy_instead_of_ending_recovery(scene: Scene) -> None:
    add_user(scene, 1001)
    newest = max(path for path in archive(scene).iterdir() if len(path.name) == 24)
    other = archive(scene).parent / "dr_recv_other"
    shutil.copytree(archive(scene), other)
    altered = bytearray((other / newest.name).read_bytes())
    altered[9000] ^= 0xFF
    (other / newest.name).write_bytes(altered)
    for path in (other, *other.iterdir()):
        shutil.chown(path, scene.target.postgres.uid, scene.target.postgres.gid)
    scene.restore()
    with pytest.raises(VerificationFailed, match=newest.name):
        scene.follow()


def test_a_segment_that_cannot_be_read_is_not_taken_for_the_end_of_the_wal(scene: Scene) -> None:
    add_user(scene, 1001)
    newest = max(path for path in archive(scene).iterdir() if len(path.name) == 24)
    shutil.chown(newest, 0, 0)
    newest.chmod(0o600)
    scene.restore()
    with pytest.raises(VerificationFailed, match=newest.name):
        scene.follow()


def test_a_backup_of_another_database_system_is_refused(scene: Scene) -> None:
    assert scene.backup is not None
    scene.restore()
    scene.backup = scene.backup.model_copy(update={"system_identifier": "1"})
    with pytest.raises(VerificationFailed, match="another database system"):
        scene.follow()


@pytest.mark.long
def test_a_socket_path_that_is_too_long_is_refused_before_anything_starts(
    scene: Scene, tmp_path: Path
) -> None:
    long = tmp_path / ("x" * 90)
    scene.restore()
    scene.following = Following(scene.engine, scene.sql, Tokens(long), long)
    with pytest.raises(Refused, match="socket-path"):
        scene.follow()


def test_the_arguments_of_a_server_are_read_in_all_their_spellings() -> None:
    words = ("postgres", "-c", "max_connections=200", "--max-wal-senders=7", "-cwork_mem=4MB")
    assert settings_of(words) == {"max_connections": "200", "max_wal_senders": "7", "work_mem": "4MB"}


def test_no_maximum_of_the_copy_is_smaller_than_the_servers() -> None:
    words = ("postgres", "-c", "max_connections=50", "-c", "listen_addresses=*", "-c", "max_wal_senders=30")
    found = _settings(words, {"max_connections": 200, "max_wal_senders": 10}, 4)
    assert (found["max_connections"], found["max_wal_senders"]) == ("200", "30")
    assert found["listen_addresses"] == ""
    assert found["recovery_target_timeline"] == "4"


def test_a_copy_that_is_gone_is_said_to_be_gone(engine: Engine, sql: Sql) -> None:
    copy = Copy(
        container="dr-nothing-copy", volume="v", socket_dir="/nowhere", user="u", database="d",
        timeline=1, replayed_lsn="0/0",
    )  # fmt: skip
    with pytest.raises(Refused, match="copy-gone"):
        Standby(engine, sql).ensure_awake(copy)
