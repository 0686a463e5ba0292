import time
from collections.abc import Iterator

import psycopg
import pytest

from activities.postgres.sql import Sql
from domain.errors import Refused
from tests.hands.postgres.conftest import Server
from tests.hands.postgres.scene import Scene, recovery


@pytest.fixture
def scene(server: Server, sql: Sql) -> Iterator[Scene]:
    with recovery(server, sql) as made:
        yield made


def as_server(scene: Scene, query: str) -> str:
    done = scene.fencing.psql(scene.target, query)
    assert done.exit_code == 0, done.errors
    return done.output.strip()


def test_a_closed_server_ends_every_session_and_lets_nobody_in(scene: Scene) -> None:
    with scene.server.connect() as session:
        session.execute("SELECT 1")
        found = scene.fence()
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
    assert (found.terminated_sessions, found.foreign_sessions) == (1, 0)
    with pytest.raises(psycopg.OperationalError, match="reject"):
        scene.server.connect()
    assert scene.fence() == found


def test_closing_is_no_transaction_and_keeps_the_receiver_streaming(scene: Scene) -> None:
    scene.protect()
    before = as_server(scene, "SELECT pg_snapshot_xmax(pg_current_snapshot())")
    scene.fence()
    assert as_server(scene, "SELECT pg_snapshot_xmax(pg_current_snapshot())") == before
    receiver = f"dr-{scene.target.stack}-receiver"
    scene.server.client.containers.get(receiver).restart(timeout=2)
    deadline = time.monotonic() + 20
    while as_server(scene, "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'") != "1":
        assert time.monotonic() < deadline, scene.engine.logs(receiver)
        time.sleep(0.2)


def test_the_server_does_not_restart_by_itself_until_it_is_opened_again(scene: Scene) -> None:
    original = (scene.server.volume_path / "pg_hba.conf").read_bytes()
    assert scene.fence().restart_policy == "unless-stopped"
    found = scene.engine.look(scene.target.postgres.container_id)
    assert found is not None
    assert found.raw["HostConfig"]["RestartPolicy"]["Name"] == "no"
    scene.fencing.ensure_unfenced(scene.order())
    scene.fencing.ensure_unfenced(scene.order())
    assert scene.server.ask("SELECT 1") == 1
    assert (scene.server.volume_path / "pg_hba.conf").read_bytes() == original
    found = scene.engine.look(scene.target.postgres.container_id)
    assert found is not None
    assert found.raw["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"


def test_the_original_rules_are_kept_once_whatever_was_left_before(scene: Scene) -> None:
    root = scene.server.volume_path
    original = (root / "pg_hba.conf").read_bytes()
    (root / "pg_hba.conf.dr-kept").write_bytes(b"# somebody else's\n")
    scene.fence()
    assert (root / "pg_hba.conf.dr-kept").read_bytes() == original
    assert [path.read_bytes() for path in root.glob("pg_hba.conf.dr-kept.*")] == [b"# somebody else's\n"]
    scene.fence()
    assert (root / "pg_hba.conf.dr-kept").read_bytes() == original


def test_a_stopped_server_is_opened_on_its_volume(scene: Scene) -> None:
    original = (scene.server.volume_path / "pg_hba.conf").read_bytes()
    scene.fence()
    scene.kill_server()
    scene.fencing.ensure_unfenced(scene.order())
    assert (scene.server.volume_path / "pg_hba.conf").read_bytes() == original


def test_a_dead_server_has_nothing_to_close_and_stays_down(scene: Scene) -> None:
    original = (scene.server.volume_path / "pg_hba.conf").read_bytes()
    scene.engine.kill(scene.target.postgres.container_id, "SIGKILL")
    found = scene.fence()
    assert "nothing to close" in found.sentence
    assert (scene.server.volume_path / "pg_hba.conf").read_bytes() == original
    assert scene.fence() == found


def test_a_container_that_is_not_the_resolved_one_is_refused(scene: Scene) -> None:
    server = scene.target.postgres.model_copy(update={"volume": "another"})
    scene.target = scene.target.model_copy(update={"postgres": server})
    with pytest.raises(Refused, match="target-changed"):
        scene.fence()
    server = scene.target.postgres.model_copy(update={"container_id": "0" * 64})
    scene.target = scene.target.model_copy(update={"postgres": server})
    with pytest.raises(Refused, match="target-changed"):
        scene.fence()
