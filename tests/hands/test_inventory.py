"""What ``docker inspect`` says of a project, and what of it leaves the hand."""

from pathlib import Path
from typing import Any

import pytest

from activities.engine import ContainerState
from activities.inventory import Inventories
from activities.job import state_of
from domain.errors import Refused
from domain.inventory import InventoryOrder
from domain.names import COMPOSE_PROJECT, COMPOSE_SERVICE
from domain.order import StackOrder
from domain.recognition import Sighting

CANARY = "canary-7f3a"


def container(service: str, project: str = "shop", **config: Any) -> ContainerState:
    labels = {COMPOSE_PROJECT: project, COMPOSE_SERVICE: service, **config.pop("Labels", {})}
    host = config.pop("HostConfig", {})
    state = config.pop("State", {"Status": "running"})
    return state_of(
        {
            "Id": service * 4,
            "Name": f"/{project}-{service}-1",
            "Image": "sha256:00",
            "State": state,
            "Mounts": config.pop("Mounts", []),
            "NetworkSettings": {"Ports": config.pop("Ports", {})},
            "HostConfig": host,
            "Config": {"Image": f"team/{service}:1", "Labels": labels, **config},
        }
    )


class Described:
    """An engine that knows these containers."""

    def __init__(self, *containers: ContainerState) -> None:
        self._containers = containers

    def find(self, project: str) -> list[ContainerState]:
        return [found for found in self._containers if found.labels[COMPOSE_PROJECT] == project]

    def labelled(self, *labels: str) -> list[ContainerState]:
        assert labels == (COMPOSE_PROJECT,)
        return list(self._containers)


def hand(*containers: ContainerState, **stacks: Path) -> Inventories:
    # All that the hand asks of an engine.
    return Inventories(Described(*containers), stacks, "")  # type: ignore[arg-type]


def sighted(found: ContainerState) -> Sighting:
    (seen,) = hand(found).observe_project(InventoryOrder(project="shop")).sightings
    return seen


def test_no_value_that_could_be_a_secret_leaves_the_hand() -> None:
    found = container(
        "cache",
        Env=[
            f"REDIS_PASSWORD={CANARY}",
            f"POSTGRES_PASSWORD={CANARY}",
            f"DATABASE_URL=postgres://a:{CANARY}@b/c",
        ],
        Cmd=["redis-server", "--requirepass", CANARY],
        Labels={"team.token": CANARY},
    )
    said = hand(found).observe_project(InventoryOrder(project="shop"))
    assert CANARY not in said.model_dump_json()
    (seen,) = said.sightings
    assert seen.env_names == ("REDIS_PASSWORD", "POSTGRES_PASSWORD", "DATABASE_URL")
    assert seen.wants_password


def test_variables_without_a_value_are_as_good_as_none() -> None:
    assert sighted(container("cache", Env=["REDIS_PASSWORD=", "REDIS_USER"])).env_names == ()


def test_what_names_data_account_and_database_is_read() -> None:
    env = ["PGDATA=/data/main", "POSTGRES_USER=keeper", "POSTGRES_DB=shop", "TZ=UTC"]
    assert sighted(container("db", Env=env)).facts == {
        "PGDATA": "/data/main",
        "POSTGRES_USER": "keeper",
        "POSTGRES_DB": "shop",
    }


def test_a_secret_in_a_file_is_known_by_the_host_s_path() -> None:
    mounts = [
        {"Type": "bind", "Source": "/srv/shop/db", "Destination": "/run/secrets/db"},
        {"Type": "volume", "Name": "shop_data", "Destination": "/data"},
    ]
    env = ["POSTGRES_PASSWORD_FILE=/run/secrets/db", "OTHER_FILE=/run/secrets/gone"]
    seen = sighted(container("db", Env=env, Mounts=mounts))
    assert seen.secret_files == {"POSTGRES_PASSWORD_FILE": "/srv/shop/db"}
    assert seen.volumes == {"/data": "shop_data"}


def test_ports_are_those_inside_and_published_ones_only_where_this_host_reaches_them() -> None:
    ports = {
        "8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18000"}],
        "9000/tcp": [{"HostIp": "192.0.2.7", "HostPort": "19000"}],
        "53/udp": [{"HostIp": "", "HostPort": "53"}],
    }
    seen = sighted(container("web", Ports=ports, ExposedPorts={"5432/tcp": {}}))
    assert seen.ports == (5432, 8000, 9000)
    assert seen.published == {"8000": 18000}


@pytest.mark.parametrize(("code", "policy", "job"), [(0, "no", True), (1, "no", False), (0, "always", False)])
def test_only_what_ended_well_and_stays_ended_is_a_job(code: int, policy: str, *, job: bool) -> None:
    state = {"Status": "exited", "ExitCode": code}
    assert sighted(container("seed", State=state, HostConfig={"RestartPolicy": {"Name": policy}})).job is job


def test_an_unknown_project_is_refused_with_those_that_are_here() -> None:
    looked = hand(container("db"), container("db", project="shop-old"))
    with pytest.raises(Refused, match="projects on this host: shop, shop-old") as error:
        looked.observe_project(InventoryOrder(project="sho"))
    assert error.value.code == "project-unknown"


def test_open_questions_of_a_stack_file_are_counted_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text("# ASK: who? [who]\nstack: shop\n  # ASK: what? [what]\n# asked: nothing\n")
    (proof,) = hand(shop=path).observe_questions(StackOrder(stack="shop")).proofs
    assert proof.passed is False
    assert proof.evidence == "2 open; line 1: who? [who]"
    path.write_text("stack: shop\n")
    assert hand(shop=path).observe_questions(StackOrder(stack="shop")).passed
