"""What the backups of every stack are worth now: read from shelf, receiver and ledger at each scrape.

What cannot be read has no series, so that ``absent()`` speaks; nothing is ever 0 for want of knowing.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from activities import entries
from activities.engine import Engine
from domain.backups import Level
from domain.entries import Entry
from domain.errors import DrError
from domain.jobs import Job
from domain.stack import Kind, Stack
from domain.stack_file import parse_stack
from domain.verification_due import Place, allowed_age, due_of
from worker.wal_metrics import AHEAD, failures, lag_seconds, loss_seconds

T = TypeVar("T")

_KINDS = {
    "postgres": Kind.POSTGRES,
    "redis": Kind.REDIS,
    "minio": Kind.OBJECTS,
    "meilisearch": Kind.SEARCH,
}
"""Stores that lose something of their own; Hasura's metadata is in the database."""
_OF_A_BACKUP = ["stack", "store", "kind"]
_OF_A_SERVICE = ["stack", "service"]


class BackupMetrics(Collector):
    """Collects the ages of backups, and how far behind the archive is."""

    def __init__(
        self,
        stacks: Mapping[str, Path],
        state: Path,
        engine: Engine,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """``stacks`` maps names to files, ``state`` is DR_STATE."""
        self._stacks = stacks
        self._state = state
        self._engine = engine
        self._now = now
        self._alone = threading.Lock()

    def describe(self) -> list[Metric]:
        """Return nothing: registering must not read a shelf."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Read everything anew; a stack whose part cannot be read lacks it."""
        with self._alone:
            yield from self._collected()

    def _collected(self) -> Iterator[Metric]:
        expected = GaugeMetricFamily(
            "dr_backup_expected_seconds", "How old the newest backup may be", labels=_OF_A_BACKUP
        )
        verifying = GaugeMetricFamily(
            "dr_backup_verification_expected_seconds",
            "How long ago the last verification of all backups may have been",
            labels=["stack"],
        )
        age = GaugeMetricFamily(
            "dr_backup_age_seconds", "Time since the newest backup began", labels=_OF_A_BACKUP
        )
        verified = GaugeMetricFamily(
            "dr_backup_verified_age_seconds",
            "Time since a backup was last restored and compared",
            labels=_OF_A_BACKUP,
        )
        lag = GaugeMetricFamily(
            "dr_wal_archive_lag_seconds", "How far the archive is behind the server", labels=_OF_A_SERVICE
        )
        failed = CounterMetricFamily(
            "dr_wal_archive_failed", "Errors of the WAL receiver", labels=_OF_A_SERVICE
        )
        loss = GaugeMetricFamily(
            "dr_rpo_current_seconds", "What would be lost if the store vanished now", labels=_OF_A_SERVICE
        )
        for stack in self._read_stacks():
            for due in due_of(stack):
                expected.add_metric([stack.stack, due.store, due.kind], due.within_seconds)
            within = allowed_age(stack, Job.VERIFICATION)
            if within is not None:
                verifying.add_metric([stack.stack], within.total_seconds())
            held = self._guarded(stack, "shelf", partial(_held, self._shelf(stack)))
            self._add_ages(stack, held or [], age, verified)
            self._add_wal(stack, lag, failed)
            self._add_losses(stack, held or [], loss)
        yield from (expected, verifying, age, verified, lag, failed, loss)

    def _add_ages(
        self, stack: Stack, held: list[Entry], age: GaugeMetricFamily, verified: GaugeMetricFamily
    ) -> None:
        now = self._now()
        begun: dict[Place, datetime] = {}
        proven: dict[Place, datetime] = {}
        for entry in held:
            place, at = (entry.store, entry.kind), entry.verified_at
            if entry.started_at - now <= AHEAD:
                begun[place] = max(begun.get(place, entry.started_at), entry.started_at)
            if entry.verified is Level.RESTORED and at is not None and at - now <= AHEAD:
                proven[place] = max(proven.get(place, at), at)
        for family, times in ((age, begun), (verified, proven)):
            for place, at in times.items():
                family.add_metric([stack.stack, *place], (now - at).total_seconds())

    def _add_wal(self, stack: Stack, lag: GaugeMetricFamily, failed: CounterMetricFamily) -> None:
        server = stack.only(Kind.POSTGRES)
        if server is None:
            return
        shelf, now = self._shelf(stack), self._now()
        behind = self._guarded(stack, "archive", lambda: lag_seconds(self._state, stack.stack, shelf, now))
        if behind is not None:
            lag.add_metric([stack.stack, server[0]], behind)
        count = self._guarded(stack, "receiver", lambda: failures(self._engine, self._state, stack.stack))
        if count is not None:
            failed.add_metric([stack.stack, server[0]], count)

    def _add_losses(self, stack: Stack, held: list[Entry], loss: GaugeMetricFamily) -> None:
        now, shelf = self._now(), self._shelf(stack)
        for store, kind in _KINDS.items():
            found = stack.only(kind)
            if found is None:
                continue
            if store == "postgres":
                seconds = self._guarded(
                    stack, "archive", lambda: loss_seconds(self._state, stack.stack, shelf, now)
                )
            else:
                usable = (one for one in held if one.store == store and one.verified is not Level.NONE)
                times = [one.started_at for one in usable if one.started_at - now <= AHEAD]
                seconds = (now - max(times)).total_seconds() if times else None
            if seconds is not None:
                loss.add_metric([stack.stack, found[0]], max(seconds, 0.0))

    def _shelf(self, stack: Stack) -> Path:
        return (self._state / stack.backup.shelf).resolve()

    def _read_stacks(self) -> Iterator[Stack]:
        for path in dict(self._stacks).values():
            try:
                yield parse_stack(path.read_text(encoding="utf-8"), str(path))[0]
            except (DrError, OSError, ValueError) as error:
                structlog.get_logger().warning("no metrics of a stack's backups", reason=str(error)[:300])

    def _guarded(self, stack: Stack, what: str, read: Callable[[], T]) -> T | None:
        """Return what could be read, or ``None``: then there is no series."""
        try:
            return read()
        except (DrError, OSError, ValueError) as error:
            structlog.get_logger().warning(
                "a part of the backups' metrics is missing",
                stack=stack.stack,
                part=what,
                reason=str(error)[:300],
            )
            return None


def _held(shelf: Path) -> list[Entry]:
    return entries.read_entries(shelf)[0]
