"""One small lab for the contract tests, beside any other lab."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from domain.errors import Refused
from infra.lab.lab import Lab
from infra.lab.settings import LabSettings, free_ports
from tests.lab.bench import Bench

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    try:
        client = docker.from_env(timeout=600)
        client.ping()
    except docker.errors.DockerException as error:
        pytest.skip(f"no Docker engine answers: {error}")
    name = f"dr-contract-{secrets.token_hex(4)}"
    settings = LabSettings(
        project=name,
        prefix=f"{name}-chat",
        ports=free_ports(),
        state=tmp_path_factory.mktemp("lab"),
        seed_scale="small",
        shared_cache=ROOT / ".dr" / "cache",
    )
    lab = Lab(settings, client)
    try:
        lab.up()
        yield Bench(lab)
    except Refused as reason:
        pytest.skip(str(reason))
    finally:
        lab.down()
        client.close()
