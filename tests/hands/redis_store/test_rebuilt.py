"""Backups of Redis that lost their entry: loaded again, known again, and proven as before."""

from pathlib import Path

import pytest

from activities import entries
from activities.rebuild import Rebuilding
from activities.tokens import Tokens
from domain.backups import Level
from domain.dumps import Rebuilt
from domain.entries import ENTRY
from domain.order import TargetOrder
from tests.hands.redis_store.conftest import Store

pytestmark = pytest.mark.hand


def rebuilt(store: Store) -> Rebuilt:
    hand = Rebuilding(store.engine, Tokens(store.state), store.state)
    return hand.ensure_catalogue_rebuilt(TargetOrder(target=store.target))


def lost(shelf: Path) -> None:
    for entry in shelf.glob(f"redis/*/*/{ENTRY}"):
        entry.unlink()


def test_a_snapshot_and_append_only_files_are_known_again_and_proven(store: Store) -> None:
    store.back_up()
    made = {entry.kind: entry for entry in entries.read_entries(store.shelf)[0]}
    assert set(made) == {"rdb", "aof"}
    lost(store.shelf)
    with store.connect() as client:
        client.flushall()  # what runs says nothing about what was backed up
    said = rebuilt(store)
    assert (sorted(said.rebuilt), said.problems) == (sorted(one.id for one in made.values()), ())
    again = {entry.kind: entry for entry in entries.read_entries(store.shelf)[0]}
    for kind, entry in again.items():
        for name in ("id", "path", "bytes", "sha256", "files"):
            assert getattr(entry, name) == getattr(made[kind], name), name
        counts = {one.name: one.count for one in made[kind].held}
        assert {one.name: one.count for one in entry.held} == counts
        assert (entry.verified, entry.rebuilt) == (Level.NONE, True)
        proven = store.proof.verify_redis_restored(store.entry_order(entry))
        assert proven.passed, proven.proofs
    assert again["rdb"].source.version == made["rdb"].source.version
    assert store.left() == []
    assert rebuilt(store).rebuilt == ()


def test_files_that_redis_does_not_take_stay_without_an_entry(store: Store) -> None:
    store.back_up()
    lost(store.shelf)
    (cut,) = store.shelf.glob("redis/rdb/*/dump.rdb")
    cut.write_bytes(cut.read_bytes()[:-200])
    (single,) = store.shelf.glob("redis/aof/*/appendonlydir/*.manifest")
    single.unlink()
    said = rebuilt(store)
    assert said.rebuilt == ()
    assert len(said.problems) == 2
    assert "the manifest is missing" in " ".join(said.problems)
    assert not list(store.shelf.glob(f"redis/*/*/{ENTRY}"))
    assert store.left() == []
