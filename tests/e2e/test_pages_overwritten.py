"""Pages of the messages' table are overwritten under a server that goes on answering."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import docker.models.containers
import pytest

from activities.faults import Injected
from domain.names import COMPOSE_PROJECT, COMPOSE_SERVICE
from tests.e2e.stand import Said, Stand
from tests.e2e.witness import Host, Users

NUMBER = (int, float)
STORES = ("postgres", "redis", "objects", "search")


@dataclass(frozen=True)
class Story:
    """One whole recovery with what was seen on the way."""

    damage: Injected
    report: dict[str, Any]
    acknowledged: list[str]
    served_between: int
    """Messages acknowledged after the damage was proven and before the decision."""
    before: dict[str, tuple[str, ...]]
    at_the_gate: dict[str, tuple[str, ...]]
    approval: Said
    kept_before: list[str]


@pytest.fixture(scope="module")
def bystander(lab_stand: Stand) -> Iterator[docker.models.containers.Container]:
    """A container of another compose project whose service has the name of the server's."""
    labels = {COMPOSE_PROJECT: f"other-{lab_stand.name}", COMPOSE_SERVICE: "postgres"}
    image = lab_stand.lab.container("postgres").attrs["Image"]
    container = lab_stand.client.containers.run(
        image,
        ["sleep", "infinity"],
        entrypoint=[],
        labels=labels,
        detach=True,
        init=True,
        network_mode="none",
    )
    container.reload()
    try:
        yield container
    finally:
        container.remove(force=True, v=True)


@pytest.fixture(scope="module")
def story(lab_stand: Stand, bystander: docker.models.containers.Container) -> Story:
    host = Host(lab_stand.client, lab_stand.lab, lab_stand.name)
    kept_before = host.kept()
    with Users(lab_stand.lab) as users:
        damage = lab_stand.damage_pages()
        before = host.services()
        run_id = lab_stand.recover()
        lab_stand.wait("gate")
        at_the_gate = host.services()
        approval = lab_stand.approve()
        report = lab_stand.to_the_end(run_id)
    decided = next(mark["at"] for mark in report["marks"] if mark["name"] == "decided")
    served = users.between(damage.proven_at, datetime.fromisoformat(decided))
    return Story(damage, report, users.ids(), served, before, at_the_gate, approval, kept_before)


def test_overwritten_pages_are_recovered_without_losing_a_marker(story: Story) -> None:
    report = story.report
    assert report["outcome"] == "recovered", report["rule"]
    assert report["loss"]["postgres"]["markers_lost"] == 0
    assert report["loss"]["postgres"]["seconds"] == 0
    assert report["loss"]["postgres"]["markers_acknowledged"] > 0
    failed = [check for check in report["checks"] if check["passed"] is False]
    assert not failed


def test_the_server_answered_until_people_had_decided(story: Story) -> None:
    assert story.at_the_gate == story.before
    assert story.served_between > 0
    assert story.approval.data["counted"] is True


def test_every_acknowledged_message_is_there_afterwards(story: Story, lab_stand: Stand) -> None:
    query = "SELECT count(*) FROM nchat_messages WHERE id = ANY(%s::uuid[])"
    assert story.acknowledged
    assert lab_stand.sql(query, story.acknowledged) == [(len(story.acknowledged),)]


def test_the_damaged_table_reads_to_its_end_again(story: Story, lab_stand: Stand) -> None:
    schema, table = story.damage.table.split(".")
    rows = lab_stand.sql(f"SELECT count(t) FROM {schema}.{table} t")[0][0]  # noqa: S608 - names of our own
    assert rows > len(story.acknowledged)


def test_the_downtime_was_measured_and_is_shorter_than_the_recovery(story: Story) -> None:
    report = story.report
    assert isinstance(report["downtime_seconds"], NUMBER)
    assert 0 < report["downtime_seconds"] <= report["rto_seconds"]
    assert report["waiting_on_people_seconds"] > 0


def test_the_report_has_every_field_of_the_fixed_interface(story: Story, lab_stand: Stand) -> None:
    report = story.report
    for name in ("run_id", "workflow_id", "recovery_id", "rule", "link"):
        assert isinstance(report[name], str), name
        assert report[name], name
    assert report["stack"] == lab_stand.name
    assert report["scenario"] == "database_corruption"
    assert report["mode"] == "real"
    assert report["workflow_id"] == f"recovery/{lab_stand.name}"
    # The stack file promises 30 minutes and 5 minutes.
    assert report["rto_objective_seconds"] == 1800
    assert report["rpo_objective_seconds"] == 300
    assert isinstance(report["rto_seconds"], NUMBER)
    assert isinstance(report["skew_seconds"], NUMBER)
    assert isinstance(report["interruptions_survived"], list)
    for store in STORES:
        loss = report["loss"][store]
        assert isinstance(loss["markers_lost"], int), store
        assert isinstance(loss["markers_acknowledged"], int), store
        assert isinstance(loss["seconds"], NUMBER), store


def test_checks_and_steps_of_the_report_are_complete(story: Story) -> None:
    report = story.report
    assert report["checks"]
    for check in report["checks"]:
        assert isinstance(check["name"], str)
        assert isinstance(check["passed"], bool | None)
        assert isinstance(check["evidence"], str)
    names = [step["id"] for step in report["steps"]]
    wanted = ["assess_corruption", "choose_backup", "ensure_restored", "verify_copy", "ensure_swapped_in"]
    assert [name for name in names if name in wanted] == wanted
    for step in report["steps"]:
        assert isinstance(step["title"], str)
        assert isinstance(step["attempts"], int)
        assert step["workers"], step["id"]
        assert datetime.fromisoformat(step["started_at"]).tzinfo is not None
        assert isinstance(step["seconds"], NUMBER)
        assert step["outcome"] == "done"
        assert step["sentence"], step["id"]


def test_the_old_data_is_kept_aside_in_exactly_one_volume(story: Story, host: Host) -> None:
    (kept,) = story.report["kept_aside"]
    assert kept["release_command"] == f"dr release {story.report['recovery_id']}"
    assert kept["bytes"] > 0
    mine = [name for name in host.kept() if story.report["recovery_id"] in name]
    assert mine == [kept["volume"]]
    assert set(host.kept()) - set(story.kept_before) == {kept["volume"]}


def test_nothing_of_the_recovery_runs_on(story: Story, host: Host) -> None:
    assert host.leftovers() == []


def test_a_server_of_another_project_is_never_touched(
    story: Story, bystander: docker.models.containers.Container
) -> None:
    started = bystander.attrs["State"]["StartedAt"]
    bystander.reload()
    assert bystander.attrs["State"]["Status"] == "running"
    assert bystander.attrs["State"]["StartedAt"] == started
    assert bystander.attrs["RestartCount"] == 0
    assert story.report["outcome"] == "recovered"


def test_a_release_removes_the_kept_volume_with_its_keeper_and_nothing_else(
    story: Story, stand: Stand, host: Host
) -> None:
    recovery = story.report["recovery_id"]
    kept = story.report["kept_aside"][0]["volume"]
    volumes, ours, services = host.volumes(), host.ours(), host.services()
    keeper = f"dr-{recovery}-keeper"
    assert keeper in ours
    said = stand.dr("release", recovery, "--yes")
    assert said.code == 0, said
    assert said.data["volumes"] == [kept]
    assert host.volumes() == [name for name in volumes if name != kept]
    assert host.ours() == {name: role for name, role in ours.items() if name != keeper}
    assert host.services() == services
