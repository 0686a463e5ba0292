"""Containers, labels and logs of somebody else: their words are no commands, their secrets stay theirs."""

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import docker
import pytest

from activities.containers import Containers
from activities.engine import Engine
from activities.postgres.release import Releasing
from activities.probes import Probes
from activities.tokens import Tokens
from domain.errors import Refused
from domain.names import COMPOSE_PROJECT, COMPOSE_SERVICE, LABEL_RECOVERY, LABEL_ROLE, LABEL_STACK
from domain.order import ServiceTarget, StackOrder
from domain.recovery import ServicesOrder
from domain.release import ReleaseOrder
from domain.stack import Kind
from tests.faults.record import Seen
from tests.hands.hostile.planted import target_on

pytestmark = pytest.mark.timeout(180)

NAMES = [
    "x; touch /tmp/dr-pwned",
    "$(touch /tmp/dr-pwned)",
    "`touch /tmp/dr-pwned`",
    "../images/json",
    "../volumes/x",
    "--privileged",
    "-h evil",
    "a/b",
    "",
]
RECOVERY = "20261122T0430Z-abcd1234"


class Yard:
    """Containers of a project of this test alone."""

    def __init__(self, client: docker.DockerClient, image: str) -> None:
        self.client, self.image = client, image
        self.project = f"hostile-{secrets.token_hex(3)}"
        self.made: list[str] = []

    def container(
        self,
        script: str = "sleep infinity",
        *,
        run: bool = True,
        labels: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> str:
        """Make a container, and start it unless told not to."""
        found = self.client.api.create_container(
            self.image,
            ["-c", script],
            entrypoint=["sh"],
            labels={
                COMPOSE_PROJECT: self.project,
                "com.docker.compose.oneoff": "False",
                **(labels or {}),
            },
            environment=dict(environment or {}),
            host_config=self.client.api.create_host_config(network_mode="none", init=True),
        )
        self.made.append(found["Id"])
        if run:
            self.client.api.start(found["Id"])
        return str(found["Id"])


@pytest.fixture
def yard(client: docker.DockerClient, image_id: str) -> Iterator[Yard]:
    made = Yard(client, image_id)
    try:
        yield made
    finally:
        for one in made.made:
            client.api.remove_container(one, force=True, v=True)


def service(container: str) -> ServiceTarget:
    return ServiceTarget(
        name="app",
        kind=Kind.OTHER,
        container_id=container,
        container_name="app",
        image="x",
        image_id="sha256:1",
        state="exited",
    )


def evidence(engine: Engine, container: str) -> str:
    """Return what a probe says of a container that ended."""
    deadline = time.monotonic() + 60
    while (found := engine.look(container)) is not None and found.status != "exited":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return Probes(engine).probe(target_on("/srv/shelf"), service(container)).evidence


@pytest.mark.fault("K3")
@pytest.mark.fault("K4")
@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_nothing_but_a_name_reaches_dockers_addresses(engine: Engine, name: str, seen: Seen) -> None:
    """F-K3, F-K4: commands, options and paths in the place of a container, a volume or an image."""
    before = {image["Id"] for image in engine._client.api.images()}
    acts: list[Callable[[str], object]] = [
        engine.look,
        engine.start,
        engine.remove,
        engine.volume,
        engine.remove_volume,
        engine.logs,
        engine.kill,
        lambda one: engine.stop(one, 1),
        lambda one: engine.set_restart(one, "no"),
        lambda one: engine.run(one, ("true",)),
        lambda one: engine.ensure_volume(one, {}),
    ]
    for act in acts:
        with pytest.raises(Refused) as refused:
            act(name)
        assert refused.value.code == "docker-name"
        seen(refused.value.what)
    assert {image["Id"] for image in engine._client.api.images()} == before
    assert not Path("/tmp/dr-pwned").exists()  # noqa: S108 - what the command would have made


@pytest.mark.fault("K3")
@pytest.mark.fault("K4")
@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("POSTGRES_USER", 'x" trust\nhost all all all trust'),
        ("POSTGRES_USER", "-h evil"),
        ("POSTGRESQL_USERNAME", "a'b"),
        ("POSTGRES_USER", "\x1b[31m"),
        ("POSTGRES_USER_FILE", "/run/secrets/account"),
    ],
    ids=ascii,
)
def test_an_account_in_a_containers_environment_is_a_name_or_refused(
    yard: Yard, engine: Engine, tmp_path: Path, variable: str, value: str, seen: Seen
) -> None:
    """F-K3, F-K4: POSTGRES_USER, which stands in argument lists and in pg_hba.conf."""
    volume = yard.client.api.create_volume(f"{yard.project}_data", labels={COMPOSE_PROJECT: yard.project})
    try:
        yard.made.append(
            yard.client.api.create_container(
                yard.image,
                labels={
                    COMPOSE_PROJECT: yard.project,
                    COMPOSE_SERVICE: "postgres",
                    "com.docker.compose.oneoff": "False",
                },
                user="999:999",
                environment={variable: value},
                host_config=yard.client.api.create_host_config(
                    binds=[f"{volume['Name']}:/var/lib/postgresql/data:rw"]
                ),
            )["Id"]
        )
        file = tmp_path / "shop.yaml"
        file.write_text(
            f"stack: shop\nproject: {yard.project}\nservices:\n  postgres:\n    kind: postgres\n"
            "journey:\n  entrance: postgres\n"
        )
        hand = Containers(engine, {"shop": file}, "shop", tmp_path)
        with pytest.raises(Refused) as refused:
            hand.observe_stack(StackOrder(recovery_id=RECOVERY))
        assert (refused.value.code, refused.value.where) == ("account-unusable", variable)
    finally:
        for one in yard.made:
            yard.client.api.remove_container(one, force=True, v=True)
        yard.made.clear()
        yard.client.api.remove_volume(volume["Name"])
    seen(refused.value.what)


@pytest.mark.fault("K3")
def test_a_label_of_a_recovery_on_somebody_elses_container_and_volume_releases_nothing(
    yard: Yard, engine: Engine, tmp_path: Path, seen: Seen
) -> None:
    """F-K3: labels of ours, written by others on what is theirs."""
    labels = {LABEL_RECOVERY: RECOVERY, LABEL_STACK: "shop", LABEL_ROLE: "keeper"}
    container = yard.container(labels=labels, run=False)
    volume = yard.client.api.create_volume(f"{yard.project}_theirs", labels=labels)["Name"]
    try:
        releasing = Releasing(engine, Tokens(tmp_path), tmp_path)
        with pytest.raises(Refused) as refused:
            releasing.ensure_released(ReleaseOrder(release_of=RECOVERY))
        assert refused.value.code == "nothing-kept"
        assert engine.look(container) is not None
        assert engine.volume(volume) is not None
        for name in ("../../x", "*", "", "dr"):
            with pytest.raises(Refused):
                releasing.ensure_released(ReleaseOrder(release_of=name))
    finally:
        yard.client.api.remove_volume(volume)
    seen(refused.value.what)


@pytest.mark.fault("K6")
@pytest.mark.fault("K8")
def test_the_last_line_of_a_log_is_quoted_on_one_line_without_escapes(
    yard: Yard, engine: Engine, seen: Seen
) -> None:
    """F-K6, F-K8: escape sequences, direction marks and markup in the log of a service that ended."""
    said = r"printf 'ok\n\033[2J\033]0;owned\007 \342\200\256 ![x](http://evil/i) \377 {{7*7}}\n'"
    quoted = evidence(engine, yard.container(said))
    assert quoted.isprintable()
    assert "\\x1b[2J" in quoted
    assert "\\u202e" in quoted
    assert "{{7*7}}" in quoted
    seen(quoted)


@pytest.mark.fault("K6")
def test_a_line_of_ten_megabytes_is_quoted_by_its_beginning(yard: Yard, engine: Engine, seen: Seen) -> None:
    """F-K6: a 10 MB line in the log of a service."""
    quoted = evidence(engine, yard.container("head -c 10000000 /dev/zero | tr '\\0' x; echo"))
    assert 0 < len(quoted) < 2100
    seen(f"{len(quoted)} characters of it")


@pytest.mark.parametrize(
    ("line", "secret"),
    [
        ("connecting to postgres://app:S3cret-of-a-dsn@db:5432/x", "S3cret-of-a-dsn"),
        ("starting with password=S3cret-in-a-setting", "S3cret-in-a-setting"),
        ("the value is Bare-Secret-17 and nothing says so", "Bare-Secret-17"),
        ("key 0123456789abcdef0123 was refused", "0123456789abcdef0123"),
    ],
)
def test_a_secret_in_the_log_of_a_service_is_not_quoted(
    yard: Yard, engine: Engine, line: str, secret: str
) -> None:
    environment = {
        "APP_PASSWORD": "Bare-Secret-17",
        "JWT_SECRET": '{"type":"HS256","key":"0123456789abcdef0123"}',
    }
    container = yard.container(f"echo '{line}'", environment=environment)
    quoted = evidence(engine, container)
    assert "***" in quoted
    assert secret not in quoted
    assert not {"Bare-Secret-17", "0123456789abcdef0123"} & set(engine.logs(container, tail="all").split())


def test_a_service_of_the_project_with_a_name_like_a_command_is_no_command(
    yard: Yard, engine: Engine
) -> None:
    container = yard.container(labels={COMPOSE_SERVICE: "$(touch /tmp/dr-pwned); x"})
    (found,) = engine.find(yard.project)
    assert found.id == container
    sentence = ServicesOrder(target=target_on("/srv/shelf"), services=(found.labels[COMPOSE_SERVICE],))
    assert sentence.services == ("$(touch /tmp/dr-pwned); x",)
    assert not Path("/tmp/dr-pwned").exists()  # noqa: S108 - what the command would have made
