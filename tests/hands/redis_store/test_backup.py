"""Backups of a real Redis: what is in them, what is refused, and what a killed attempt leaves."""

from pathlib import Path

import pytest
import redis

from activities import entries, stored
from activities.ledger_journal import LedgerFiles
from activities.records import Records
from activities.redis_saving import KIND as JOURNAL
from domain.backups import Level
from domain.entries import Entry
from domain.errors import Refused, Unavailable
from domain.holdings import Holding
from tests.hands.redis_store.conftest import PASSWORD, Start, Store

pytestmark = pytest.mark.hand

KEYS = 200 + 7
REWRITES = "auto-aof-rewrite-percentage"


def on_shelf(store: Store) -> dict[str, Entry]:
    found, strangers = entries.read_entries(store.shelf)
    assert strangers == []
    return {entry.kind: entry for entry in found}


def holding(entry: Entry, name: str = "db0") -> Holding:
    return next(one for one in entry.held if one.name == name)


def test_a_snapshot_and_the_append_only_directory_are_taken_checked_and_read(store: Store) -> None:
    made = store.back_up()
    assert [entry.kind for entry in made.entries] == ["rdb", "aof"]
    found = on_shelf(store)
    for kind, files in {"rdb": {"dump.rdb"}, "aof": {"appendonlydir/appendonly.aof.manifest"}}.items():
        entry = found[kind]
        assert files <= {file.path for file in entry.files}
        assert (entry.verified, entry.source.version[:1]) == (Level.MANIFEST, "8")
        assert stored.what_differs(entries.directory_of(store.shelf, entry), entry.files) == ""
        assert holding(entry).count == KEYS
        assert holding(entry, "db0, with a time to live").count == 1
        assert len(holding(entry).samples) == 100
        assert "session" not in {sample.name for sample in holding(entry).samples}
    assert store.left() == []
    assert not list((store.state / "sockets").iterdir())
    with store.connect() as client:
        assert client.config_get(REWRITES)[REWRITES] == "100"


def test_the_same_label_finds_the_same_backups_and_another_one_takes_new_ones(store: Store) -> None:
    first = store.back_up("one")
    assert store.back_up("one").entries == first.entries
    second = store.back_up("two")
    assert {e.id for e in second.entries}.isdisjoint({e.id for e in first.entries})


def test_without_append_only_files_that_kind_is_left_out_and_said(start: Start) -> None:
    store = start("--appendonly", "no")
    store.fill(3)
    made = store.back_up()
    assert [entry.kind for entry in made.entries] == ["rdb"]
    assert "the append-only file is off" in made.sentence


def test_a_password_and_an_account_are_used_and_appear_nowhere(start: Start) -> None:
    store = start("--appendonly", "yes", password=PASSWORD)
    with store.connect() as admin:
        admin.execute_command("ACL", "SETUSER", "dr", "on", f">{PASSWORD}-2", "~*", "+@all")
    store.user, store.password = "dr", f"{PASSWORD}-2"
    store.say(store.password)
    store.fill(3)
    made = store.back_up()
    assert len(made.entries) == 2
    written = [path.read_bytes() for path in store.state.rglob("*") if path.is_file() and path != store.word]
    assert not [text for text in written if PASSWORD.encode() in text]
    assert PASSWORD not in made.model_dump_json()


@pytest.mark.parametrize(
    ("rule", "command"), [("-bgsave", "BGSAVE"), ("-config|get", "CONFIG GET"), ("-config|set", "CONFIG SET")]
)
def test_a_right_that_is_missing_is_named_and_nothing_is_left(start: Start, rule: str, command: str) -> None:
    store = start("--appendonly", "yes")
    with store.connect() as admin:
        admin.execute_command("ACL", "SETUSER", "dr", "on", f">{PASSWORD}", "~*", "+@all", rule)
    store.user, store.password = "dr", PASSWORD
    store.say(PASSWORD)
    with pytest.raises(Refused) as refused:
        store.back_up()
    assert refused.value.code == "redis-forbidden"
    assert command in refused.value.what
    assert store.left() == []
    assert "aof" not in on_shelf(store)
    assert Records(store.state).read(JOURNAL, f"{store.project}-redis") is None or command == "CONFIG SET"


def test_a_command_that_was_renamed_is_refused_with_the_reason(start: Start) -> None:
    store = start("--rename-command", "CONFIG", "")
    with pytest.raises(Refused) as refused:
        store.back_up()
    assert (refused.value.code, "switched off" in refused.value.what) == ("redis-forbidden", True)


def test_a_snapshot_that_fails_for_lack_of_disk_is_told_with_what_the_log_says(start: Start) -> None:
    options = {"type": "tmpfs", "device": "tmpfs", "o": "size=2m,mode=0777"}
    store = start("--save", "", options=options)
    with store.connect() as client:
        client.set("large", "x" * 100)
        store.client.containers.get(store.name).exec_run(["sh", "-c", "yes >/data/filled"])
        for number in range(2000):
            client.set(f"key:{number}", f"{number}" * 50)
    with pytest.raises(Refused) as refused:
        store.back_up()
    assert refused.value.code == "no-room"
    assert "No space left" in refused.value.what
    assert (store.left(), on_shelf(store)) == ([], {})


def test_a_snapshot_that_could_not_be_put_in_place_is_a_failure_and_the_old_one_is_not_taken(
    start: Start,
) -> None:
    store = start("--save", "")
    store.fill(3)
    store.back_up("before")
    container = store.client.containers.get(store.name)
    container.exec_run(["sh", "-c", "rm /data/dump.rdb; mkdir /data/dump.rdb; touch /data/dump.rdb/x"])
    with pytest.raises(Unavailable) as failed:
        store.back_up("after")
    assert failed.value.code == "redis-save-failed"
    assert on_shelf(store)["rdb"].label == "before"


def test_a_snapshot_that_runs_already_is_waited_for_and_does_not_count(start: Start) -> None:
    store = start("--save", "", "--rdb-key-save-delay", "3000")
    store.fill(200)
    with store.connect() as client:
        client.bgsave()
        client.set("written after it began", "yes")
        assert client.info("persistence")["rdb_bgsave_in_progress"] == 1
        made = store.back_up()
    assert holding(on_shelf(store)["rdb"]).count == KEYS + 1
    assert made.entries


@pytest.mark.long
def test_the_setting_that_a_killed_attempt_changed_is_put_back_by_the_next_one(store: Store) -> None:
    with store.connect() as client:
        client.config_set(REWRITES, 70)
        Records(store.state).write(JOURNAL, f"{store.project}-redis", {"was": "70"})
        client.config_set(REWRITES, 0)
        store.back_up()
        assert client.config_get(REWRITES)[REWRITES] == "70"
    assert Records(store.state).read(JOURNAL, f"{store.project}-redis") is None


@pytest.mark.long
def test_what_people_set_meanwhile_stays(store: Store) -> None:
    Records(store.state).write(JOURNAL, f"{store.project}-redis", {"was": "70"})
    with store.connect() as client:
        client.config_set(REWRITES, 55)
        store.back_up()
        assert client.config_get(REWRITES)[REWRITES] == "55"


def test_what_a_killed_attempt_left_is_removed_and_a_strangers_directory_stays(store: Store) -> None:
    kind = store.shelf / "redis" / "rdb"
    left = kind / ".20261122T010000Z-rdb.partial"
    left.mkdir(parents=True)
    (left / "dump.rdb").write_bytes(b"REDIS0009")
    (kind / "mine").mkdir()
    store.back_up()
    assert not left.exists()
    assert (kind / "mine").is_dir()


def test_a_link_in_the_place_of_a_directory_of_the_shelf_is_not_followed(
    store: Store, tmp_path: Path
) -> None:
    store.shelf.mkdir()
    (store.shelf / "redis").symlink_to(tmp_path)
    with pytest.raises(Refused) as refused:
        store.back_up()
    assert refused.value.code == "shelf-unusable"
    assert list(tmp_path.iterdir()) == []


def test_no_backup_is_taken_while_a_recovery_is_open(store: Store) -> None:
    flag = LedgerFiles(store.state, store.project).recovery_open
    flag.parent.mkdir(parents=True)
    flag.write_text("20261122T0000Z-deadbeef")
    with pytest.raises(Refused) as refused:
        store.back_up()
    assert refused.value.code == "recovery-open"


def test_a_server_that_is_gone_is_unavailable(store: Store) -> None:
    store.stop()
    with pytest.raises((Unavailable, Refused)) as failed:
        store.back_up()
    assert failed.value.code == "redis-unavailable"
    with pytest.raises(redis.ConnectionError):
        store.connect().ping()
