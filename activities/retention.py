"""Removes from the shelf what the policy no longer keeps; stops at once when a recovery is open (I3)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

from temporalio import activity

from activities import removal
from activities.belonging import apart
from activities.entries import read_entries
from activities.open_recovery import open_recovery
from activities.postgres.archive_files import closed_segments, remove_segments
from activities.pulse import beat
from activities.taken import forget_taken
from activities.tokens import Tokens
from domain.backups import PassedOver, spoken_bytes
from domain.errors import Refused
from domain.paths import host_path, path_under
from domain.retention import kept_bases, plan_retention, rules, spoken_age
from domain.retention_plan import Held, Retained, RetentionOrder, RetentionPlan, Ruling
from domain.wal_retention import Segment, judged

_AT_ONCE = 64
"""Segments that are removed between two looks whether a recovery was opened."""


def _clock() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class _Seen:
    """What lies on a shelf."""

    held: list[Held]
    strangers: list[PassedOver]
    segments: list[Segment]


class Retaining:
    """The only place where backups and archived WAL are removed."""

    def __init__(self, tokens: Tokens, state: Path, clock: Callable[[], datetime] = _clock) -> None:
        """``state`` is DR_STATE; ``clock`` is the host's."""
        self._tokens = tokens
        self._state = state
        self._clock = clock

    @activity.defn(no_thread_cancel_exception=True)
    def observe_retention(self, order: RetentionOrder) -> RetentionPlan:
        """Return what would be removed now, and why; changes nothing. Raises ``Refused``."""
        with _trouble_named(order):
            plan = self._plan(order, _look(order), self._open_recovery(order))
        return plan.shortened()

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_retained(self, order: RetentionOrder) -> Retained:
        """Remove what the policy does not keep, judged anew from what lies on the shelf.

        What a killed attempt had set aside comes back and is judged with the rest, what it had begun to erase
        is erased. Raises ``Refused``: ``recovery-open``, ``shelf-unusable``.
        """
        self._tokens.admit(order, order.target.stack)
        with _trouble_named(order):
            self._put_back(order)
            self._refuse_open_recovery(order)
            freed = self._finish_erasing(order)
            seen = _look(order)
            plan = self._plan(order, seen, "")
            freed += sum(self._remove(order, ruling) for ruling in plan.going)
            segments, wal_bytes = self._remove_wal(order, seen, plan)
        removed = tuple(one.id for one in plan.going)
        return Retained(
            sentence=f"Removed {len(removed)} backups and {segments} WAL segments,"
            f" {spoken_bytes(freed + wal_bytes)} freed; {len(plan.staying)} backups stay",
            plan=plan.shortened(),
            removed=removed,
            segments_removed=segments,
            freed_bytes=freed + wal_bytes,
        )

    def _plan(self, order: RetentionOrder, seen: _Seen, paused_because: str) -> RetentionPlan:
        return plan_retention(
            seen.held,
            seen.segments,
            order.policy,
            as_of=self._as_of(order),
            paused_because=paused_because,
            strangers=seen.strangers,
        )

    def _as_of(self, order: RetentionOrder) -> datetime:
        """Return the earlier of the two clocks: one that is ahead must not age anything (F-C9)."""
        return min(order.as_of, self._clock())

    def _open_recovery(self, order: RetentionOrder) -> str:
        opened = open_recovery(self._state, order.target.stack)
        return f"recovery {opened} is open" if opened else ""

    def _refuse_open_recovery(self, order: RetentionOrder) -> None:
        opened = self._open_recovery(order)
        if opened:
            raise Refused(
                f"nothing is removed: {opened}",
                where=order.target.stack,
                hint="a later run makes up for it; one that ended in the middle is closed by dr discard",
                code="recovery-open",
            )

    def _remove(self, order: RetentionOrder, ruling: Ruling) -> int:
        """Remove one backup, unless a recovery was opened meanwhile; return the bytes freed.

        A recovery says that it is open before it chooses a backup. So one that is not open once the backup
        is set aside will not find it, and no recovery ever loses the one that it has chosen.
        """
        beat(f"removing {ruling.id}: {ruling.reason}")
        place = _place(order, ruling.store, ruling.kind)
        removal.set_aside(place, ruling.id)
        try:
            self._refuse_open_recovery(order)
        except Refused:
            removal.put_back(place, ruling.id)
            raise
        forget_taken(self._state, order.target.stack, ruling.id)
        return removal.erase(place, ruling.id)

    def _remove_wal(self, order: RetentionOrder, seen: _Seen, plan: RetentionPlan) -> tuple[int, int]:
        rulings = judged(
            seen.segments,
            kept_bases(seen.held, plan.going),
            before=plan.as_of - order.policy.keep_wal,
            kept_for=spoken_age(order.policy.keep_wal),
        )
        removed = freed = 0
        doomed = [segment for segment, stays in rulings if not stays]
        for directory, here in groupby(doomed, key=lambda one: one.directory):
            several = list(here)
            for start in range(0, len(several), _AT_ONCE):
                self._refuse_open_recovery(order)
                done, size = remove_segments(_shelf(order), directory, several[start : start + _AT_ONCE])
                removed, freed = removed + done, freed + size
                beat(f"{removed} of {len(doomed)} WAL segments removed, {spoken_bytes(freed)}")
        return removed, freed

    def _put_back(self, order: RetentionOrder) -> None:
        for store, kind in rules(order.policy):
            place = _place(order, store, kind)
            for name in removal.set_aside_in(place):
                removal.put_back(place, name)

    def _finish_erasing(self, order: RetentionOrder) -> int:
        freed = 0
        for store, kind in rules(order.policy):
            place = _place(order, store, kind)
            for name in removal.half_erased_in(place):
                forget_taken(self._state, order.target.stack, name)
                freed += removal.erase(place, name)
        return freed


def _look(order: RetentionOrder) -> _Seen:
    shelf = _shelf(order)
    held, strangers = _read_entries(shelf, order.target.stack)
    return _Seen(held, strangers, closed_segments(shelf))


def _read_entries(shelf: Path, stack: str) -> tuple[list[Held], list[PassedOver]]:
    """Return what the catalogue holds, and what lies there and is none of ours."""
    known, strangers = read_entries(shelf)
    entries, others = apart(known, stack)
    held = [
        Held(
            id=entry.id,
            store=entry.store,
            kind=entry.kind,
            ended_at=entry.ended_at,
            scheduled_for=entry.scheduled_for,
            bytes=entry.bytes,
            verified=entry.verified,
            start_segment=entry.start_segment,
            system=entry.source.system_identifier,
        )
        for entry in entries
    ]
    return held, [*strangers, *others]


def _shelf(order: RetentionOrder) -> Path:
    return Path(host_path(order.target.shelf, "the shelf"))


def _place(order: RetentionOrder, store: str, kind: str) -> Path:
    return Path(path_under(str(_shelf(order)), f"{store}/{kind}"))


@contextmanager
def _trouble_named(order: RetentionOrder) -> Iterator[None]:
    """Turn what the filesystem refuses into ``Refused``."""
    try:
        yield
    except OSError as error:
        raise Refused(
            f"the shelf cannot be cleared: {error.filename}: {error.strerror}",
            where=order.target.shelf,
            hint="the worker of the host needs to run as root, or the shelf to be given to it",
            code="shelf-unusable",
        ) from None
