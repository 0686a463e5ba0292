import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis

from activities.ledger import Ledger
from activities.ledger_journal import LedgerFiles
from activities.ledger_places import find_place, stores_of_stack
from domain.errors import Refused, Unavailable
from domain.ledger import LossOrder, MarkerState, Store
from tests.hands.ledger.conftest import (
    Lab,
    acknowledged,
    more_in,
    order,
    running,
    until,
)
from worker.ledger import run_ledger


def test_a_marker_has_the_same_number_in_every_store(lab: Lab, files: LedgerFiles, tmp_path: Path) -> None:
    with running(lab, tmp_path):
        more_in(files, *Store)
    everywhere = set.intersection(*(set(files.known(store).acknowledged) for store in Store))
    assert everywhere
    for store in Store:
        opened = lab.open(store)
        assert everywhere <= opened.present()
        opened.close()


def test_nothing_is_lost_where_nothing_happened(
    lab: Lab, files: LedgerFiles, ledger: Ledger, tmp_path: Path
) -> None:
    with running(lab, tmp_path):
        more_in(files, *Store, by=8)
        found = ledger.measure_loss(LossOrder(target=lab.target()))
    for store in Store:
        loss = getattr(found.loss, store.value)
        assert (loss.seconds, loss.markers_lost) == (0.0, 0), store
        assert loss.markers_acknowledged >= 8
    assert found.skew_seconds == 0.0
    assert found.unexpected_numbers == {}
    assert "PostgreSQL lost none of" in found.sentence


def test_the_loss_of_each_store_is_what_is_missing_there(
    lab: Lab, files: LedgerFiles, ledger: Ledger, tmp_path: Path
) -> None:
    with running(lab, tmp_path):
        more_in(files, *Store, by=10)
    known = {store: files.known(store) for store in Store}
    cut = {
        store: sorted(known[store].acknowledged)[-size:]
        for store, size in zip(Store, (5, 3, 2, 1), strict=True)
    }
    for store, numbers in cut.items():
        opened = lab.open(store)
        opened.prune(numbers)
        opened.close()
    found = ledger.measure_loss(LossOrder(target=lab.target()))
    for store, numbers in cut.items():
        loss = getattr(found.loss, store.value)
        times = known[store].acknowledged
        survivor = max(n for n in times if n < numbers[0])
        assert loss.markers_lost == len(numbers)
        assert loss.seconds == (times[numbers[-1]] - times[survivor]).total_seconds()
        assert not loss.at_least
        assert set(found.lost_numbers[store.value]) == set(numbers)
    assert found.skew_seconds is not None
    assert found.skew_seconds > 0


def test_the_copy_behind_a_socket_is_read_and_not_the_live_server(
    lab: Lab, files: LedgerFiles, ledger: Ledger, tmp_path: Path
) -> None:
    with running(lab, tmp_path):
        more_in(files, Store.POSTGRES)
    pid = lab.client.api.inspect_container(lab.name("postgres"))["State"]["Pid"]
    nobody = lab.target().model_copy(update={"project": f"{lab.project}-nobody"})
    # The way into the container is one of the system's own directories, which no hand goes into by name.
    (tmp_path / "copy").symlink_to(f"/proc/{pid}/root/run/postgresql")
    through = LossOrder(target=nobody, socket_dir=str(tmp_path / "copy"))
    found = ledger.measure_loss(through)
    assert found.loss.postgres.markers_lost == 0
    assert found.loss.postgres.markers_acknowledged == acknowledged(files, Store.POSTGRES)
    assert set(found.unmeasured) == {"redis", "objects", "search"}
    nowhere = ledger.measure_loss(through.model_copy(update={"socket_dir": str(tmp_path)}))
    assert nowhere.loss.postgres.seconds is None
    assert "postgres" in nowhere.unmeasured


def test_a_wiped_store_says_at_least(lab: Lab, files: LedgerFiles, ledger: Ledger, tmp_path: Path) -> None:
    with running(lab, tmp_path):
        more_in(files, Store.POSTGRES, Store.REDIS)
    with lab.postgres() as connection:
        connection.execute("DROP SCHEMA dr CASCADE")
    found = ledger.measure_loss(LossOrder(target=lab.target()))
    lost = found.loss.postgres
    assert lost.markers_lost == lost.markers_acknowledged
    assert lost.at_least
    assert "at least" in found.sentence
    lab.open(Store.POSTGRES).close()


def test_a_marker_that_nobody_attempted_is_named(
    lab: Lab, files: LedgerFiles, ledger: Ledger, tmp_path: Path
) -> None:
    with running(lab, tmp_path):
        more_in(files, Store.POSTGRES)
    with lab.postgres() as connection:
        connection.execute("INSERT INTO dr.marker (n) VALUES (77)")
    found = ledger.measure_loss(LossOrder(target=lab.target()))
    assert found.unexpected_numbers == {"postgres": (77,)}


def test_a_dead_store_stops_no_other_and_is_found_again_on_its_new_port(
    lab: Lab, files: LedgerFiles, ledger: Ledger, tmp_path: Path
) -> None:
    with running(lab, tmp_path):
        more_in(files, *Store)
        lab.engine.kill(lab.name("redis"))
        more_in(files, Store.POSTGRES, Store.OBJECTS, Store.SEARCH, by=5)
        found = ledger.measure_loss(LossOrder(target=lab.target()))
        assert found.loss.redis.seconds is None
        assert found.loss.redis.markers_lost is None
        assert "redis" in found.unmeasured
        assert found.loss.postgres.seconds == 0.0
        lab.engine.start(lab.name("redis"))
        more_in(files, Store.REDIS)


def test_a_frozen_store_stops_no_other_and_goes_on_afterwards(
    lab: Lab, files: LedgerFiles, tmp_path: Path
) -> None:
    frozen = lab.client.containers.get(lab.name("postgres"))
    with running(lab, tmp_path):
        more_in(files, *Store)
        frozen.pause()
        try:
            more_in(files, Store.REDIS, Store.OBJECTS, Store.SEARCH, by=5)
            refusals = MarkerState.REFUSED.value.encode()
            journal = files.journal(Store.POSTGRES)
            until(lambda: refusals in journal.read_bytes(), "the frozen server is given up")
        finally:
            frozen.unpause()
        more_in(files, Store.POSTGRES)


def test_only_one_process_keeps_the_ledger_of_a_stack(lab: Lab, files: LedgerFiles, tmp_path: Path) -> None:
    with running(lab, tmp_path):
        more_in(files, Store.REDIS, by=1)
        with pytest.raises(Refused) as refusal:
            run_ledger(lab.stack, tmp_path, threading.Event(), engines=lambda: lab.engine, variables={})
    assert refusal.value.code == "ledger-running"


def test_no_marker_reaches_postgres_while_they_are_paused(
    lab: Lab, files: LedgerFiles, ledger: Ledger, tmp_path: Path
) -> None:
    with running(lab, tmp_path):
        more_in(files, *Store)
        paused = ledger.ensure_markers_paused(order(lab))
        assert ledger.ensure_markers_paused(order(lab)) == paused
        more_in(files, Store.REDIS, Store.SEARCH, by=5)
        known = files.known(Store.POSTGRES)
        assert max(known.attempted) == max(known.acknowledged) == paused.last_acknowledged
        with lab.postgres() as connection:
            sessions = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'dr ledger'"
            ).fetchone()
        assert sessions == (0,)
        ledger.ensure_markers_resumed(order(lab))
        ledger.ensure_markers_resumed(order(lab))
        more_in(files, Store.POSTGRES)


def test_a_pause_waits_for_the_marker_that_is_on_its_way(
    lab: Lab, files: LedgerFiles, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activities.ledger.SETTLE_SECONDS", 0.2)
    with files.marker_in_flight(wait_seconds=1) as held:
        assert held
        with pytest.raises(Unavailable) as trouble:
            ledger.ensure_markers_paused(order(lab))
    assert trouble.value.code == "marker-in-flight"
    ledger.ensure_markers_paused(order(lab))


def old_markers(files: LedgerFiles, store: Store, count: int) -> list[int]:
    yesterday = datetime.now(UTC) - timedelta(hours=25)
    first = int(yesterday.timestamp())
    files.directory.mkdir(parents=True, exist_ok=True)
    with files.journal(store).open("a") as journal:
        for n in range(first, first + count):
            for state in ("attempted", "acknowledged"):
                journal.write(json.dumps({"n": n, "state": state, "at": yesterday.isoformat()}) + "\n")
    return list(range(first, first + count))


@pytest.mark.long
def test_a_day_old_markers_go_unless_a_recovery_is_open_and_never_read_as_lost(
    lab: Lab, files: LedgerFiles, ledger: Ledger, tmp_path: Path
) -> None:
    old = {store: old_markers(files, store, 70) for store in Store}
    for store, numbers in old.items():
        opened = lab.open(store)
        for n in numbers:
            opened.write(n)
        opened.close()
    ledger.ensure_recovery_flagged(order(lab))
    with running(lab, tmp_path):
        more_in(files, *Store, by=5)
        for store in Store:
            opened = lab.open(store)
            assert set(old[store]) <= opened.present(), store
            opened.close()
        ledger.ensure_recovery_cleared(order(lab, "another"))
        assert files.recovery_open.exists()
        ledger.ensure_recovery_cleared(order(lab))
        ledger.ensure_recovery_cleared(order(lab))
        for store in Store:
            until(lambda s=store: files.known(s).pruned_below > 0, f"{store} prunes")  # type: ignore[misc]
        more_in(files, *Store, by=2)
        found = ledger.measure_loss(LossOrder(target=lab.target()))
    for store in Store:
        opened = lab.open(store)
        assert not set(old[store]) & opened.present()
        opened.close()
        assert getattr(found.loss, store.value).markers_lost == 0
    assert found.unexpected_numbers == {}


def test_nothing_is_made_in_postgres_while_a_recovery_is_open(
    lab: Lab, files: LedgerFiles, ledger: Ledger, tmp_path: Path
) -> None:
    with lab.postgres() as connection:
        connection.execute("DROP SCHEMA IF EXISTS dr CASCADE")
        ledger.ensure_recovery_flagged(order(lab))
        with running(lab, tmp_path):
            until(lambda: bool(files.known(Store.POSTGRES).attempted), "a marker was attempted")
            more_in(files, Store.REDIS)
            assert connection.execute("SELECT to_regnamespace('dr')").fetchone() == (None,)
            ledger.ensure_recovery_cleared(order(lab))
            more_in(files, Store.POSTGRES)


def test_a_redis_that_asks_for_a_password_refuses_without_it(lab: Lab) -> None:
    place = find_place(lab.engine, lab.secrets, stores_of_stack(lab.stack)[Store.REDIS])
    with pytest.raises(redis.AuthenticationError), redis.Redis(host=place.host, port=place.port) as plain:
        plain.ping()
