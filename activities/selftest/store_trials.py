"""M20 and M21: object store, Redis and search engine that do not hold what was recorded at the backup."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import TypeVar

from activities.selftest import small_servers
from activities.selftest.small_servers import BUCKET, INDEX, Documents, Keys, Objects
from activities.selftest.stage import Stage
from activities.selftest.trial import TROUBLE, Answer, Check, Trials, by_proofs
from domain.holdings import Holding, compare_holdings
from domain.order import ServiceTarget
from domain.selftest import MutantRow, Verdict
from domain.stack import Kind

HELD = "what a store held, compared: "
_S = TypeVar("_S", Keys, Objects, Documents)
_VICTIM = "file/3"


class StoreTrials:
    """Tries the comparison of stores with their record, on small servers of the stack's own images."""

    def __init__(self, stage: Stage, trials: Trials) -> None:
        """Note everything in ``trials``."""
        self._stage = stage
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
        tried: Callable[[_S], None],
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
            except TROUBLE as error:
                row = MutantRow(
                    mutant=mutant,
                    what=what,
                    check=HELD + kind.value,
                    verdict=Verdict.NOT_MADE,
                    evidence=f"no small server could be made: {error}",
                )
                self._trials.mutants.append(row)
                return
            tried(store)

    def _objects(self, store: Objects) -> None:
        check, ask = HELD + Kind.OBJECTS.value, _compared(store.held(), store.held)
        self._trials.control("Q1", "the objects", check, ask)

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

        self._trials.mutant("M20", "an object is missing", missing(), check, ask)
        self._trials.mutant("M20", "an object too many", surplus(), check, ask)
        self._trials.mutant("M20", "an object has other bytes, as many", other(b"CONTENT 3"), check, ask)

    def _keys(self, store: Keys) -> None:
        check, ask = HELD + Kind.REDIS.value, _compared(store.held(), store.held)
        self._trials.control("Q1", "the keys", check, ask)

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

        self._trials.mutant("M21", "a key holds something else", changed(), check, ask)
        self._trials.mutant("M21", "Redis is empty", emptied(), check, ask)

    def _documents(self, store: Documents) -> None:
        check, ask = HELD + Kind.SEARCH.value, _compared(store.held(), store.held)
        self._trials.control("Q1", "the documents", check, ask)
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

        self._trials.mutant("M21", "a document is missing", missing(), check, ask)
        self._trials.mutant("M21", "a document too many", surplus(), check, ask)


def _compared(recorded: tuple[Holding, ...], held: Callable[[], tuple[Holding, ...]]) -> Check:
    return partial(_ask, recorded, held)


def _ask(recorded: tuple[Holding, ...], held: Callable[[], tuple[Holding, ...]]) -> Answer:
    return by_proofs(compare_holdings(recorded, held()))
