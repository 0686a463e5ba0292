"""F-J1 to F-J4: what loses Redis' data without an error, first done the naive way and then by the hands."""

import subprocess
import threading

import pytest

from activities import entries, stored
from activities.probes import Probes
from activities.secrets import Secrets
from domain.entries import Entry, files_sha256
from domain.errors import Refused, Unavailable
from tests.faults.record import Seen
from tests.hands.redis_store.conftest import PASSWORD, Start, Store

pytestmark = pytest.mark.hand


def taken(store: Store, kind: str, label: str = "one") -> Entry:
    store.back_up(label)
    return next(e for e in entries.read_entries(store.shelf)[0] if (e.kind, e.label) == (kind, label))


def keys(store: Store) -> int:
    with store.connect() as client:
        return int(client.dbsize())


def inside(store: Store, *command: str) -> tuple[int, str]:
    done = store.engine.run(store.name, command)
    return done.exit_code, done.output + done.errors


@pytest.mark.fault("J1")
def test_a_snapshot_is_restored_under_a_server_whose_append_only_file_is_on(store: Store, seen: Seen) -> None:
    """F-J1: only dump.rdb is put back while the append-only file is on."""
    entry = taken(store, "rdb")
    # Naive: the data is gone, and the snapshot is put into the empty directory.
    store.stop()
    subprocess.run(["rm", "-rf", str(store.data / "appendonlydir")], check=True)
    source = entries.directory_of(store.shelf, entry) / "dump.rdb"
    target = store.data / "dump.rdb"
    target.write_bytes(source.read_bytes())
    target.chmod(0o644)
    store.start()
    naive = keys(store)
    assert naive == 0
    made = store.restoring.ensure_redis_restored(store.restore_of(entry))
    assert made.keys == keys(store) == 207
    store.stop()
    store.start()
    assert keys(store) == 207
    seen(f"with dump.rdb alone it started with {naive} keys and no error; restored by the hand {made.keys:,}")


@pytest.mark.fault("J2")
def test_a_single_append_only_file_is_refused_and_a_whole_directory_is_restored(
    store: Store, seen: Seen
) -> None:
    """F-J2: one appendonly.aof is copied where Redis keeps a directory."""
    whole = taken(store, "aof")
    # Naive: the single file lies beside a directory with a manifest, and is ignored.
    with store.connect() as client:
        client.flushall()
    (store.data / "appendonly.aof").write_bytes(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n")
    store.stop()
    store.start()
    assert keys(store) == 0
    (store.data / "appendonly.aof").unlink()
    directory = entries.directory_of(store.shelf, whole)
    name = entries.new_id(directory.parent, "aof")
    single = entries.partial_of(store.shelf, "redis", "aof", name)
    single.mkdir()
    (single / "appendonly.aof").write_bytes(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n")
    files = stored.stored_files(single)
    facts = {"id": name, "path": f"redis/aof/{name}", "files": files, "label": "single"}
    size = {"bytes": files[0].bytes, "sha256": files_sha256(files)}
    made = entries.publish(single, whole.model_copy(update={**facts, **size}))
    with pytest.raises(Refused) as refused:
        store.restoring.ensure_redis_restored(store.restore_of(made))
    assert refused.value.code == "backup-torn"
    assert "manifest is missing" in refused.value.what
    assert store.raw["State"]["Running"]
    assert store.restoring.ensure_redis_restored(store.restore_of(whole)).keys == 207
    seen(f"the single file was ignored (0 keys); {refused.value.what}")


@pytest.mark.fault("J3")
def test_append_only_files_are_whole_though_everybody_rewrites_and_writes(start: Start, seen: Seen) -> None:
    """F-J3: the append-only files are copied while they are rewritten."""
    store = start(
        *("--appendonly", "yes", "--save", "", "--auto-aof-rewrite-percentage", "1"),
        *("--auto-aof-rewrite-min-size", "1kb", "--rdb-key-save-delay", "200"),
    )
    store.fill(3000)
    naive = torn_copy(store)
    assert naive
    ended = threading.Event()

    def write() -> None:
        number = 0
        with store.connect() as client:
            while not ended.is_set():
                number += 1
                client.set(f"while copying:{number}", "x" * 500)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        entry = taken(store, "aof")
    finally:
        ended.set()
        writer.join()
    with store.connect() as client:
        assert client.config_get("auto-aof-rewrite-percentage")["auto-aof-rewrite-percentage"] == "1"
        rewritten = int(client.info("persistence")["aof_rewrites"])
    assert rewritten > 1
    proven = store.proof.verify_redis_restored(store.entry_order(entry))
    assert proven.passed, proven.proofs
    assert entry.held[0].count >= 3000
    seen(
        f"copied naively: {naive}; {rewritten} rewrites ran before and after the hand's own copy, none in it"
    )


def torn_copy(store: Store) -> str:
    """Copy the directory as a script would, file after file, with a rewrite in between; say what is wrong."""
    directory = store.data / "appendonlydir"
    with store.connect() as client:
        while client.info("persistence")["aof_rewrite_in_progress"]:
            pass
        names = sorted(path.name for path in directory.iterdir())
        manifest = (directory / "appendonly.aof.manifest").read_text()
        client.set("changes", "1")
        if not client.info("persistence")["aof_rewrite_in_progress"]:
            client.bgrewriteaof()
        while client.info("persistence")["aof_rewrite_in_progress"]:
            pass
    gone = [name for name in names if name in manifest and not (directory / name).is_file()]
    return f"{gone[0]}, which the copied manifest lists, is gone" if gone else ""


@pytest.mark.fault("J4")
def test_a_reply_that_is_no_answer_is_not_taken_for_one(start: Start, seen: Seen) -> None:
    """F-J4: PING is answered by NOAUTH, and redis-cli ends with 0."""
    store = start("--save", "", password=PASSWORD)
    store.fill(3)
    code, said = inside(store, "redis-cli", "ping")
    assert (code, said.startswith("NOAUTH")) == (0, True)
    told = []
    for wrong in (None, "another-word"):
        store.say(wrong)
        with pytest.raises(Refused) as refused:
            store.back_up()
        assert refused.value.code == "redis-password"
        told.append(refused.value.what)
        probed = Probes(store.engine, Secrets(store.engine)).probe(store.target, store.target.services[0])
        assert probed.passed is False
    store.say(PASSWORD)
    probed = Probes(store.engine, Secrets(store.engine)).probe(store.target, store.target.services[0])
    assert probed.passed
    assert len(store.back_up().entries) == 1
    seen(f"redis-cli ping: {said.strip()}, exit status {code}; the hand: {told[0]}")


@pytest.mark.fault("J4")
def test_a_server_that_still_loads_is_waited_for_and_not_backed_up(start: Start, seen: Seen) -> None:
    """F-J4: PING is answered by LOADING, and redis-cli ends with 0."""
    # It listens after each kilobyte, and is as slow as it takes until it is told to be quick.
    slow = ("--loading-process-events-interval-bytes", "1024", "--key-load-delay", "100000")
    store = start("--save", "", "--rdbcompression", "no", *slow)
    with store.connect() as client:
        client.mset({f"key:{number}": "x" * 2000 for number in range(1000)})
        client.save()
    store.stop()
    store.client.api.start(store.name)
    code, said = -1, ""
    while "LOADING" not in said:
        code, said = inside(store, "redis-cli", "ping")
    assert code == 0
    with pytest.raises(Unavailable) as failed:
        store.back_up()
    assert failed.value.code == "redis-loading"
    probed = Probes(store.engine, Secrets(store.engine)).probe(store.target, store.target.services[0])
    assert probed.passed is False
    with store.connect() as client:
        client.config_set("key-load-delay", 0)
    store.wait()
    assert entries.read_entries(store.shelf)[0] == []
    assert store.back_up().entries
    seen(f"redis-cli ping: {said.strip()[:60]}, exit status {code}; the hand: {failed.value.what}")


@pytest.mark.fault("C15")
def test_what_is_recorded_is_what_the_file_holds_though_everybody_writes(start: Start, seen: Seen) -> None:
    """F-C15: the store is written to between its snapshot and the look at what it holds."""
    store = start("--save", "")
    store.fill(500)
    ended = threading.Event()

    def write() -> None:
        number = 0
        with store.connect() as client:
            while not ended.is_set():
                number += 1
                client.set(f"later:{number}", "1")
                client.incr("key:counted")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        entry = taken(store, "rdb")
        live = keys(store)
    finally:
        ended.set()
        writer.join()
    assert entry.held[0].count != live
    assert store.proof.verify_redis_restored(store.entry_order(entry)).passed
    seen(f"{entry.held[0].count:,} keys were recorded and are in the copy; the server held {live:,} by then")
