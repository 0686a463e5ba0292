import asyncio
import os
import signal
import socket
import stat
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client

from domain.errors import Refused, Unavailable
from domain.names import SEARCH_ATTRIBUTES
from infra import daemons
from infra.temporal import bootstrap, server
from infra.temporal.server import TemporalSettings
from starter import orchestrator
from worker.connection import ui_address
from worker.settings import Settings


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def settings_in(directory: Path, namespace: str = "default") -> TemporalSettings:
    port, ui, metrics = free_ports(3)
    return TemporalSettings(state=directory, port=port, ui_port=ui, metrics_port=metrics, namespace=namespace)


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[TemporalSettings]:
    made = settings_in(tmp_path)
    yield made
    server.stop(made)


async def connected(settings: TemporalSettings) -> Client:
    endpoint = await asyncio.to_thread(server.ensure_running, settings)
    return await Client.connect(endpoint.address, namespace=endpoint.namespace)


async def retention_of(client: Client) -> timedelta:
    request = DescribeNamespaceRequest(namespace=client.namespace)
    found = await client.workflow_service.describe_namespace(request)
    return found.config.workflow_execution_retention_ttl.ToTimedelta()


async def attributes_of(client: Client) -> set[str]:
    request = ListSearchAttributesRequest(namespace=client.namespace)
    return set((await client.operator_service.list_search_attributes(request)).custom_attributes)


def program_that_says(directory: Path, version: str, then: str = "exit 1") -> Path:
    directory.mkdir()
    program = directory / "temporal"
    program.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && echo "temporal version {version}" && exit 0\n{then}\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def test_a_second_call_finds_the_server_of_the_first(settings: TemporalSettings) -> None:
    assert server.ensure_running(settings) == server.ensure_running(settings)


def test_two_state_directories_have_two_servers(settings: TemporalSettings, tmp_path: Path) -> None:
    other = settings_in(tmp_path / "other")
    first, second = server.ensure_running(settings), server.ensure_running(other)
    assert server.stop(other)
    assert first.pid != second.pid
    assert server.status(settings) == first


def test_links_lead_to_the_server_that_runs_unless_the_settings_name_another_place(
    settings: TemporalSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TEMPORAL_ADDRESS", "TEMPORAL_PROFILE", "TEMPORAL_CONFIG_FILE", "DR_UI_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(settings.state))
    monkeypatch.setenv("DR_STATE", str(settings.state))
    usual = ui_address(Settings())
    server.ensure_running(settings)
    found = orchestrator.link(Settings(), "default", "recovery/lab", "")
    monkeypatch.setenv("DR_UI_ADDRESS", "https://temporal.example.org")
    named = orchestrator.link(Settings(), "default", "recovery/lab", "")
    assert usual == "http://127.0.0.1:8233"
    assert found.startswith(f"http://127.0.0.1:{settings.ui}/namespaces/default/")
    assert named.startswith("https://temporal.example.org/namespaces/default/")


async def test_the_namespace_is_made_ready_and_twice_is_as_good_as_once(settings: TemporalSettings) -> None:
    client = await connected(settings)
    before = await retention_of(client), await attributes_of(client)
    await bootstrap.ensure_namespace(client)
    await bootstrap.ensure_namespace(client)
    ours = {name for name, _ in SEARCH_ATTRIBUTES}
    assert before[0] != timedelta(days=90)
    assert not before[1] & ours
    assert await retention_of(client) == timedelta(days=90)
    assert ours <= await attributes_of(client)


async def test_a_namespace_that_does_not_exist_is_made(settings: TemporalSettings) -> None:
    endpoint = await asyncio.to_thread(server.ensure_running, settings)
    client = await Client.connect(endpoint.address, namespace="elsewhere")
    await bootstrap.ensure_namespace(client)
    assert await retention_of(client) == timedelta(days=90)


async def test_what_was_acknowledged_survives_a_killed_server(settings: TemporalSettings) -> None:
    client = await connected(settings)
    await bootstrap.ensure_namespace(client)
    handle = await client.start_workflow("Anything", id="recovery/lab", task_queue="nobody-polls")
    first = server.status(settings)
    assert first is not None
    os.kill(first.pid, signal.SIGKILL)
    again = await connected(settings)
    second = server.status(settings)
    assert second is not None
    assert second.pid != first.pid
    assert (await again.get_workflow_handle("recovery/lab").describe()).run_id == handle.result_run_id
    assert await retention_of(again) == timedelta(days=90)


async def test_a_namespace_of_its_own_can_be_asked_for(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, namespace="dr-tests")
    try:
        client = await connected(settings)
        assert await retention_of(client) > timedelta(0)
    finally:
        server.stop(settings)


def test_the_server_listens_on_loopback_alone(settings: TemporalSettings) -> None:
    pid = server.ensure_running(settings).pid
    inodes = {
        link.removeprefix("socket:[").removesuffix("]")
        for link in (str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir())
        if link.startswith("socket:[")
    }
    listening = [
        (fields[1].split(":")[0])
        for table in ("tcp", "tcp6")
        for fields in (row.split() for row in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:])
        if fields[3] == "0A" and fields[9] in inodes
    ]
    assert set(listening) == {"0100007F"}


def test_a_database_of_another_version_is_refused_and_left_alone(
    settings: TemporalSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.ensure_running(settings)
    server.stop(settings)
    content = settings.database.read_bytes()
    program = program_that_says(tmp_path / "bin", "9.9.9")
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(Refused, match=r"made by temporal .*, this is 9\.9\.9") as refusal:
        server.ensure_running(settings)
    assert refusal.value.code == "temporal-version-mismatch"
    assert settings.database.read_bytes() == content
    assert server.status(settings) is None


def test_a_database_without_a_recorded_version_is_refused(settings: TemporalSettings) -> None:
    settings.home.mkdir(parents=True)
    settings.database.write_bytes(b"anything")
    with pytest.raises(Refused, match="not recorded"):
        server.ensure_running(settings)


def test_a_taken_port_is_refused_by_number(settings: TemporalSettings) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", settings.port))
        other.listen()
        with pytest.raises(Refused, match=str(settings.port)) as refusal:
            server.ensure_running(settings)
    assert refusal.value.code == "port-taken"


def test_a_server_that_ends_at_once_is_reported_with_its_last_words(
    settings: TemporalSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = program_that_says(tmp_path / "bin", "9.9.9", then="echo the disk is on fire; exit 1")
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(Unavailable, match="the disk is on fire"):
        server.ensure_running(settings)


def test_a_machine_without_temporal_is_told_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("sysconfig.get_path", lambda _scheme: "/nowhere/either")
    with pytest.raises(Refused, match="make setup") as refusal:
        server.find_program()
    assert refusal.value.code == "temporal-missing"


def test_a_server_whose_endpoint_was_never_written_is_replaced(settings: TemporalSettings) -> None:
    lost = server.ensure_running(settings)
    (settings.home / "endpoint").unlink()
    found = server.ensure_running(settings)
    assert found.pid != lost.pid
    assert daemons.recorded(settings.home, "temporal") is not None
