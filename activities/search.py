"""The search index: a copy of what SQL holds, brought in line document by document."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import httpx
import psycopg
from temporalio import activity

from activities.address import http_url
from activities.engine import Engine
from activities.pulse import beat
from activities.search_documents import INDEXES, Index
from activities.search_index import SearchIndex
from activities.secrets import Secrets
from activities.tokens import Tokens
from domain.errors import Unavailable, VerificationFailed
from domain.order import ServiceTarget, Target, TargetOrder
from domain.recovery import Judged, Proof
from domain.stack import Kind

Connection = psycopg.Connection[Any]

_SECONDS = 20.0
_ROUNDS = 5
_ROWS = 20_000
_BATCH = 1_000
_BEFORE_ALL = "00000000-0000-0000-0000-000000000000"


class Database(Protocol):
    """What is needed of the database: a connection to the live server."""

    def live(
        self, target: Target, *, database: str | None = None, timeout_seconds: int = 0
    ) -> AbstractContextManager[Connection]:
        """Connect to the live server."""


@dataclass(frozen=True)
class Difference:
    """How an index differs from SQL; rows younger than the check may still be on their way."""

    rows: int
    missing: frozenset[str]
    stale: frozenset[str]
    gone: frozenset[str]
    on_their_way: frozenset[str]

    @property
    def none(self) -> bool:
        """Tell whether index and SQL hold the same, as far as it was there at the start."""
        return not (self.missing or self.stale or self.gone)


class Search:
    """Compares the search indexes with SQL and repairs them, while users go on working."""

    def __init__(self, engine: Engine, secrets: Secrets, sql: Database, tokens: Tokens) -> None:
        """Act through these clients."""
        self._engine = engine
        self._secrets = secrets
        self._sql = sql
        self._tokens = tokens

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_search_in_line(self, order: TargetOrder) -> Judged:
        """Add what is missing or newer in SQL, delete what is gone, and show that they are equal.

        Equality is judged for rows older than the start of the check. Raises
        ``VerificationFailed`` with code ``search-out-of-line``, or ``Unavailable``.
        """
        self._tokens.admit(order, order.target.stack)
        service = order.target.of_kind(Kind.SEARCH)
        if service is None:
            return Judged(passed=True, sentence="Search is not configured in this stack")
        proofs = []
        try:
            with (
                self._client(order.target, service) as client,
                self._sql.live(order.target, timeout_seconds=60) as connection,
            ):
                for index in INDEXES:
                    there = SearchIndex(client, index.uid)
                    if index.needed or there.exists():
                        proofs.append(_bring_in_line(index, there, connection))
        except psycopg.Error as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise Unavailable(f"SQL for search: {reason}", code="postgres-unavailable") from None
        said = "; ".join(f"{proof.name}: {proof.evidence}" for proof in proofs)
        return Judged(passed=True, proofs=tuple(proofs), sentence=f"Search holds what SQL holds. {said}")

    def _client(self, target: Target, service: ServiceTarget) -> httpx.Client:
        reference = service.secrets.get("master_key")
        key = self._secrets.reveal(reference, target.project) if reference else ""
        return httpx.Client(
            base_url=http_url(self._engine, service),
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=_SECONDS,
            trust_env=False,
        )


def _bring_in_line(index: Index, there: SearchIndex, connection: Connection) -> Proof:
    row = connection.execute("SELECT now()").fetchone()
    assert row is not None  # noqa: S101 - now() always has a row
    moment: datetime = row[0]
    added = deleted = rounds = 0
    while not (found := _compare(index, there, connection, moment)).none and rounds < _ROUNDS:
        rounds += 1
        wanted = sorted(found.missing | found.stale | found.on_their_way)
        added += _add(index, there, connection, wanted)
        deleted += _delete(there, sorted(found.gone))
    if found.none:
        return Proof(
            name=f"search index {index.uid}",
            passed=True,
            evidence=f"{found.rows} rows in SQL and as many documents; "
            f"{added} added or renewed, {deleted} deleted",
        )
    raise VerificationFailed(
        f"the index {index.uid} still differs from SQL after {_ROUNDS} rounds: {len(found.missing)} missing, "
        f"{len(found.stale)} old, {len(found.gone)} too many",
        where="search",
        hint="is something else writing to the index?",
        code="search-out-of-line",
    )


def _compare(index: Index, there: SearchIndex, connection: Connection, moment: datetime) -> Difference:
    # The index first: what is in it by then was in SQL before, so what SQL lacks is really gone.
    documents = there.versions()
    rows = _rows(index, connection, moment)
    missing = rows.keys() - documents.keys()
    start = moment.timestamp()
    old = frozenset(one for one in missing if rows[one][1])
    stale = frozenset(
        one
        for one, (changed, _) in rows.items()
        # A row that changed since the start is renewed by the one who changed it.
        if (known := documents.get(one)) is not None and known < changed - 0.001 and changed < start
    )
    return Difference(
        rows=sum(was_there for _, was_there in rows.values()),
        missing=old,
        stale=stale,
        gone=frozenset(documents.keys() - rows.keys()),
        on_their_way=frozenset(missing - old),
    )


def _rows(index: Index, connection: Connection, moment: datetime) -> dict[str, tuple[float, bool]]:
    found: dict[str, tuple[float, bool]] = {}
    after = _BEFORE_ALL
    while True:
        page = connection.execute(
            index.listing.encode(), {"moment": moment, "after": after, "limit": _ROWS}
        ).fetchall()
        found.update((str(one), (changed, was_there)) for one, changed, was_there in page)
        beat(f"search: {len(found)} rows of {index.uid} read")
        if len(page) < _ROWS:
            return found
        after = page[-1][0]


def _add(index: Index, there: SearchIndex, connection: Connection, ids: list[str]) -> int:
    tasks, added = [], 0
    for start in range(0, len(ids), _BATCH):
        batch = ids[start : start + _BATCH]
        rows = connection.execute(index.documents.encode(), {"ids": batch}).fetchall()
        if rows:
            tasks.append(there.add([row[0] for row in rows]))
        added += len(rows)
        beat(f"search: {added} of {len(ids)} documents of {index.uid} sent")
    there.wait(tasks)
    return added


def _delete(there: SearchIndex, ids: list[str]) -> int:
    there.wait([there.delete(ids[start : start + _BATCH]) for start in range(0, len(ids), _BATCH)])
    return len(ids)
