"""A backup of Redis loaded by a server of its own: proven, shown to be wrong, or not shown at all."""

from collections.abc import Callable
from pathlib import Path

import pytest

from activities import entries, stored
from domain.backups import Level
from domain.entries import Entry, files_sha256
from domain.errors import BackupUnusable, Refused
from domain.holdings import Sample
from tests.hands.redis_store.conftest import Start, Store
from tests.hands.shelved import shelved

pytestmark = pytest.mark.hand


def taken(store: Store, kind: str) -> Entry:
    store.back_up()
    return next(entry for entry in entries.read_entries(store.shelf)[0] if entry.kind == kind)


def rewritten(store: Store, entry: Entry, **other: object) -> Entry:
    """Write the entry anew, in agreement with the files as they are now."""
    directory = entries.directory_of(store.shelf, entry)
    files = stored.stored_files(directory)
    facts = {"files": files, "sha256": files_sha256(files), "bytes": sum(file.bytes for file in files)}
    changed = entry.model_copy(update={**facts, **other})
    entries.write_entry(directory, changed)
    return changed


def altered(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize("kind", ["rdb", "aof"])
def test_a_backup_is_loaded_compared_and_recorded_as_restored(store: Store, kind: str) -> None:
    entry = taken(store, kind)
    with store.connect() as client:
        client.flushall()  # what runs says nothing about what was backed up
    proven = store.proof.verify_redis_restored(store.entry_order(entry))
    assert proven.passed, proven.proofs
    assert {proof.name for proof in proven.proofs} == {"load", "db0", "db0, with a time to live", "image"}
    assert entries.find_entry(store.shelf, entry.id).verified is Level.RESTORED
    assert store.left() == []


def test_keys_that_expired_since_the_backup_are_not_missing(start: Start) -> None:
    store = start("--save", "")
    store.fill(5)
    with store.connect() as client:
        client.set("over soon", "1", px=1)
        entry = taken(store, "rdb")
        client.set("short", "1", px=1500)
        entry = next(e for e in [store.back_up("two").entries[0]])
        while client.exists("short"):
            pass
    assert store.proof.verify_redis_restored(store.entry_order(entry)).passed


def test_another_value_of_a_key_with_a_time_to_live_is_shown_to_be_wrong(store: Store) -> None:
    entry = taken(store, "rdb")
    keys, expiring = entry.held
    (sample,) = expiring.samples
    assert (sample.name, sample.expires_at is not None) == ("session", True)
    assert not any(one.expires_at for one in keys.samples)
    lied = expiring.model_copy(update={"samples": (sample.model_copy(update={"digest": "0" * 64}),)})
    changed = rewritten(store, entry, held=(keys, lied), verified=Level.MANIFEST)
    proven = store.proof.verify_redis_restored(store.entry_order(changed))
    assert [proof.name for proof in proven.proofs if proof.passed is False] == [expiring.name]
    # As if it had expired since: nothing can be said of it any more, and that is said.
    over = sample.model_copy(update={"digest": "0" * 64, "expires_at": entry.ended_at})
    late = expiring.model_copy(update={"samples": (over,)})
    changed = rewritten(store, entry, held=(keys, late), verified=Level.MANIFEST)
    proven = store.proof.verify_redis_restored(store.entry_order(changed))
    assert proven.passed
    (said,) = [proof.evidence for proof in proven.proofs if proof.name == expiring.name]
    assert said == "1 of 1 there, 0 samples the same, 1 counted alone: they have expired since"


@pytest.mark.parametrize(
    ("kind", "name"), [("rdb", "dump.rdb"), ("aof", "appendonlydir/appendonly.aof.1.incr.aof")]
)
def test_a_file_cut_short_is_found_by_the_record_and_by_redis_own_program(
    store: Store, kind: str, name: str
) -> None:
    entry = taken(store, kind)
    altered(entries.directory_of(store.shelf, entry) / name, lambda whole: whole[: len(whole) * 6 // 10])
    for again in (entry, rewritten(store, entry)):
        with pytest.raises(BackupUnusable) as damaged:
            store.proof.verify_redis_restored(store.entry_order(again))
        assert damaged.value.code == "backup-damaged"
        assert entries.find_entry(store.shelf, entry.id).verified is Level.NONE
        rewritten(store, entry)
    assert store.left() == []


def test_another_value_or_another_number_of_keys_is_shown_to_be_wrong(store: Store) -> None:
    entry = taken(store, "rdb")
    held = list(entry.held)
    first = held[0]
    lied = Sample(name=first.samples[0].name, digest="0" * 64)
    for wrong in (
        first.model_copy(update={"samples": (lied, *first.samples[1:])}),
        first.model_copy(update={"count": first.count + 1}),
    ):
        changed = rewritten(store, entry, held=(wrong, *held[1:]), verified=Level.MANIFEST)
        proven = store.proof.verify_redis_restored(store.entry_order(changed))
        assert [proof.name for proof in proven.proofs if proof.passed is False] == ["db0"]
        assert not proven.passed
        assert entries.find_entry(store.shelf, entry.id).verified is Level.NONE


def test_an_empty_redis_is_backed_up_and_never_called_proven(start: Start) -> None:
    store = start("--save", "")
    entry = taken(store, "rdb")
    proven = store.proof.verify_redis_restored(store.entry_order(entry))
    assert not proven.passed
    assert entries.find_entry(store.shelf, entry.id).verified is Level.MANIFEST


def test_a_backup_of_another_store_is_refused(store: Store) -> None:
    other = shelved(store.shelf)
    with pytest.raises(Refused) as refused:
        store.proof.verify_redis_restored(store.entry_order(other))
    assert refused.value.code == "backup-no-redis"
