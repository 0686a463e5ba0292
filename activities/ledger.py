"""What the ledger says: loss per store, downtime, and the flags that tell it to wait."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from temporalio import activity

from activities.clocks import ahead_of_temporal, of_temporal
from activities.engine import Engine
from activities.ledger_deadlines import speaking
from activities.ledger_journal import LedgerFiles, drop_flag, put_flag
from activities.ledger_places import Sought, find_place, stores_of_target
from activities.ledger_postgres import numbers_in
from activities.ledger_stores import open_store
from activities.postgres.sql import Sql
from activities.pulse import beat
from activities.secrets import Secrets
from domain.durations import spoken
from domain.errors import DrError, Unavailable
from domain.ledger import (
    Downtime,
    DowntimeOrder,
    Loss,
    LossOrder,
    MarkersPaused,
    MeasuredLoss,
    Store,
    StoreLoss,
    longest_gap,
)
from domain.markers import StoreCheck, check_markers, few, skew_seconds
from domain.names import LABEL_ROLE, LABEL_STACK
from domain.order import Outcome, TargetOrder
from domain.recovery import Copy

SETTLE_SECONDS = 10.0
"""A marker that is on its way has ended by then: its deadlines are shorter."""

_STANDING_BACK = {"base-backup", "dump"}
"""Roles of the jobs that end by themselves once a recovery is open."""
_SPOKEN = {
    Store.POSTGRES: "PostgreSQL",
    Store.REDIS: "Redis",
    Store.OBJECTS: "the object store",
    Store.SEARCH: "search",
}


class Ledger:
    """Measures by the ledger; writes no marker itself."""

    def __init__(self, engine: Engine, secrets: Secrets, sql: Sql, state: Path) -> None:
        """``state`` is ``DR_STATE``, where the ledger's process keeps its journals."""
        self._engine = engine
        self._secrets = secrets
        self._sql = sql
        self._state = state

    @activity.defn(no_thread_cancel_exception=True)
    def measure_loss(self, order: LossOrder) -> MeasuredLoss:
        """Hold the acknowledged markers against those that each store has now.

        A store that does not answer is not measured, and says why; it never reads as no loss.
        """
        if order.socket_dir and order.until is not None:
            # At the gate the limit is workflow time, and the journal's instants are this host's.
            order = order.model_copy(update={"until": order.until + ahead_of_temporal(of_temporal())})
        checks: dict[Store, StoreCheck] = {}
        unmeasured: dict[str, str] = {}
        for store, sought in stores_of_target(order.target).items():
            beat(f"counting markers in {_SPOKEN[store]}")
            try:
                checks[store] = self._check(store, sought, order)
            except DrError as error:
                unmeasured[store.value] = error.what
        loss = Loss.model_validate({store.value: check.loss for store, check in checks.items()})
        return MeasuredLoss(
            sentence="; ".join(
                _store_sentence(store, getattr(loss, store.value), unmeasured.get(store.value))
                for store in stores_of_target(order.target)
            ),
            loss=loss,
            skew_seconds=skew_seconds(checks.values()),
            lost_numbers={s.value: few(c.lost) for s, c in checks.items() if c.lost},
            unexpected_numbers={s.value: few(c.unexpected) for s, c in checks.items() if c.unexpected},
            last_acknowledged={
                s.value: c.last_acknowledged for s, c in checks.items() if c.last_acknowledged is not None
            },
            unmeasured=unmeasured,
        )

    @activity.defn(no_thread_cancel_exception=True)
    def measure_downtime(self, order: DowntimeOrder) -> Downtime:
        """Return the longest time in the window without an acknowledged user action.

        The window is workflow time; the journal is in the time of this host, which may stand apart.
        """
        shift = ahead_of_temporal(of_temporal())
        window = (order.declared_at + shift, order.verified_at + shift)
        tried: list[datetime] = []
        acknowledged: list[datetime] = []
        for at, ok in _probes(LedgerFiles(self._state, order.stack).probe):
            if window[0] <= at <= window[1]:
                tried.append(at)
                if ok:
                    acknowledged.append(at)
        if not tried:
            return Downtime(seconds=None, sentence="Downtime was not measured: no prober ran")
        since, until = longest_gap(acknowledged, *window)
        silence = longest_gap(tried, *window)
        seconds = (until - since).total_seconds()
        sentence = (
            f"The longest time without an acknowledged user action was {spoken(seconds)}, "
            f"from {since - shift:%H:%M:%S} to {until - shift:%H:%M:%S} UTC; "
            f"{len(acknowledged)} of {len(tried)} actions were acknowledged"
        )
        return Downtime(
            sentence=sentence,
            seconds=seconds,
            actions=len(acknowledged),
            failed=len(tried) - len(acknowledged),
            longest_from=since - shift,
            longest_until=until - shift,
            unwatched_seconds=(silence[1] - silence[0]).total_seconds(),
        )

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_markers_paused(self, order: TargetOrder) -> MarkersPaused:
        """Stop the markers into PostgreSQL and wait until none is on its way.

        Refusals of a fenced server are then not counted as loss. Raises ``Unavailable`` with code
        ``marker-in-flight`` when the last one does not end.
        """
        files = LedgerFiles(self._state, order.target.stack)
        put_flag(files.pause_postgres, order.recovery_id)
        _settle(files)
        acknowledged = files.known(Store.POSTGRES).acknowledged
        last = max(acknowledged, default=None)
        said = "none was ever acknowledged" if last is None else f"the last acknowledged one is {last}"
        return MarkersPaused(
            sentence=f"Markers into PostgreSQL are paused; {said}",
            paused_at=_paused_at(files) or datetime.now(UTC),
            last_acknowledged=last,
        )

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_markers_resumed(self, order: TargetOrder) -> Outcome:
        """Let the markers into PostgreSQL go on."""
        # Whoever paused them: the lock of the stack is held by this recovery, and a pause that a
        # dead one left behind must not last for ever.
        dropped = drop_flag(LedgerFiles(self._state, order.target.stack).pause_postgres)
        return Outcome(sentence=f"Markers into PostgreSQL {'go on' if dropped else 'were not paused'}")

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_recovery_flagged(self, order: TargetOrder) -> Outcome:
        """Say that a recovery is open: nothing is pruned, markers are inserts only, backups stand back."""
        files = LedgerFiles(self._state, order.target.stack)
        running = self._engine.labelled(f"{LABEL_STACK}={order.target.stack}")
        backups = sorted(
            job.name for job in running if job.running and job.labels.get(LABEL_ROLE) in _STANDING_BACK
        )
        put_flag(files.recovery_open, order.recovery_id)
        _settle(files)
        said = f"; it stands back for this one: {', '.join(backups)}" if backups else ""
        return Outcome(sentence=f"Markers are kept and only inserted while this recovery is open{said}")

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_recovery_cleared(self, order: TargetOrder) -> Outcome:
        """Take back that this recovery is open; the flag of another one stays."""
        files = LedgerFiles(self._state, order.target.stack)
        if files.recovery_open.is_file() and files.recovery_open.read_text() != order.recovery_id:
            return Outcome(sentence="The ledger waits for another recovery, which stays so")
        drop_flag(files.recovery_open)
        return Outcome(sentence="The ledger keeps its markers for a day again")

    def _check(self, store: Store, sought: Sought, order: LossOrder) -> StoreCheck:
        files = LedgerFiles(self._state, order.target.stack)
        before = files.known(store)
        present = self._present(store, sought, order)
        after = files.known(store)
        # Acknowledgements of before the look, and attempts and prunings of until after it: so no
        # marker that came or went meanwhile reads as lost or as unexpected.
        known = type(after)(after.attempted, before.acknowledged, after.pruned_below, after.unreadable)
        asked_at = order.until or datetime.now(UTC)
        paused_at = _paused_at(files) if store is Store.POSTGRES else None
        if paused_at is not None:
            asked_at = min(asked_at, paused_at)
        return check_markers(known, present, until=order.until, asked_at=asked_at)

    def _present(self, store: Store, sought: Sought, order: LossOrder) -> set[int]:
        if store is Store.POSTGRES and order.socket_dir:
            server = order.target.postgres
            copy = Copy(
                container="",
                volume="",
                socket_dir=order.socket_dir,
                user=server.user,
                database=server.database,
                timeline=0,
                replayed_lsn="",
            )
            with self._sql.copy(copy, timeout_seconds=30) as connection, speaking(store):
                return numbers_in(connection)
        opened = open_store(store, find_place(self._engine, self._secrets, sought), may_create=False)
        try:
            return opened.present()
        finally:
            opened.close()


def _settle(files: LedgerFiles) -> None:
    """Wait until what the ledger does in PostgreSQL has ended; from then on it sees the flag."""
    with files.marker_in_flight(wait_seconds=SETTLE_SECONDS) as held:
        if not held:
            raise Unavailable(
                "a marker is still on its way to PostgreSQL",
                where=str(files.directory),
                hint="is the ledger's process hanging?",
                code="marker-in-flight",
            )


def _paused_at(files: LedgerFiles) -> datetime | None:
    try:
        return datetime.fromtimestamp(files.pause_postgres.stat().st_mtime, UTC)
    except FileNotFoundError:
        return None


def _store_sentence(store: Store, loss: StoreLoss, why: str | None) -> str:
    name = _SPOKEN[store]
    if why is not None:
        return f"{name} was not measured: {why}"
    if loss.markers_lost is None:
        return f"{name} was not measured: no marker was ever acknowledged"
    if loss.markers_lost == 0 and loss.seconds is None:
        return f"{name} was not measured: the ledger did not watch it to the end"
    if loss.markers_lost == 0:
        return f"{name} lost none of {loss.markers_acknowledged} markers"
    bound = "at least " if loss.at_least else ""
    return (
        f"{name} lost {loss.markers_lost} of {loss.markers_acknowledged} markers, "
        f"{bound}{spoken(loss.seconds)}"
    )


def _probes(journal: Path) -> Iterator[tuple[datetime, bool]]:
    """Yield when each action ended and whether it was acknowledged; torn lines are passed over."""
    for path in (journal.with_name(journal.name + ".1"), journal):
        if not path.is_file():
            continue
        with path.open(errors="replace") as lines:
            for line in lines:
                try:
                    entry = json.loads(line)
                    at = datetime.fromisoformat(entry["at"])
                    yield at + timedelta(seconds=entry["seconds"]), entry["ok"] is True
                except (ValueError, KeyError, TypeError):
                    continue
