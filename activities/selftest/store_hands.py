"""The hands that back up and prove the other stores, as the self-test asks them: those of every stack."""

from collections.abc import Callable
from pathlib import Path

from activities import entries
from activities.engine import Engine
from activities.objects_backup import ObjectBackups
from activities.objects_proof import ObjectsProof
from activities.objects_side import ObjectsSide
from activities.offsite_side import Connect
from activities.redis_backup import RedisBackups
from activities.redis_proof import RedisProof
from activities.search_backup import SearchBackups
from activities.search_proof import SearchProofs
from activities.secrets import Secrets
from activities.selftest.trial import Answer, Check, by_judgement, by_proofs
from activities.tokens import Tokens
from domain.dumps import EntryTargetOrder, RestoreProven
from domain.entries import Entry
from domain.objects_copy import ObjectsBackupOrder, ObjectsProofOrder
from domain.order import Target
from domain.stack import Kind
from domain.store_backups import StoreBackupOrder, StoreBackups

Take = Callable[[Target, str], StoreBackups]
Prove = Callable[[Target, str], RestoreProven]


class StoreHands:
    """Takes and proves backups of one small store, on a state of its own."""

    def __init__(self, engine: Engine, secrets: Secrets, connect: Connect, state: Path) -> None:
        """``connect`` builds boto3's client for S3; ``state`` is that of the stage."""
        tokens = Tokens(state)
        side = ObjectsSide(engine, secrets, connect)
        redis = RedisBackups(engine, secrets, tokens, state)
        objects = ObjectBackups(side, tokens, state)
        search = SearchBackups(engine, secrets, tokens, state)
        redis_proof, search_proof = RedisProof(engine, tokens, state), SearchProofs(engine, tokens, state)
        objects_proof = ObjectsProof(side, tokens, state)
        self._hands: dict[Kind, tuple[Take, Prove]] = {
            Kind.REDIS: (
                lambda target, label: redis.ensure_redis_backup(StoreBackupOrder(target=target, label=label)),
                lambda target, entry_id: redis_proof.verify_redis_restored(
                    EntryTargetOrder(target=target, entry_id=entry_id)
                ),
            ),
            Kind.OBJECTS: (
                lambda target, label: objects.ensure_objects_backup(
                    ObjectsBackupOrder(target=target, label=label)
                ),
                lambda target, entry_id: objects_proof.verify_objects_restored(
                    ObjectsProofOrder(target=target, entry_id=entry_id)
                ),
            ),
            Kind.SEARCH: (
                lambda target, label: search.ensure_search_backup(
                    StoreBackupOrder(target=target, label=label)
                ),
                lambda target, entry_id: search_proof.verify_search_restored(
                    EntryTargetOrder(target=target, entry_id=entry_id)
                ),
            ),
        }

    def shelved(self, kind: Kind, target: Target) -> "Shelved":
        """Return the backups of a small store."""
        return Shelved(target, *self._hands[kind])


class Shelved:
    """Backups of one small store: a good one, and later ones that are said to hold what that one holds."""

    def __init__(self, target: Target, take: Take, prove: Prove) -> None:
        """``take`` is given a label, ``prove`` the id of an entry."""
        self._target = target
        self._take = take
        self._prove = prove
        self._shelf = Path(target.shelf)
        self._taken = 0
        self._good: dict[str, Entry] = {}
        self._other: dict[str, Entry] = {}

    def take_good(self) -> None:
        """Take a backup while the store is as it should be."""
        self._good = self._new()

    def take_other(self) -> None:
        """Take one of a store that was changed; its record is made that of the good one."""
        self._other = {}
        for kind, entry in self._new().items():
            lying = entry.model_copy(update={"held": self._good[kind].held})
            entries.write_entry(entries.directory_of(self._shelf, entry), lying)
            self._other[kind] = lying

    def good_is_proven(self, kind: str) -> Check:
        """Return the control: the good backup restored holds what was recorded."""

        def ask() -> Answer:
            found = self._prove(self._target, self._good[kind].id)
            return by_judgement(found.proofs, passed=found.passed)

        return ask

    def other_is_found_out(self, kind: str) -> Check:
        """Return the check: one that holds something else is shown to do so."""

        def ask() -> Answer:
            found = self._prove(self._target, self._other[kind].id)
            return by_proofs(found.proofs)

        return ask

    def _new(self) -> dict[str, Entry]:
        self._taken += 1
        made = self._take(self._target, f"selftest {self._taken}").entries
        return {one.kind: entries.find_entry(self._shelf, one.id) for one in made}
