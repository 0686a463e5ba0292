"""F-B3: a name proves nothing; what a hand acts on is shown by id, labels, image and mounts."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest

from activities.engine import Job
from activities.postgres.sql import Sql
from activities.secrets import Secrets
from activities.services import Services
from activities.tokens import Tokens
from domain.errors import Refused
from domain.names import COMPOSE_PROJECT, LABEL_RECOVERY, container_name
from domain.order import Target, VolumeMount
from domain.recovery import ServicesOrder
from tests.faults.record import Seen
from tests.hands.chat_stack import ChatStack
from tests.hands.faults_at_hands.planting import SLEEPS, plant, planted, resolved
from tests.hands.postgres.conftest import PGDATA, Server
from tests.hands.postgres.scene import Scene


@dataclass(frozen=True)
class Plant:
    """What a planted container has of the real one, and what it has not."""

    image: str = ""
    volume: str = ""
    project: str = ""


@contextmanager
def in_its_place(server: Server, plant: Plant) -> Iterator[Target]:
    """Put the real server aside, and a container of its name, service and ports' owner in its place."""
    api, real = server.client.api, server.target.postgres
    raw = api.inspect_container(real.container_id)
    api.stop(real.container_id, timeout=20)
    api.rename(real.container_id, f"{real.container_name}_aside")
    labels = {**raw["Config"]["Labels"]}
    labels[COMPOSE_PROJECT] = plant.project or labels[COMPOSE_PROJECT]
    volume = plant.volume or real.volume
    made = server.client.containers.create(
        plant.image or real.image_id,
        list(SLEEPS),
        entrypoint=[],
        name=real.container_name,
        labels=labels,
        volumes={volume: {"bind": PGDATA, "mode": "rw"}},
        init=True,
    )
    made.start()
    try:
        # Even when it is found by its name or labels, and its id is taken for the real one's.
        yield server.target.model_copy(
            update={"postgres": real.model_copy(update={"container_id": str(made.id)})}
        )
        made.reload()
        assert made.status == "running", "what was planted is left alone"
        assert made.attrs["HostConfig"]["RestartPolicy"]["Name"] in {"", "no"}
    finally:
        made.remove(force=True, v=False)
        api.rename(real.container_id, real.container_name)
        if plant.volume:
            server.client.volumes.get(plant.volume).remove(force=True)


def other_image(client: docker.DockerClient) -> str:
    found = client.api.images(name="dr-lab/redis")
    if not found:
        pytest.skip("no image dr-lab/redis: build the lab's images first")
    return str(found[0]["Id"])


@pytest.mark.fault("B3")
@pytest.mark.parametrize("what", ["image", "volume", "project"])
def test_a_container_of_the_servers_name_with_another_image_volume_or_project_is_refused_by_every_hand(
    scene: Scene, what: str, seen: Seen
) -> None:
    """F-B3: a container of the right name exists with another image, volume or project."""
    plant = {
        "image": Plant(image=other_image(scene.server.client)),
        "volume": Plant(volume=f"{scene.target.project}_other_data"),
        "project": Plant(project=f"{scene.target.project}x"),
    }[what]
    scene.restore()
    inodes = (scene.inode(scene.target.postgres.volume), scene.inode(_restored(scene)))
    with in_its_place(scene.server, plant) as mistaken:
        found = scene.engine.look(scene.target.postgres.container_name)
        assert found is not None
        assert found.id != scene.target.postgres.container_id
        seen(f"{found.name} is now {found.image_id[7:19]} of project {found.labels[COMPOSE_PROJECT]}")
        scene.target = mistaken
        dangerous: list[Callable[[], object]] = [
            scene.fence,
            lambda: scene.swap(_restored(scene)),
            scene.serve,
        ]
        for act in dangerous:
            with pytest.raises(Refused, match="is not the container that was resolved") as refused:
                act()
            assert refused.value.code == "target-changed"
            assert {"image": "image", "volume": "mount", "project": "project"}[what] in refused.value.what
    assert (scene.inode(scene.server.target.postgres.volume), scene.inode(_restored(scene))) == inodes


def _restored(scene: Scene) -> str:
    return container_name(scene.rid, "postgres-1")


@pytest.mark.fault("B3", at_length=True)
@pytest.mark.parametrize("what", ["image", "volume"])
def test_a_container_with_the_name_and_labels_of_a_job_is_the_job_only_with_its_image_and_volumes(
    scene: Scene, what: str, seen: Seen
) -> None:
    """F-B3: a container with the name and the labels of one of our own jobs, of another image or volume."""
    engine, real = scene.engine, scene.target.postgres
    job = Job(
        name=container_name(scene.rid, "restore"),
        image_id=real.image_id,
        entrypoint=("sleep",),
        command=("infinity",),
        binds={real.volume: f"{PGDATA}:ro"},
        labels={LABEL_RECOVERY: scene.rid},
    )
    image = other_image(scene.server.client) if what == "image" else real.image_id
    volume = real.volume if what == "image" else f"{scene.target.project}_other_data"
    made = scene.server.client.containers.create(
        image,
        list(SLEEPS),
        entrypoint=[],
        name=job.name,
        labels={LABEL_RECOVERY: scene.rid},
        volumes=[f"{volume}:{PGDATA}:ro"],
        init=True,
    )
    try:
        seen(f"{made.name} has another {what}")
        with pytest.raises(Refused, match=f"it has (an)?other {what}") as refused:
            engine.ensure_job(job)
        assert refused.value.code == "name-taken"
        made.reload()
        assert made.status == "created"
    finally:
        made.remove(force=True, v=False)
        if volume != real.volume:
            scene.server.client.volumes.get(volume).remove(force=True)


# -- services ---------------------------------------------------------------------------------------------


def services(chat: ChatStack, tmp_path: Path) -> Services:
    secrets = Secrets(chat.engine)
    return Services(chat.engine, secrets, Sql(secrets), Tokens(tmp_path), tmp_path, healthy_within_seconds=5)


@pytest.mark.fault("B3")
@pytest.mark.parametrize("what", ["image", "volumes"])
def test_a_service_that_was_made_anew_otherwise_is_refused_and_not_started(
    chat: ChatStack, tmp_path: Path, what: str, seen: Seen
) -> None:
    """F-B3: during a run a service's container was exchanged for one of another image or volume."""
    name = f"{chat.project}_cache"
    kept = {name: {"bind": "/data", "mode": "rw"}}
    first = plant(chat, "cache", volumes=kept, start=False)
    target = resolved(chat, {"cache": "kind: other"})
    assert target.service("cache").volumes == (VolumeMount(volume=name, path="/data"),)
    chat.client.api.remove_container(first)
    if what == "image":
        second = plant(chat, "cache", volumes=kept, start=False, image="hasura")
    else:
        second = plant(chat, "cache", start=False)
    order = ServicesOrder(target=target, recovery_id="r", services=("cache",))
    with planted(chat, second):
        seen(f"container {second[:12]} of service cache stands where {first[:12]} was")
        with pytest.raises(Refused, match=f"made anew and has (an)?other {what}") as refused:
            services(chat, tmp_path).ensure_services_started(order)
        assert refused.value.code == "target-changed"
        assert chat.status("cache") == "created"
    # The same one again is taken: docker compose makes containers anew.
    third = plant(chat, "cache", volumes=kept, start=False)
    with planted(chat, third):
        assert services(chat, tmp_path).ensure_services_started(order).services == ("cache",)
        assert chat.status("cache") == "running"
    chat.client.volumes.get(name).remove()
