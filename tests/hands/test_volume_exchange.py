"""The data of a service exchanged with restored data, on a service that does nothing but be there."""

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import docker
import pytest

from activities.engine import Engine, Job
from activities.records import Records
from activities.volume_exchange import KIND, VolumeExchange
from activities.volume_pair import Ready
from domain.errors import Refused, Unavailable
from domain.names import LABEL_RECOVERY, LABEL_STACK
from domain.order import ServiceTarget, TargetOrder
from domain.stack import Kind
from tests.hands.hostile.planted import target_on
from worker.tools_image import tools_image

RID = "20261122T0530Z-5ca1ab1e"
ASLEEP = ("sleep", "600")
NEVER = Ready("exit 22")


class DeadError(BaseException):
    """The worker is no more."""


@dataclass
class Stand:
    """A service with data in a volume, and restored data in another one."""

    client: docker.DockerClient
    image: str
    stack: str
    state: Path

    def __post_init__(self) -> None:
        self.engine = Engine(self.client)
        self.container, self.live = f"{self.stack}-store", f"{self.stack}_data"
        self.restored = f"dr-{RID}-{self.stack}-1"

    def make(self) -> None:
        """Make the volumes, and have the service run on one of them."""
        for volume, content in ((self.live, "old"), (self.restored, "restored")):
            self.client.volumes.create(volume, labels={LABEL_STACK: self.stack, LABEL_RECOVERY: RID})
            (self.data(volume) / "content").write_text(content)
        self.start(*ASLEEP)

    def start(self, *command: str) -> None:
        """Have the service run this command, in the place of another one."""
        self.engine.remove(self.container, force=True)
        self.client.containers.run(
            self.image,
            entrypoint=list(command),
            name=self.container,
            detach=True,
            init=True,
            labels={LABEL_STACK: self.stack},
            restart_policy=cast("Any", {"Name": "unless-stopped"}),
            volumes={self.live: {"bind": "/data", "mode": "rw"}},
        )

    def beside(self, volume: str) -> str:
        """Have somebody else run on a volume; return the id of the container."""
        made = self.client.containers.run(
            self.image,
            entrypoint=list(ASLEEP),
            detach=True,
            init=True,
            labels={LABEL_STACK: self.stack},
            volumes={volume: {"bind": "/mnt", "mode": "ro"}},
        )
        return str(made.id)

    @property
    def exchange(self) -> VolumeExchange:
        raw = self.client.api.inspect_container(self.container)
        service = ServiceTarget(
            name=self.stack,
            kind=Kind.OTHER,
            container_id=raw["Id"],
            container_name=self.container,
            image=raw["Config"]["Image"],
            image_id=raw["Image"],
            state=raw["State"]["Status"],
            restart_policy="unless-stopped",
        )
        order = TargetOrder(recovery_id=RID, target=target_on(str(self.state), self.stack))
        return VolumeExchange(self.engine, Records(self.state), self.image, order, service)

    def data(self, volume: str) -> Path:
        return Path(self.client.api.inspect_volume(volume)["Mountpoint"])

    def contents(self) -> tuple[str, str]:
        """Return what is in the live volume and in the other one."""
        live, other = (self.data(volume) / "content" for volume in (self.live, self.restored))
        return live.read_text(), other.read_text()

    def seen(self) -> tuple[str, str]:
        """Return the state of the service and whether Docker starts it by itself."""
        raw = self.client.api.inspect_container(self.container)
        return raw["State"]["Status"], raw["HostConfig"]["RestartPolicy"]["Name"]

    def exchanged(self) -> dict[str, Any]:
        return self.exchange.ensure_exchanged(self.live, self.restored)

    def read(self) -> str:
        """Return what the service sees of its data."""
        return self.engine.run(self.container, ("cat", "/data/content")).output

    def serve(self, answer: Callable[[], str] | None = None) -> str:
        return self.exchange.serve(
            answer or self.read,
            lambda why: Unavailable(f"it does not come up: {why}", code="store-not-up"),
            limit_seconds=60,
        )

    def started(self) -> str:
        return str(self.client.api.inspect_container(self.container)["State"]["StartedAt"])

    def remove(self) -> None:
        label: dict[str, str | list[str] | bool] = {"label": f"{LABEL_STACK}={self.stack}"}
        for container in self.client.containers.list(all=True, filters=label):
            container.remove(force=True, v=True)
        for volume in self.client.volumes.list(filters=label):
            volume.remove(force=True)


@pytest.fixture
def stand(client: docker.DockerClient, tmp_path: Path) -> Iterator[Stand]:
    image = tools_image(client, "")
    if not image:
        pytest.skip("no image dr-tools: build the product's images first")
    made = Stand(client, image, f"drtest-{secrets.token_hex(4)}", tmp_path)
    try:
        made.make()
        yield made
    finally:
        made.remove()


def test_the_data_change_places_once_and_the_service_runs_on_the_restored_ones(stand: Stand) -> None:
    record = stand.exchanged()
    assert (stand.contents(), stand.seen()) == (("restored", "old"), ("exited", "no"))
    assert (record["kept_bytes"] > 0, stand.exchange.done()) == (True, record)
    assert stand.serve() == "restored"
    assert stand.seen() == ("running", "unless-stopped")
    keeper = stand.engine.look(stand.exchange.keeper)
    assert keeper is not None
    assert (keeper.status, [mount["Name"] for mount in keeper.raw["Mounts"]]) == ("created", [stand.restored])
    started = stand.started()
    assert stand.exchanged() == record
    assert stand.serve() == "restored"
    assert stand.started() == started


def test_docker_does_not_start_the_service_while_its_data_change_places(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    follow = Engine.follow
    seen: list[tuple[str, str]] = []

    def dying(self: Engine, job: Job, *given: Any, **named: Any) -> Any:
        if not job.name.endswith("-swap"):
            return follow(self, job, *given, **named)
        seen.append(stand.seen())
        raise DeadError

    monkeypatch.setattr(Engine, "follow", dying)
    with pytest.raises(DeadError):
        stand.exchanged()
    monkeypatch.undo()
    assert (seen, stand.contents()) == ([("exited", "no")], ("old", "restored"))
    assert stand.exchange.done() is None
    stand.exchanged()
    assert (stand.serve(), stand.seen()) == ("restored", ("running", "unless-stopped"))


def test_a_worker_that_died_after_the_exchange_does_not_put_the_damage_back(stand: Stand) -> None:
    record = stand.exchanged()
    half = {key: value for key, value in record.items() if key != "kept_bytes"}
    Records(stand.state).write(KIND, f"{RID}-{stand.stack}", half)
    assert stand.exchange.done() is None
    assert stand.exchanged() == record
    assert stand.contents() == ("restored", "old")


@pytest.mark.parametrize("which", ["live", "restored"])
def test_somebody_else_on_one_of_the_volumes_is_refused_before_the_service_stops(
    stand: Stand, which: str
) -> None:
    other = stand.beside(getattr(stand, which))
    with pytest.raises(Refused) as refused:
        stand.exchanged()
    assert (refused.value.code, stand.contents()) == ("volume-in-use", ("old", "restored"))
    assert stand.seen() == ("running", "unless-stopped")
    stand.engine.remove(other, force=True)
    stand.exchanged()
    assert stand.serve() == "restored"


def test_a_directory_that_is_not_the_recorded_one_is_not_exchanged(stand: Stand) -> None:
    with pytest.raises(Refused):
        stand.exchange.ensure_exchanged(stand.live, stand.restored, NEVER)
    strange = stand.data(stand.restored)
    strange.rename(strange.with_name("aside"))
    strange.mkdir()
    (strange / "content").write_text("strange")
    with pytest.raises(Refused) as refused:
        stand.exchanged()
    assert (refused.value.code, stand.contents()) == ("swap-strange", ("old", "strange"))


def test_what_a_store_refuses_at_the_last_moment_and_an_empty_directory_do_not_go_live(stand: Stand) -> None:
    picky = Ready('[ -e "$restored/$1" ] || exit 22', ("marker",))
    with pytest.raises(Refused) as refused:
        stand.exchange.ensure_exchanged(stand.live, stand.restored, picky)
    assert (refused.value.code, stand.contents()) == ("swap-unfit", ("old", "restored"))
    (stand.data(stand.restored) / "content").unlink()
    with pytest.raises(Refused) as empty:
        stand.exchanged()
    assert empty.value.code == "swap-unfit"
    assert (stand.data(stand.live) / "content").read_text() == "old"


def test_another_attempt_with_other_restored_data_goes_on_where_nothing_was_exchanged(stand: Stand) -> None:
    with pytest.raises(Refused):
        stand.exchange.ensure_exchanged(stand.live, stand.restored, NEVER)
    second = f"dr-{RID}-{stand.stack}-2"
    stand.client.volumes.create(second, labels={LABEL_STACK: stand.stack, LABEL_RECOVERY: RID})
    (stand.data(second) / "content").write_text("second")
    stand.exchange.ensure_exchanged(stand.live, second)
    assert stand.serve() == "second"
    with pytest.raises(Refused) as refused:
        stand.exchanged()
    assert (refused.value.code, stand.serve()) == ("swap-strange", "second")


def test_a_service_that_ends_instead_of_answering_is_told_and_not_started_again_by_docker(
    stand: Stand,
) -> None:
    stand.start("false")
    stand.exchanged()

    def answer() -> str:
        raise Unavailable("no answer", code="store-silent")

    with pytest.raises(Unavailable, match="no answer") as told:
        stand.serve(answer)
    assert told.value.code == "store-not-up"
    assert stand.seen() == ("exited", "no")
