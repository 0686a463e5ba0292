"""The image's first start runs a temporary server: it answers, and is not the server."""

import io
import shutil
import tarfile
import time
from pathlib import Path

import pytest

from activities.containers import Containers
from activities.engine import Engine
from activities.postgres.serve import Starting
from activities.postgres.sql import Sql
from activities.probes import Probes
from activities.secrets import Secrets
from activities.tokens import Tokens
from domain.order import TargetOrder
from domain.recovery import ServeOrder
from tests.faults.record import Seen
from tests.hands.postgres.conftest import DATABASE, Server

SLOWLY = f"""#!/bin/bash
psql -qX -U postgres -d {DATABASE} -c 'CREATE TABLE began ()'
sleep 6
psql -qX -U postgres -d {DATABASE} -c 'CREATE TABLE ended ()'
"""


def start_from_nothing(server: Server) -> str:
    """Have the server initialise an empty volume again, slowly; return its container."""
    container = server.target.postgres.container_id
    server.client.api.stop(container, timeout=30)
    for path in server.volume_path.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo("slowly.sh")
        member.size, member.mode = len(SLOWLY), 0o755
        archive.addfile(member, io.BytesIO(SLOWLY.encode()))
    server.client.api.put_archive(container, "/docker-entrypoint-initdb.d", packed.getvalue())
    server.client.api.start(container)
    return container


def wait_for_the_temporary_server(engine: Engine, container: str) -> None:
    question = ("psql", "-AtX", "-U", "postgres", "-d", DATABASE, "-c", "SELECT to_regclass('began')")
    deadline = time.monotonic() + 60
    while "began" not in engine.run(container, question).output:
        assert time.monotonic() < deadline, "the temporary server does not answer"
        time.sleep(0.1)


@pytest.mark.fault("B14")
def test_the_temporary_server_of_the_first_start_is_not_taken_for_ready(
    server: Server, engine: Engine, sql: Sql, tokens: Tokens, state: Path, seen: Seen
) -> None:
    """F-B14: the image's temporary initialisation server answers while a slow init script runs."""
    container = start_from_nothing(server)
    wait_for_the_temporary_server(engine, container)
    ready = engine.run(container, ("pg_isready", "-U", "postgres", "-d", DATABASE))
    assert ready.exit_code == 0
    seen(f"while the server is still initialised, pg_isready says: {ready.output.strip()}")

    containers = Containers(engine, {}, "", state, Probes(engine, Secrets(engine), sql))
    health = containers.observe_health(TargetOrder(target=server.target))
    (proof,) = [proof for proof in health.proofs if proof.name == "postgres"]
    assert proof.passed is False

    starting = Starting(engine, sql, tokens, state)
    order = ServeOrder(recovery_id="r1", target=server.target, expected_timeline=1, slot="")
    serving = starting.ensure_serving(order)
    assert serving.timeline == 1
    assert server.ask("SELECT to_regclass('ended')::text") == "ended", "it waited for the real server"
