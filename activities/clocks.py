"""Measures how far the clocks stand apart that a recovery reads: this worker's and those of the others."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import psycopg
from temporalio import activity

from activities.engine import Engine
from activities.postgres.sql import Sql
from domain.errors import DrError, Unavailable
from domain.order import Target
from domain.recovery import Proof

_STATED_SECONDS = 1.0


class Skew(NamedTuple):
    """How far another clock is ahead of this worker's; ``None`` when it could not be read."""

    clock: str
    seconds: float | None
    uncertain_seconds: float = 0.0
    """Half the time that the answer took."""
    why: str = ""

    @property
    def apart(self) -> bool:
        """Tell whether the clocks surely differ by more than a second."""
        return self.seconds is not None and abs(self.seconds) - self.uncertain_seconds > _STATED_SECONDS


class Clocks:
    """Reads the clocks; changes nothing. Durations never come from them, but instants of a report do."""

    def __init__(self, engine: Engine, sql: Sql) -> None:
        """Ask the engine and the live server through these clients."""
        self._engine = engine
        self._sql = sql

    def measure(self, target: Target, *known: Skew) -> tuple[Skew, ...]:
        """Compare with the Docker engine's clock and the database's; what is ``known`` comes first."""
        others: Mapping[str, Callable[[], datetime]] = {
            "the Docker engine": self._of_engine,
            "the database": lambda: self._of_database(target),
        }
        return (*known, *(_compare(clock, read) for clock, read in others.items()))

    def _of_engine(self) -> datetime:
        return datetime.fromisoformat(str(self._engine.info()["SystemTime"]))

    def _of_database(self, target: Target) -> datetime:
        try:
            with self._sql.live(target, timeout_seconds=5) as connection:
                row = connection.execute("SELECT clock_timestamp()").fetchone()
        except psycopg.Error as error:
            raise Unavailable(type(error).__name__, code="postgres-unavailable") from None
        if row is None or not isinstance(row[0], datetime):
            raise Unavailable("it told no time", code="postgres-unavailable")
        return row[0]


def ahead_of_temporal(known: tuple[Skew, ...]) -> timedelta:
    """Return what to add to an instant of workflow time to have it on this host's clock."""
    return timedelta(seconds=-sum(skew.seconds or 0.0 for skew in known if skew.apart))


def told(skews: tuple[Skew, ...]) -> str:
    """Return what a report says of the clocks."""
    apart = [skew for skew in skews if skew.apart]
    unread = [f"{skew.clock} not read: {skew.why}" for skew in skews if skew.seconds is None]
    alike = [skew.clock for skew in skews if skew.seconds is not None and not skew.apart]
    said = [f"{skew.clock} is {_spoken(skew.seconds or 0.0)} this worker" for skew in apart]
    if alike:
        said.append(f"within a second of this worker: {', '.join(alike)}")
    return "; ".join(said + unread)


def judge(skews: tuple[Skew, ...]) -> Proof:
    """Return the proof that the clocks agree: false when any is apart, none when any was not read."""
    apart = any(skew.apart for skew in skews)
    unread = any(skew.seconds is None for skew in skews)
    return Proof(name="clocks", passed=False if apart else None if unread else True, evidence=told(skews))


def _compare(clock: str, read: Callable[[], datetime]) -> Skew:
    before = datetime.now(UTC)
    try:
        theirs = read()
    except (DrError, ValueError, KeyError) as error:
        return Skew(clock, None, why=error.what if isinstance(error, DrError) else type(error).__name__)
    half = (datetime.now(UTC) - before) / 2
    return Skew(clock, (theirs - (before + half)).total_seconds(), half.total_seconds())


def of_temporal() -> tuple[Skew, ...]:
    """Compare with the instant at which Temporal says it handed this step out; to be asked at its start."""
    if not activity.in_activity():
        return ()
    return (Skew("Temporal", (activity.info().started_time - datetime.now(UTC)).total_seconds()),)


def _spoken(seconds: float) -> str:
    return f"{abs(seconds):.1f} s {'ahead of' if seconds > 0 else 'behind'}"
