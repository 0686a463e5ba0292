"""``dr`` on a Temporal server that it did not start: mutual TLS and a namespace, by settings alone."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from domain.names import SEARCH_ATTRIBUTES
from infra import daemons, up
from infra.temporal import server
from tests.e2e.stand import Said
from tests.hands.secured_temporal import SERVER_NAME, Authority, Door, behind_mutual_tls
from tests.hands.test_temporal_server import attributes_of, free_ports, retention_of, settings_in

ROOT = Path(__file__).parents[2]
NAMESPACE = "operations"
LIMIT_SECONDS = 120
pytestmark = pytest.mark.timeout(240)
STACK = """\
stack: ghost
project: dr-tests-no-such-project
services:
  postgres: {kind: postgres}
"""


@dataclass
class Place:
    """Somebody else's server, and a state directory of ours."""

    inside: str
    door: Door
    state: Path
    tls: dict[str, str]
    exposed: int

    def dr(self, *words: str, **settings: str) -> Said:
        """Run ``dr`` with settings and nothing else; one that is empty is left out."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("DR_", "TEMPORAL_"))}
        named = {"TEMPORAL_ADDRESS": f"127.0.0.1:{self.door.port}", "TEMPORAL_NAMESPACE": NAMESPACE}
        ours = {"DR_STATE": str(self.state), "DR_METRICS_BIND": f"127.0.0.1:{self.exposed}"}
        wanted = {**named, **self.tls, **ours, **settings}
        done = subprocess.run(
            [sys.executable, "-c", "from starter.cli import main; main()", *words, "--json"],
            cwd=ROOT,
            env=kept | {name: value for name, value in wanted.items() if value},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
            check=False,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    async def seen_from_inside(self) -> Client:
        """Return a client of the real server, past the door."""
        return await Client.connect(self.inside, namespace=NAMESPACE)

    def stop_ours(self) -> None:
        """End worker and ledger."""
        for name in (up.WORKER, up.ledger_of("ghost")):
            daemons.stop(up.run_directory(self.state), name)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    theirs, state = tmp_path_factory.mktemp("theirs"), tmp_path_factory.mktemp("ours")
    (state / "stacks").mkdir()
    (state / "stacks" / "ghost.yaml").write_text(STACK)
    authority = Authority("their authority", theirs)
    certificate, key = authority.issue("dr")
    embedded = settings_in(theirs, NAMESPACE)
    try:
        inside = server.ensure_running(embedded).address
        with behind_mutual_tls(inside, authority) as door:
            tls = {
                "TEMPORAL_TLS": "true",
                "TEMPORAL_TLS_SERVER_NAME": SERVER_NAME,
                "TEMPORAL_TLS_SERVER_CA_CERT_PATH": str(authority.certificate),
                "TEMPORAL_TLS_CLIENT_CERT_PATH": str(certificate),
                "TEMPORAL_TLS_CLIENT_KEY_PATH": str(key),
            }
            found = Place(inside, door, state, tls, *free_ports(1))
            try:
                yield found
            finally:
                found.stop_ours()
    finally:
        server.stop(embedded)


@pytest.fixture
def denied(place: Place) -> Iterator[set[str]]:
    """Methods that the door denies while a test runs."""
    yield place.door.denied
    place.door.denied.clear()


@pytest.fixture(scope="module")
def started(place: Place) -> Said:
    return place.dr("up", DR_UI_ADDRESS="https://temporal.example.org")


def test_no_server_of_ours_is_started_beside_the_one_that_the_settings_name(
    place: Place, started: Said
) -> None:
    assert started.code == 0, started
    assert server.status(server.TemporalSettings(state=place.state)) is None
    assert not (place.state / "temporal").exists()
    assert started.data["ui"] == "https://temporal.example.org"


def test_up_applies_the_schedules_of_every_stack_and_the_doctor_looks_at_them(
    place: Place, started: Said
) -> None:
    said = " ".join(started.progress.split())
    assert "postgres-daily created" in said
    assert "verification created" in said
    red = {proof["name"]: proof["passed"] for proof in place.dr("doctor").data["proofs"]}
    assert red["schedules"] is True
    assert red["verification of backups"] is True, "its schedule was made just now"
    assert place.dr("schedules", "pause", "verification", "--reason", "a test").code == 0
    assert {p["name"]: p["passed"] for p in place.dr("doctor").data["proofs"]}["schedules"] is True


def test_the_worker_serves_the_command_line_through_it(place: Place, started: Said) -> None:
    said = place.dr("doctor")
    assert said.code == 5, said
    read = next(proof for proof in said.data["proofs"] if proof["name"] == "stack file")
    assert "no container is service postgres of project dr-tests-no-such-project" in read["evidence"]
    assert {"PollWorkflowTaskQueue", "PollActivityTaskQueue"} <= set(place.door.called)


def test_what_runs_is_in_the_namespace_that_the_settings_name(place: Place, started: Said) -> None:
    assert place.dr("init", "--project", "dr-tests-no-such-project").error["code"] == "project-unknown"

    async def listed() -> list[str]:
        # Visibility follows a moment after the run.
        client = await place.seen_from_inside()
        deadline = time.monotonic() + LIMIT_SECONDS
        while time.monotonic() < deadline:
            found = [run.workflow_type async for run in client.list_workflows()]
            if "ObserveProject" in found:
                return found
            await asyncio.sleep(0.2)
        return []

    assert "ObserveProject" in asyncio.run(listed())


def test_our_search_attributes_are_added_and_the_retention_stays_theirs(place: Place, started: Said) -> None:
    async def facts() -> tuple[set[str], timedelta]:
        client = await place.seen_from_inside()
        return await attributes_of(client), await retention_of(client)

    attributes, retention = asyncio.run(facts())
    assert {name for name, _ in SEARCH_ATTRIBUTES} <= attributes
    assert retention == timedelta(days=1)
    assert "forgets closed runs after 1 days" in " ".join(started.progress.split())
    assert not {"UpdateNamespace", "RegisterNamespace"} & set(place.door.called)


def test_a_profile_in_a_file_serves_as_well_as_variables(place: Place, started: Said) -> None:
    profile = place.state / "temporal.toml"
    profile.write_text(
        f"""\
[profile.theirs]
address = "127.0.0.1:{place.door.port}"
namespace = "{NAMESPACE}"
[profile.theirs.tls]
server_name = "{SERVER_NAME}"
server_ca_cert_path = "{place.tls["TEMPORAL_TLS_SERVER_CA_CERT_PATH"]}"
client_cert_path = "{place.tls["TEMPORAL_TLS_CLIENT_CERT_PATH"]}"
client_key_path = "{place.tls["TEMPORAL_TLS_CLIENT_KEY_PATH"]}"
"""
    )
    nothing = dict.fromkeys(("TEMPORAL_ADDRESS", "TEMPORAL_NAMESPACE", *place.tls), "")
    said = place.dr("up", TEMPORAL_CONFIG_FILE=str(profile), TEMPORAL_PROFILE="theirs", **nothing)
    assert said.code == 0, said
    assert not (place.state / "temporal").exists()
    said = place.dr("doctor", TEMPORAL_CONFIG_FILE=str(profile), TEMPORAL_PROFILE="theirs", **nothing)
    looked_at = [proof["name"] for proof in said.data["proofs"]]
    assert looked_at[:2] == ["stack file", "questions in the stack file"]


def test_without_a_certificate_of_theirs_nobody_comes_in(place: Place, tmp_path: Path) -> None:
    certificate, key = Authority("another authority", tmp_path).issue("stranger")
    stranger = {
        "TEMPORAL_TLS_CLIENT_CERT_PATH": str(certificate),
        "TEMPORAL_TLS_CLIENT_KEY_PATH": str(key),
    }
    said = place.dr("doctor", **stranger)
    assert said.code == 6, said
    assert said.error["code"] == "temporal-unavailable"
    assert "TEMPORAL_TLS" in said.error["hint"]


def test_a_certificate_that_cannot_be_read_is_named(place: Place) -> None:
    said = place.dr("doctor", TEMPORAL_TLS_CLIENT_KEY_PATH="/no/such/key")
    assert said.code == 5, said
    assert said.error["code"] == "temporal-settings"


def test_a_namespace_that_is_not_there_is_not_made(place: Place) -> None:
    said = place.dr("up", TEMPORAL_NAMESPACE="elsewhere")
    assert said.code == 5, said
    assert said.error["code"] == "namespace-missing"
    assert "temporal operator namespace create" in said.error["hint"]

    async def look() -> None:
        client = await place.seen_from_inside()
        await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace="elsewhere"))

    with pytest.raises(RPCError) as error:
        asyncio.run(look())
    assert error.value.status is RPCStatusCode.NOT_FOUND


def test_missing_search_attributes_that_may_not_be_added_are_named_with_the_command(
    place: Place, denied: set[str]
) -> None:
    denied.update({"AddSearchAttributes", "ListSearchAttributes"})
    said = place.dr("up")
    assert said.code == 5, said
    assert said.error["code"] == "search-attributes-missing"
    for name, kind in SEARCH_ATTRIBUTES:
        assert f"--name {name} --type {kind}" in said.error["hint"]


@pytest.mark.long
def test_a_namespace_that_does_not_let_us_in_is_a_refusal_and_not_a_traceback(
    place: Place, denied: set[str]
) -> None:
    denied.update({"DescribeNamespace", "DescribeTaskQueue"})
    for words in (("up",), ("doctor",)):
        said = place.dr(*words)
        assert said.code == 5, said
        assert said.error["code"] == "temporal-denied"
