"""The self-test on real servers: every mutant is killed, no control alarms, and nothing of it stays."""

import hashlib
import os
from pathlib import Path

import docker
import pytest

from activities.engine import Engine
from activities.postgres.backup import Backups
from activities.postgres.dump import Dumps
from activities.postgres.receiver import Protection
from activities.postgres.sql import Sql
from activities.secrets import Secrets
from activities.selftest.hands import SelfTest
from activities.selftest.network import Networks
from activities.tokens import Tokens
from domain.backups import BackupOrder, ReceiveOrder
from domain.dumps import DumpOrder
from domain.errors import Refused
from domain.names import LABEL_MADE_BY
from domain.order import TargetOrder
from domain.selftest import MUTANTS, Tried, Verdict
from tests.hands.postgres.conftest import Server
from worker.far_store import s3_client

RECORDS = {"M16", "M23", "M24"}
STORES = {"M20", "M21"}


@pytest.fixture
def hands(client: docker.DockerClient, engine: Engine, sql: Sql, tokens: Tokens, state: Path) -> SelfTest:
    kept = Secrets(engine)
    return SelfTest(engine, Networks(client), sql, tokens, state, secrets=kept, connect=s3_client)


def survivors(tested: Tried) -> list[str]:
    """Return what was not killed, and the controls that were not green, with all that is known of them."""
    lived = [repr(row) for row in tested.mutants if row.verdict is not Verdict.KILLED]
    return lived + [repr(row) for row in tested.controls if not row.passed]


def listing(root: Path) -> dict[str, str]:
    """Return every file below a directory with its content's hash."""
    paths = [Path(folder, name) for folder, _, files in os.walk(root) for name in files]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def left_of(client: docker.DockerClient, stack: str, state: Path) -> list[str]:
    """Return the containers, volumes, networks and files that the self-test of a stack left."""
    label = {"label": [f"dr.stack={stack}.selftest", f"{LABEL_MADE_BY}=dr"]}
    found = [one["Names"][0] for one in client.api.containers(all=True, filters=label)]
    found += [one["Name"] for one in client.api.volumes(filters=label)["Volumes"] or []]
    found += [one["Name"] for one in client.api.networks(filters=label)]
    return found + [str(path) for path in (state / "selftest").glob("*")]


@pytest.mark.long
def test_every_mutant_of_the_database_is_killed_and_nothing_real_is_changed(
    server: Server,
    client: docker.DockerClient,
    engine: Engine,
    sql: Sql,
    tokens: Tokens,
    state: Path,
    hands: SelfTest,
) -> None:
    parts = (engine, sql, tokens, state)
    Protection(*parts).ensure_receiving(ReceiveOrder(target=server.target))
    Dumps(*parts).ensure_dump(DumpOrder(target=server.target, label="nightly"))
    Backups(*parts).ensure_base_backup(BackupOrder(target=server.target, label="nightly"))
    engine.remove(f"dr-{server.target.stack}-receiver", force=True)
    shelf = Path(server.target.shelf)
    before, rows = listing(shelf), server.ask("SELECT count(*) FROM messages")
    tested = hands.verify_checks_of_database(TargetOrder(target=server.target))
    assert not survivors(tested), "\n".join(survivors(tested))
    tried = {row.mutant for row in tested.mutants}
    assert tried == MUTANTS.keys() - RECORDS - STORES
    assert all(row.seen for row in tested.mutants)
    assert "a copy of" in tested.sentence
    # Once on the stage's own backups, once on copies of the real ones.
    assert sum(row.mutant == "M1" for row in tested.mutants) == 4
    assert {row.control for row in tested.controls} == {"Q1", "Q2", "Q3", "Q4", "Q5", "Q6"}
    assert listing(shelf) == before
    assert server.ask("SELECT count(*) FROM messages") == rows
    assert left_of(client, server.target.stack, state) == []


def test_without_any_backup_the_self_test_says_what_is_missing(
    server: Server, client: docker.DockerClient, state: Path, hands: SelfTest
) -> None:
    with pytest.raises(Refused) as refused:
        hands.verify_checks_of_database(TargetOrder(target=server.target))
    assert refused.value.code == "backup-missing"
    assert "dr backup now" in refused.value.hint
    assert left_of(client, server.target.stack, state) == []
