"""The doctor sees whether a loss could be measured now: every store took a marker lately."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from activities.ledger_journal import LedgerFiles, put_flag
from activities.ledger_watch import watching
from domain.ledger import JournalLine, MarkerState, Store
from domain.order import ServiceTarget, Target
from domain.stack import Kind
from tests.hands.targets import bare_target

NOW = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)
KINDS = {"postgres": Kind.POSTGRES, "redis": Kind.REDIS}


@pytest.fixture
def target(tmp_path: Path) -> Target:
    services = [
        ServiceTarget(
            name=name, kind=kind, container_id=name, container_name=name, image="", image_id="", state=""
        )
        for name, kind in KINDS.items()
    ]
    return bare_target(tmp_path, *services)


@pytest.fixture
def files(tmp_path: Path, target: Target) -> LedgerFiles:
    found = LedgerFiles(tmp_path, target.stack)
    for store in (Store.POSTGRES, Store.REDIS):
        write(found, store, age=1)
    return found


def write(files: LedgerFiles, store: Store, *, age: float, taken: bool = True) -> None:
    """Have one marker tried so many seconds ago, after thousands of older ones."""
    states = [MarkerState.ATTEMPTED, MarkerState.ACKNOWLEDGED if taken else MarkerState.REFUSED]
    lines = []
    for n in range(3000):
        at = NOW - timedelta(seconds=age + 3000 - n)
        lines += [JournalLine(n=n, state=state, at=at) for state in states]
    files.journal(store).parent.mkdir(parents=True, exist_ok=True)
    text = "".join(line.model_dump_json() + "\n" for line in lines)
    files.journal(store).write_text(text + '{"n": 3001, "sta')


def test_a_ledger_whose_markers_are_taken_watches(tmp_path: Path, files: LedgerFiles, target: Target) -> None:
    found = watching(tmp_path, target, NOW)
    assert (found.passed, found.evidence) == (True, "postgres, redis: each took a marker lately")


def test_without_any_marker_no_loss_can_be_measured(tmp_path: Path, target: Target) -> None:
    found = watching(tmp_path, target, NOW)
    assert found.passed is False
    assert found.evidence.startswith("no marker was ever written, so that no loss can be measured")


def test_a_ledger_that_ended_is_named_with_the_time_since(
    tmp_path: Path, files: LedgerFiles, target: Target
) -> None:
    write(files, Store.POSTGRES, age=7200)
    found = watching(tmp_path, target, NOW)
    assert found.passed is False
    assert found.evidence == "nothing was written into postgres for 2 h 0 min: dr up starts the ledger"


def test_a_clock_that_ran_ahead_does_not_make_it_watch(
    tmp_path: Path, files: LedgerFiles, target: Target
) -> None:
    write(files, Store.POSTGRES, age=-7200)
    assert watching(tmp_path, target, NOW).passed is False


def test_a_store_that_takes_no_marker_is_named(tmp_path: Path, files: LedgerFiles, target: Target) -> None:
    write(files, Store.REDIS, age=1, taken=False)
    found = watching(tmp_path, target, NOW)
    assert (found.passed, found.evidence) == (False, "redis takes no marker: the log of the ledger says why")


def test_a_pause_is_told_with_the_recovery_that_made_it(
    tmp_path: Path, files: LedgerFiles, target: Target
) -> None:
    put_flag(files.pause_postgres, "20261123T0700Z-0123abcd")
    found = watching(tmp_path, target, NOW)
    assert found.passed is False
    assert found.evidence == "recovery 20261123T0700Z-0123abcd paused it for PostgreSQL"
