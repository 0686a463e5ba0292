"""A server whose sessions are read-only serves nobody, whether it has a schema of ours or not."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from activities.engine import Engine
from activities.postgres.integrity import Integrity, VerifyServerOrder
from activities.postgres.sql import Sql
from activities.probes import Probes
from activities.secrets import Secrets
from domain.recovery import Proof
from tests.hands.postgres.conftest import Server

pytestmark = pytest.mark.mutant("M17")


@contextmanager
def read_only(server: Server) -> Iterator[None]:
    server.do(f"ALTER DATABASE {server.target.postgres.database} SET default_transaction_read_only = on")
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        server.do("INSERT INTO drafts VALUES (1, 'x')")
    yield


def probed(engine: Engine, server: Server) -> Proof:
    target = server.target
    return Probes(engine, Secrets(engine)).probe(target, target.services[0])


def test_a_server_that_was_never_protected_takes_a_write_until_it_is_read_only(
    bare_server: Server, engine: Engine, sql: Sql, tmp_path: Path
) -> None:
    order = VerifyServerOrder(target=bare_server.target)
    integrity = Integrity(engine, sql, tmp_path)
    assert integrity.verify_server(order).passed
    assert probed(engine, bare_server).passed
    with read_only(bare_server):
        judged = integrity.verify_server(order)
        assert not judged.passed
        failed = [proof for proof in judged.proofs if not proof.passed]
        assert [proof.name for proof in failed] == ["write probe"]
        assert probed(engine, bare_server).passed is False
