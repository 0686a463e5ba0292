from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from activities.engine import ContainerState, Engine
from activities.faults import DamageOrder, Faults
from activities.postgres.sql import Sql
from domain.errors import Refused
from domain.order import TargetOrder
from tests.hands.postgres.conftest import Server


@pytest.fixture
def faults(engine: Engine, sql: Sql) -> Faults:
    return Faults(engine, sql)


def test_overwritten_pages_are_seen_by_a_server_that_keeps_answering(server: Server, faults: Faults) -> None:
    injected = faults.inject_damaged_pages(DamageOrder(target=server.target, pages=5))
    assert injected.table == "public.messages"
    assert "invalid page in block" in injected.evidence
    assert server.ask("SELECT count(*) FROM users") == 200
    with pytest.raises(psycopg.errors.DataCorrupted):
        server.ask("SELECT count(m) FROM messages m")
    assert server.ask("SELECT count(*) FROM pg_extension WHERE extname ~ 'buffercache|prewarm'") == 0


def test_damage_is_done_once_and_a_second_call_only_sees_it(server: Server, faults: Faults) -> None:
    order = DamageOrder(target=server.target, pages=3)
    faults.inject_damaged_pages(order)
    file = server.volume_path / str(server.ask("SELECT pg_relation_filepath('messages')"))
    before = file.read_bytes()
    again = faults.inject_damaged_pages(order)
    assert again.evidence
    assert file.read_bytes() == before


def test_a_server_without_its_control_file_does_not_start(
    server: Server, faults: Faults, engine: Engine
) -> None:
    order = TargetOrder(target=server.target)
    first = faults.inject_control_file_destroyed(order)
    found = engine.look(server.target.postgres.container_id)
    assert found is not None
    assert found.status == "exited"
    assert found.raw["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
    assert "does not match" in first.evidence
    assert faults.inject_control_file_destroyed(order).evidence == first.evidence


def test_nothing_outside_the_lab_is_damaged(server: Server, engine: Engine, sql: Sql) -> None:
    class Stranger(Engine):
        """The same engine, whose containers carry no label of the lab."""

        def look(self, name: str) -> ContainerState | None:
            found = super().look(name)
            return found and replace(found, labels={k: v for k, v in found.labels.items() if k != "dr.lab"})

    faults = Faults(Stranger(server.client), sql)
    for inject in (faults.inject_control_file_destroyed, faults.inject_damaged_pages):
        with pytest.raises(Refused, match="not-the-lab"):
            inject(DamageOrder(target=server.target))
    assert server.ask("SELECT count(m) FROM messages m") == 20000
    files = list(Path(server.volume_path).glob("global/pg_control"))
    assert len(files) == 1
