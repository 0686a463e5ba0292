"""The receiver on a real server."""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from activities.engine import Engine
from activities.postgres.receiver import Protection
from activities.postgres.sql import Sql
from activities.tokens import Tokens
from domain.backups import ReceiveOrder
from domain.errors import Refused, Unavailable
from domain.order import TargetOrder
from tests.hands.postgres.conftest import Server

pytestmark = pytest.mark.hand


@pytest.fixture
def protection(engine: Engine, sql: Sql, tokens: Tokens, state: Path) -> Protection:
    return Protection(engine, sql, tokens, state)


def wal_of(server: Server, slot: str = "dr_recv_1") -> Path:
    return Path(server.target.shelf) / "postgres" / "wal" / slot


def eventually(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.1)


def test_protection_creates_two_things_and_a_second_call_none(
    bare_server: Server, protection: Protection
) -> None:
    order = TargetOrder(target=bare_server.target)
    objects = "SELECT count(*) FROM pg_class WHERE relnamespace NOT IN ('dr'::regnamespace, 99)"
    before = bare_server.ask("SELECT count(*) FROM pg_class WHERE relnamespace <> 99")
    first = protection.ensure_protected(order)
    assert "created" in first.sentence
    assert "are there" in protection.ensure_protected(order).sentence
    bare_server.mark(1)
    assert bare_server.ask("SELECT extname FROM pg_extension WHERE extname = 'amcheck'") == "amcheck"
    with bare_server.connect("postgres") as connection:
        assert connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'amcheck'").fetchone()
    assert bare_server.ask(objects) == before


def test_protection_that_meets_another_one_at_work_is_tried_again_and_not_refused(
    server: Server, protection: Protection
) -> None:
    server.do("DROP SCHEMA IF EXISTS dr CASCADE")
    with server.connect() as other, ThreadPoolExecutor(1) as threads:
        other.execute("BEGIN")
        other.execute("CREATE SCHEMA dr")
        tried = threads.submit(protection.ensure_protected, TargetOrder(target=server.target))
        deadline = time.monotonic() + 20
        while not server.ask("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            assert time.monotonic() < deadline, "it does not wait for the other one"
        other.execute("COMMIT")
        with pytest.raises(Unavailable, match="protected-at-once"):
            tried.result()
    assert "created schema dr" in protection.ensure_protected(TargetOrder(target=server.target)).sentence


def test_every_written_segment_arrives_and_a_second_call_keeps_the_receiver(
    server: Server, protection: Protection
) -> None:
    order = ReceiveOrder(target=server.target)
    first = protection.ensure_receiving(order)
    assert first.active
    assert first.slot == "dr_recv_1"
    assert first.flushed_lsn is not None
    assert first.newest_segment
    assert protection.ensure_receiving(order).container == first.container
    server.mark(1)
    wanted = server.ask("SELECT pg_walfile_name(pg_switch_wal())")
    eventually((wal_of(server) / str(wanted)).exists)
    seen = protection.observe_receiver(TargetOrder(target=server.target))
    assert seen.newest_segment == wanted
    assert seen.lag_bytes is not None
    assert seen.slot_state == "reserved"
    recorded = json.loads((wal_of(server).parent / "receiver.json").read_text())
    assert recorded["directory"] == "postgres/wal/dr_recv_1" == seen.directory


def test_the_receiver_is_made_again_after_the_server_restarted(
    server: Server, protection: Protection, engine: Engine
) -> None:
    order = ReceiveOrder(target=server.target)
    first = protection.ensure_receiving(order)
    server.client.api.restart(server.target.postgres.container_id, timeout=20)
    dead = engine.look(first.container)
    assert dead is not None
    server.wait()
    second = protection.ensure_receiving(order)
    assert second.active
    assert second.container != first.container
    assert second.slot == first.slot


def test_a_receiver_that_exited_is_made_again(server: Server, protection: Protection, engine: Engine) -> None:
    first = protection.ensure_receiving(ReceiveOrder(target=server.target))
    engine.kill(first.container)
    eventually(lambda: not protection.observe_receiver(TargetOrder(target=server.target)).active)
    second = protection.ensure_receiving(ReceiveOrder(target=server.target))
    assert second.active
    assert second.container != first.container


def test_another_slot_starts_another_directory_and_the_former_slot_is_dropped(
    server: Server, protection: Protection
) -> None:
    protection.ensure_receiving(ReceiveOrder(target=server.target))
    kept = sorted(path.name for path in wal_of(server).iterdir())
    server.do("SELECT pg_create_physical_replication_slot('dr_recv_abcd1234', true)")
    second = protection.ensure_receiving(ReceiveOrder(target=server.target, slot="dr_recv_abcd1234"))
    assert second.slot == "dr_recv_abcd1234"
    assert second.newest_segment
    assert (wal_of(server, "dr_recv_abcd1234") / second.newest_segment).exists()
    assert sorted(path.name for path in wal_of(server).iterdir()) == kept
    assert server.ask("SELECT string_agg(slot_name, ' ') FROM pg_replication_slots") == "dr_recv_abcd1234"
    assert protection.ensure_receiving(ReceiveOrder(target=server.target)).slot == "dr_recv_abcd1234"


def test_a_lost_slot_is_followed_by_a_new_generation(
    server: Server, protection: Protection, engine: Engine
) -> None:
    first = protection.ensure_receiving(ReceiveOrder(target=server.target))
    engine.remove(first.container, force=True)
    eventually(lambda: server.ask("SELECT active FROM pg_replication_slots") is False)
    server.do("SELECT pg_drop_replication_slot('dr_recv_1')")
    with pytest.raises(Refused, match="lost"):
        protection.ensure_receiving(ReceiveOrder(target=server.target, slot="dr_recv_1"))
    second = protection.ensure_receiving(ReceiveOrder(target=server.target))
    assert second.slot == "dr_recv_2"
    assert second.active


def test_the_password_is_only_in_a_file_of_the_servers_user(
    server: Server, protection: Protection, engine: Engine
) -> None:
    hba = server.volume_path / "pg_hba.conf"
    hba.write_text(hba.read_text().replace("trust", "scram-sha-256"))
    server.do("SELECT pg_reload_conf()")
    found = engine.look(protection.ensure_receiving(ReceiveOrder(target=server.target)).container)
    assert found is not None
    assert found.running
    assert "not-a-secret" not in json.dumps(found.raw)
    passfile = Path(server.target.shelf) / "postgres" / ".pgpass"
    assert (passfile.stat().st_mode & 0o777, passfile.stat().st_uid) == (0o600, 999)


def test_a_stopped_server_is_unavailable_and_is_not_started(
    server: Server, protection: Protection, engine: Engine
) -> None:
    protection.ensure_receiving(ReceiveOrder(target=server.target))
    engine.stop(server.target.postgres.container_id, 20)
    with pytest.raises(Unavailable, match="does not run"):
        protection.ensure_receiving(ReceiveOrder(target=server.target))
    seen = protection.observe_receiver(TargetOrder(target=server.target))
    assert not seen.active
    assert seen.lag_bytes is None
    assert seen.newest_segment
    stopped = engine.look(server.target.postgres.container_id)
    assert stopped is not None
    assert stopped.status == "exited"
