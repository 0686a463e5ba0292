from pathlib import Path

import pytest

from activities.containers import Containers
from domain.errors import Refused
from domain.order import Facts, StackOrder, TargetOrder
from tests.faults.record import Seen
from tests.hands.chat_stack import ChatStack, remove_project, start_part


def observe(chat: ChatStack, *replaced: tuple[str, str], stack: str = "lab") -> Facts:
    """Resolve the stack by a file in which some texts are replaced."""
    text = chat.file.read_text()
    for old, new in replaced:
        assert old in text
        text = text.replace(old, new)
    changed = chat.directory / "changed.yaml"
    changed.write_text(text)
    hand = Containers(chat.engine, {"lab": changed}, "lab", chat.directory / "state")
    return hand.observe_stack(StackOrder(stack=stack, recovery_id=chat.project))


def test_the_stack_is_resolved_by_its_labels(chat: ChatStack) -> None:
    facts = observe(chat)
    server = facts.target.postgres
    assert {service.name for service in facts.target.services} == set(facts.stack.services)
    assert (server.uid, server.gid) == (999, 999)
    assert server.volume == f"{chat.project}_postgres_data"
    assert server.pgdata == server.mount_path == "/var/lib/postgresql/data"
    assert server.host_port == chat.port("postgres")
    assert server.arguments[:2] == ("-c", "max_connections=80")
    assert facts.target.service("auth").depends_on == ("postgres", "hasura")
    assert facts.target.service("redis").restart_policy == "unless-stopped"
    assert facts.target.shelf == str(chat.directory / "state" / "shelf")
    assert facts.code_version


def test_the_graph_of_the_stack_file_overrides_the_labels(chat: ChatStack) -> None:
    facts = observe(chat, ("    kind: auth\n", "    kind: auth\n    depends_on: [redis]\n"))
    assert facts.target.service("auth").depends_on == ("redis",)


def test_a_stopped_server_is_described_just_as_a_running_one(chat: ChatStack) -> None:
    running = observe(chat).target.postgres
    chat.client.api.stop(chat.container("postgres"), timeout=20)
    try:
        stopped = observe(chat).target.postgres
    finally:
        chat.client.api.start(chat.container("postgres"))
    assert stopped == running
    assert chat.engine.look(f"dr-{chat.project}-owner") is None


def test_an_unknown_stack_is_refused_with_the_known_ones(chat: ChatStack) -> None:
    with pytest.raises(Refused, match="known here: lab") as error:
        observe(chat, stack="elsewhere")
    assert error.value.code == "stack-unknown"


def test_an_unreadable_stack_file_is_refused(chat: ChatStack, tmp_path: Path) -> None:
    hand = Containers(chat.engine, {"lab": tmp_path / "absent.yaml"}, "lab", tmp_path)
    with pytest.raises(Refused) as error:
        hand.observe_stack(StackOrder())
    assert error.value.code == "stack-file"


def test_a_missing_service_is_refused_and_an_optional_one_is_not_configured(chat: ChatStack) -> None:
    more = "services:\n  typesense: {kind: other}\n"
    with pytest.raises(Refused, match="no container is service typesense") as error:
        observe(chat, ("services:\n", more))
    assert error.value.code == "service-missing"
    facts = observe(chat, ("services:\n", more.replace("other}", "other, optional: true}")))
    assert "not configured: typesense" in facts.sentence


@pytest.mark.fault("B3")
def test_a_container_of_the_right_name_from_another_project_is_refused(chat: ChatStack, seen: Seen) -> None:
    """F-B3: a container of the right name exists and is of another project, found by label or by override."""
    other = f"{chat.project}x"
    name = f"{chat.project}-chat_cache"
    started = start_part(chat, "redis", project=other, name=name)
    try:
        seen(f"{name} of project {other} runs")
        with pytest.raises(Refused, match=f"belongs to project {other}") as error:
            observe(chat, ("services:\n", "services:\n  cache: {kind: redis}\n"))
        assert error.value.code == "target-foreign"
        with pytest.raises(Refused) as error:
            observe(chat, ("    kind: redis\n", f"    kind: redis\n    container: {name}\n"))
        assert error.value.code == "target-foreign"
        assert chat.client.api.inspect_container(started)["State"]["Running"]
    finally:
        remove_project(chat.client, other)


def test_two_containers_of_one_service_are_refused(chat: ChatStack) -> None:
    second = start_part(chat, "redis", name=f"{chat.project}-second")
    try:
        with pytest.raises(Refused) as error:
            observe(chat)
        assert error.value.code == "service-ambiguous"
    finally:
        chat.client.api.remove_container(second, force=True, v=True)


def test_data_outside_of_a_volume_is_refused(chat: ChatStack) -> None:
    with pytest.raises(Refused) as error:
        observe(
            chat,
            ("    kind: postgres\n", "    kind: other\n"),
            ("    kind: redis\n", "    kind: postgres\n"),
        )
    assert error.value.code == "pgdata-not-in-volume"


def test_every_service_proves_its_health_in_its_own_protocol(chat: ChatStack) -> None:
    judged = Containers(chat.engine, {}, "", chat.directory).observe_health(
        TargetOrder(target=observe(chat).target)
    )
    assert judged.passed
    assert len(judged.proofs) == 8


def test_a_service_that_is_down_is_named_with_its_exit_code(chat: ChatStack) -> None:
    target = observe(chat).target
    chat.client.api.kill(chat.container("redis"))
    try:
        judged = Containers(chat.engine, {}, "", chat.directory).observe_health(TargetOrder(target=target))
    finally:
        chat.client.api.start(chat.container("redis"))
    assert not judged.passed
    (proof,) = [proof for proof in judged.proofs if proof.name == "redis"]
    assert proof.passed is False
    assert "exit code 137" in proof.evidence


def test_a_wrong_password_is_not_health(chat: ChatStack) -> None:
    target = observe(chat, ("container:redis:REDIS_PASSWORD", "container:minio:MINIO_ROOT_USER")).target
    judged = Containers(chat.engine, {}, "", chat.directory).observe_health(TargetOrder(target=target))
    assert [proof.name for proof in judged.proofs if not proof.passed] == ["redis"]
