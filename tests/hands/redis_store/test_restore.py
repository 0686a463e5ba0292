"""Redis restored from its backups: prepared beside what runs, exchanged in one step, the old data kept."""

from typing import Any

import docker
import pytest

from activities import entries, stored
from activities.job import state_of
from activities.postgres.release import Releasing
from activities.redis_settings import files_as_told
from activities.tokens import Tokens
from domain.entries import Entry, files_sha256
from domain.errors import BackupUnusable, DrError, Refused, VerificationFailed
from domain.names import LABEL_RECOVERY
from domain.release import DiscardOrder, ReleaseOrder
from tests.hands.redis_store.conftest import RID, Start, Store

pytestmark = pytest.mark.hand


def taken(store: Store, kind: str) -> Entry:
    store.back_up()
    return next(entry for entry in entries.read_entries(store.shelf)[0] if entry.kind == kind)


def lose_everything(store: Store) -> None:
    with store.connect() as client:
        client.flushall()
        client.set("written after the loss", "1")


def rewritten(store: Store, entry: Entry, **other: Any) -> Entry:
    directory = entries.directory_of(store.shelf, entry)
    files = stored.stored_files(directory)
    facts = {"files": files, "sha256": files_sha256(files), "bytes": sum(file.bytes for file in files)}
    changed = entry.model_copy(update={**facts, **other})
    entries.write_entry(directory, changed)
    return changed


@pytest.mark.parametrize("append_only", ["yes", "no"])
@pytest.mark.parametrize("kind", ["rdb", "aof"])
def test_each_kind_is_restored_whether_the_append_only_file_is_on_or_off(
    start: Start, kind: str, append_only: str
) -> None:
    store = start("--appendonly", append_only, "--save", "")
    store.fill()
    if append_only == "no":
        with store.connect() as client:
            client.config_set("appendonly", "yes")
            while client.info("persistence")["aof_rewrite_in_progress"]:
                pass
    entry = taken(store, kind)
    (store.data / "users.acl").write_text("user default on nopass ~* &* +@all\n")
    lose_everything(store)
    made = store.restoring.ensure_redis_restored(store.restore_of(entry))
    assert made.keys == 207
    with store.connect() as client:
        assert client.get("key:7") == b"value 7"
        assert client.get("written after the loss") is None
        client.set("after the restore", "1")
    assert (store.data / "users.acl").is_file()
    assert store.raw["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
    assert store.restoring.ensure_redis_restored(store.restore_of(entry)).kept_volume == made.kept_volume
    store.stop()
    store.start()
    with store.connect() as client:
        assert client.get("key:7") == b"value 7"


TOLD = """
dbfilename "shop.rdb"
appendfilename shop.aof
appenddirname 'files-of-shop'
include /data/more.conf
"""


def started_by_a_file(start: Start) -> Store:
    """Start a Redis that is told by a file of its own how its files are named."""
    store = start()
    (store.data / "redis.conf").write_text(TOLD)
    (store.data / "more.conf").write_text("save ''\nappendonly yes\n")
    store.client.api.remove_container(store.name, force=True)
    return start("/data/redis.conf")


@pytest.mark.long
def test_a_stopped_server_is_restored_by_the_names_that_its_configuration_file_says(start: Start) -> None:
    store = started_by_a_file(start)
    store.fill()
    entry = taken(store, "aof")
    assert any(file.path == "files-of-shop/shop.aof.manifest" for file in entry.files)
    lose_everything(store)
    store.stop()
    made = store.restoring.ensure_redis_restored(store.restore_of(entry))
    assert made.keys == 207
    assert (store.data / "files-of-shop/shop.aof.manifest").is_file()
    assert (store.data / "shop.rdb").is_file()
    with store.connect() as client:
        assert client.get("key:7") == b"value 7"
        assert client.get("written after the loss") is None


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ("requirepass a-word-of-nobody\n", "redis-password"),
        ("include /data/gone.conf\n", "redis-settings-unknown"),
        ("include /data/*.conf\n", "redis-settings-unknown"),
        ("include /data/more.conf\n", "redis-settings-unknown"),
        ('dir "/data\n', "redis-settings-unknown"),
        ("appendfilename ../up.aof\n", "path-escapes"),
    ],
)
def test_a_configuration_by_which_nothing_is_known_is_refused_before_anything_is_made(
    store: Store, more: str, code: str
) -> None:
    store.stop()
    (store.data / "redis.conf").write_text(TOLD)
    (store.data / "more.conf").write_text(more)
    raw = store.raw
    container = state_of(raw | {"Config": raw["Config"] | {"Cmd": ["redis-server", "/data/redis.conf"]}})
    with pytest.raises(Refused) as error:
        files_as_told(store.engine, container, store.target.services[0])
    assert error.value.code == code
    assert "a-word-of-nobody" not in f"{error.value} {error.value.where} {error.value.hint}"


def test_a_file_of_a_stopped_container_is_read_as_the_container_sees_it(store: Store) -> None:
    store.stop()
    only_here = store.state / "only-on-this-host"
    only_here.write_text("not the container's")
    (store.data / "told.conf").write_text("appendonly yes")
    for name, target in {"link": "told.conf", "out": str(only_here), "circle": "circle"}.items():
        (store.data / name).symlink_to(target)
    container = store.raw["Id"]
    for name in ("told.conf", "link"):
        assert store.engine.file_in(container, f"/data/{name}", 100) == b"appendonly yes"
    for name in ("out", "circle", "gone", "."):
        with pytest.raises(OSError, match=r"it is|there is no end"):
            store.engine.file_in(container, f"/data/{name}", 100)
    with pytest.raises(OSError, match="it is too large"):
        store.engine.file_in(container, "/data/told.conf", 5)


@pytest.mark.long
def test_the_old_data_is_kept_until_it_is_released_and_is_not_discarded(store: Store) -> None:
    entry = taken(store, "rdb")
    lose_everything(store)
    made = store.restoring.ensure_redis_restored(store.restore_of(entry))
    assert made.keeper in store.left()
    releasing = Releasing(store.engine, Tokens(store.state), store.state)
    releasing.ensure_discarded(DiscardOrder(target=store.target, recovery_id=RID))
    kept = store.engine.volume(made.kept_volume)
    assert kept is not None
    released = releasing.ensure_released(ReleaseOrder(release_of=RID))
    assert released.volumes == (made.kept_volume,)
    assert store.left() == []


def test_it_is_prepared_beside_the_server_which_is_not_touched(store: Store) -> None:
    entry = taken(store, "rdb")
    started = store.raw["State"]["StartedAt"]
    made = store.restoring.ensure_redis_prepared(store.restore_of(entry))
    assert (made.keys, store.raw["State"]["StartedAt"]) == (207, started)
    assert store.restoring.ensure_redis_prepared(store.restore_of(entry)) == made
    assert [str(v["Name"]) for v in store.engine.volumes(f"{LABEL_RECOVERY}={RID}")] == [made.volume]


def refused(store: Store, entry: Entry) -> DrError:
    before = store.raw["State"]["StartedAt"]
    with pytest.raises((Refused, BackupUnusable, VerificationFailed)) as error:
        store.restoring.ensure_redis_restored(store.restore_of(entry))
    assert (store.raw["State"]["Status"], store.raw["State"]["StartedAt"]) == ("running", before)
    assert store.left() == []
    return error.value


def test_a_backup_of_a_newer_redis_is_refused_before_anything_stops(store: Store) -> None:
    entry = taken(store, "rdb")
    newer = entry.source.model_copy(update={"version": "99.1.0"})
    error = refused(store, rewritten(store, entry, source=newer))
    assert (error.code, "99.1.0" in error.what) == ("backup-newer", True)


def test_a_damaged_backup_is_refused_before_anything_stops(store: Store) -> None:
    entry = taken(store, "rdb")
    path = entries.directory_of(store.shelf, entry) / "dump.rdb"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))
    assert refused(store, entry).code == "backup-damaged"
    assert refused(store, rewritten(store, entry)).code == "backup-damaged"


def test_a_backup_that_holds_something_else_is_not_put_in_place(store: Store) -> None:
    entry = taken(store, "rdb")
    first = entry.held[0]
    more = rewritten(
        store, entry, held=(first.model_copy(update={"count": first.count + 5}), *entry.held[1:])
    )
    assert refused(store, more).code == "restore-differs"


@pytest.mark.long
def test_another_container_on_the_volume_keeps_it_from_being_exchanged(
    store: Store, client: docker.DockerClient
) -> None:
    entry = taken(store, "rdb")
    inode = store.data.stat().st_ino
    other = client.containers.run(
        store.raw["Image"],
        entrypoint=["sleep", "600"],
        volumes={store.volume: {"bind": "/x", "mode": "ro"}},
        labels={"com.docker.compose.project": store.project},
        detach=True,
        init=True,
    )
    with pytest.raises(Refused) as error:
        store.restoring.ensure_redis_restored(store.restore_of(entry))
    assert error.value.code == "volume-in-use"
    assert store.data.stat().st_ino == inode
    other.remove(force=True)
    assert store.restoring.ensure_redis_restored(store.restore_of(entry)).keys == 207
