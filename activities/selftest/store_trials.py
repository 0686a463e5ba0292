"""M20 and M21: object store, Redis and search engine that do not hold what was recorded at the backup.

A small store is backed up by the product's hands, changed, and backed up again. The second backup gets the
record of the first, and the hand that proves backups each day has to say that it holds something else.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TypeVar

from activities.selftest import small_servers
from activities.selftest.small_servers import BUCKET, INDEX, Documents, Keys, Objects
from activities.selftest.stage import Stage
from activities.selftest.store_hands import Shelved, StoreHands
from activities.selftest.trial import TROUBLE, Damage, Trials
from domain.order import ServiceTarget
from domain.selftest import MutantRow, Verdict
from domain.stack import Kind

HELD = "restored and compared with what the store held: "
_S = TypeVar("_S", Keys, Objects, Documents)
_VICTIM = "file/3"


class StoreTrials:
    """Tries the proof of stores' backups, on small servers of the stack's own images."""

    def __init__(self, stage: Stage, hands: StoreHands, trials: Trials) -> None:
        """Note everything in ``trials``."""
        self._stage = stage
        self._hands = hands
        self._trials = trials

    def run(self) -> None:
        """Try each store that the stack has."""
        self._store("M20", Kind.OBJECTS, small_servers.objects, self._objects)
        self._store("M21", Kind.REDIS, small_servers.keys, self._keys)
        self._store("M21", Kind.SEARCH, small_servers.documents, self._documents)

    def _store(
        self,
        mutant: str,
        kind: Kind,
        start: Callable[[Stage, ServiceTarget], AbstractContextManager[_S]],
        tried: Callable[[_S, Shelved], None],
    ) -> None:
        service = self._stage.real.of_kind(kind)
        what = f"the {kind.value} store"
        if service is None:
            self._trials.absent(
                mutant, what, HELD + kind.value, f"the stack has no service of kind {kind.value}"
            )
            return
        with ExitStack() as over:
            try:
                store = over.enter_context(start(self._stage, service))
                shelved = self._hands.shelved(kind, store.target)
                shelved.take_good()
            except TROUBLE as error:
                row = MutantRow(
                    mutant=mutant,
                    what=what,
                    check=HELD + kind.value,
                    verdict=Verdict.NOT_MADE,
                    evidence=f"no small server could be made and backed up: {error}",
                )
                self._trials.mutants.append(row)
                return
            tried(store, shelved)

    def _try(self, mutant: str, what: str, damage: Damage, shelved: Shelved, kinds: dict[str, str]) -> None:
        """Damage the store, back it up, and have each kind of backup found out; ``kinds`` name the checks."""
        asked = {HELD + check: shelved.other_is_found_out(kind) for kind, check in kinds.items()}
        self._trials.forms(mutant, what, _shelved_so(damage, shelved), asked)

    def _objects(self, store: Objects, shelved: Shelved) -> None:
        kinds = {"copy": Kind.OBJECTS.value}
        self._trials.control("Q1", "the objects", HELD + kinds["copy"], shelved.good_is_proven("copy"))

        @contextmanager
        def other(content: bytes) -> Iterator[str]:
            was = store.get(_VICTIM)
            store.put(_VICTIM, content)
            try:
                now = store.get(_VICTIM)
                yield f"{_VICTIM} is {now!r}, it was {was!r}" if now != was and len(now) == len(was) else ""
            finally:
                store.put(_VICTIM, was)

        @contextmanager
        def missing() -> Iterator[str]:
            was = store.get(_VICTIM)
            store.client.remove_object(bucket_name=BUCKET, object_name=_VICTIM)
            try:
                yield "" if _VICTIM in store.names() else f"{_VICTIM} is not listed"
            finally:
                store.put(_VICTIM, was)

        @contextmanager
        def surplus() -> Iterator[str]:
            store.put("file/surplus", b"surplus")
            try:
                yield "file/surplus is listed" if "file/surplus" in store.names() else ""
            finally:
                store.client.remove_object(bucket_name=BUCKET, object_name="file/surplus")

        for what, damage in (
            ("an object is missing", missing()),
            ("an object too many", surplus()),
            ("an object has other bytes, as many", other(b"CONTENT 3")),
        ):
            # What was undone is an older version now, and a good copy has it too.
            shelved.take_good()
            self._try("M20", what, damage, shelved, kinds)

    def _keys(self, store: Keys, shelved: Shelved) -> None:
        kinds = {"rdb": Kind.REDIS.value}
        self._trials.control("Q1", "the keys", HELD + kinds["rdb"], shelved.good_is_proven("rdb"))

        @contextmanager
        def changed() -> Iterator[str]:
            was = store.client.get("session:3") or b""
            store.client.set("session:3", "nobody")
            try:
                now = store.client.get("session:3")
                yield f"session:3 is {now!r}, it was {was!r}" if now != was else ""
            finally:
                store.client.set("session:3", was)

        @contextmanager
        def emptied() -> Iterator[str]:
            store.client.flushall()
            yield "DBSIZE is 0" if store.client.dbsize() == 0 else ""

        self._try("M21", "a key holds something else", changed(), shelved, kinds)
        self._try("M21", "Redis is empty", emptied(), shelved, kinds)

    def _documents(self, store: Documents, shelved: Shelved) -> None:
        kinds = {"snapshot": Kind.SEARCH.value, "dump": f"{Kind.SEARCH.value}-dump"}
        for kind, check in kinds.items():
            self._trials.control("Q1", f"the documents, {kind}", HELD + check, shelved.good_is_proven(kind))
        index = store.index

        @contextmanager
        def missing() -> Iterator[str]:
            (was,) = (one for one in store.documents() if one["id"] == "3")
            index.wait([index.delete(["3"])])
            try:
                there = any(one["id"] == "3" for one in store.documents())
                yield "" if there else f"document 3 of {INDEX} is not there"
            finally:
                index.wait([index.add([was])])

        @contextmanager
        def surplus() -> Iterator[str]:
            index.wait([index.add([{"id": "surplus", "content": "surplus"}])])
            try:
                there = any(one["id"] == "surplus" for one in store.documents())
                yield "document surplus is there" if there else ""
            finally:
                index.wait([index.delete(["surplus"])])

        self._try("M21", "a document is missing", missing(), shelved, kinds)
        self._try("M21", "a document too many", surplus(), shelved, kinds)


@contextmanager
def _shelved_so(damage: Damage, shelved: Shelved) -> Iterator[str]:
    """Return a damage of a store as one of its backup; it is no damage when that could not be taken."""
    with damage as seen:
        if seen:
            shelved.take_other()
        yield seen
