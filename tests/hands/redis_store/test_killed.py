"""A worker that dies at any effect on Redis: the next attempt ends as if nothing had happened."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from activities import entries
from activities.postgres.release import Releasing
from activities.records import Records
from activities.redis_saving import KIND as JOURNAL
from activities.tokens import Tokens
from domain.backups import Level
from domain.dumps import RestoreProven
from domain.entries import Entry
from domain.redis_restore import RedisRestored, RedisRestoreOrder
from domain.release import ReleaseOrder
from domain.store_backups import StoreBackups
from tests.faults.record import Seen
from tests.hands.dying import AT_NIGHT, SIDES, Side, Trial, dies_everywhere, remains
from tests.hands.redis_store.conftest import Start, Store

pytestmark = [pytest.mark.hand, pytest.mark.timeout(1800)]
REWRITES = "auto-aof-rewrite-percentage"
KEYS = 27


class OnStore(Trial):
    """What the trials of all hands share."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.shelf, store.state)
        self.store = store

    def taken(self, kind: str) -> Entry:
        """Take a backup and return its entry of a kind."""
        self.store.back_up()
        return next(one for one in entries.read_entries(self.store.shelf)[0] if one.kind == kind)

    def nothing_left(self) -> None:
        store = self.store
        assert remains(store.shelf, store.state) == []
        assert store.left() == []
        assert Records(store.state).read(JOURNAL, f"{store.project}-redis") is None
        assert store.raw["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
        with store.connect() as client:
            assert client.config_get(REWRITES)[REWRITES] == "100"


class Taking(OnStore):
    """Both kinds of backups."""

    def begin(self) -> None:
        super().begin()
        shutil.rmtree(self.store.shelf, ignore_errors=True)

    def act(self) -> StoreBackups:
        return self.store.back_up(f"round {self.number}")

    def judge(self, said: StoreBackups) -> None:
        found, strangers = entries.read_entries(self.store.shelf)
        assert sorted(entry.kind for entry in found) == ["aof", "rdb"]
        assert {entry.id for entry in found} == {entry.id for entry in said.entries}
        assert {entry.verified for entry in found} == {Level.MANIFEST}
        assert strangers == []
        self.nothing_left()


class Proving(OnStore):
    """The proof of one backup by loading it."""

    def __init__(self, store: Store, kind: str) -> None:
        super().__init__(store)
        self.entry = self.taken(kind)

    def begin(self) -> None:
        super().begin()
        now = datetime.now(UTC)
        entries.record_verified(self.store.shelf, self.entry, Level.MANIFEST, now, "the last round")

    def act(self) -> RestoreProven:
        return self.store.proof.verify_redis_restored(self.store.entry_order(self.entry))

    def judge(self, said: RestoreProven) -> None:
        assert said.passed, said.proofs
        found, strangers = entries.read_entries(self.store.shelf)
        assert {one.kind: one.verified for one in found}[self.entry.kind] is Level.RESTORED
        assert (len(found), strangers) == (2, [])
        self.nothing_left()


class Restoring(OnStore):
    """The restore of one backup in the place of what runs."""

    def __init__(self, store: Store, kind: str) -> None:
        super().__init__(store)
        self.entry = self.taken(kind)

    def begin(self) -> None:
        super().begin()
        with self.store.connect() as client:
            client.flushall()
            client.set(f"lost in round {self.number}", "1")
        self.order = RedisRestoreOrder(
            target=self.store.target,
            entry_id=self.entry.id,
            recovery_id=f"20261122T1600Z-{self.number:08x}",
        )

    def act(self) -> RedisRestored:
        return self.store.restoring.ensure_redis_restored(self.order)

    def judge(self, said: RedisRestored) -> None:
        store = self.store
        assert said.keys == KEYS
        with store.connect() as client:
            assert client.dbsize() == KEYS
            assert client.get("key:7") == b"value 7"
        kept = Path(store.client.api.inspect_volume(said.kept_volume)["Mountpoint"])
        written = b"".join(path.read_bytes() for path in kept.glob("appendonlydir/*"))
        assert f"lost in round {self.number}".encode() in written
        assert store.left() == sorted([said.keeper, said.kept_volume])
        released = Releasing(store.engine, Tokens(store.state), store.state).ensure_released(
            ReleaseOrder(release_of=self.order.recovery_id)
        )
        assert released.volumes == (said.kept_volume,)
        self.nothing_left()


@pytest.fixture
def small(start: Start) -> Store:
    """Start a Redis with few keys: what is looked at is every effect, not the data."""
    made = start("--appendonly", "yes", "--save", "")
    made.fill(20)
    return made


@pytest.mark.parametrize("side", SIDES)
def test_a_backup_of_redis_may_die_at_every_effect(small: Store, seen: Seen, side: Side) -> None:
    """F-A1, F-A2: every effect of a backup of Redis."""
    dies_everywhere(Taking(small), seen, side, at_least=35)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("kind", ["rdb", pytest.param("aof", marks=AT_NIGHT)])
def test_the_proof_of_a_backup_of_redis_may_die_at_every_effect(
    small: Store, seen: Seen, kind: str, side: Side
) -> None:
    """F-A1, F-A2: every effect of a proof by loading."""
    dies_everywhere(Proving(small, kind), seen, side, at_least=12)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("kind", ["rdb", pytest.param("aof", marks=AT_NIGHT)])
def test_a_restore_of_redis_may_die_at_every_effect(small: Store, seen: Seen, kind: str, side: Side) -> None:
    """F-A1, F-A2: every effect of a restore with its exchange of volumes."""
    dies_everywhere(Restoring(small, kind), seen, side, at_least=25)
