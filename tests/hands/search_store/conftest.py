"""A search engine with data in a named volume, as a Compose project would run it."""

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import docker
import httpx
import pytest

from activities.engine import Engine
from activities.search_backup import SearchBackups
from activities.search_proof import SearchProofs
from activities.search_restore import SearchRestoring
from activities.secrets import Secrets
from activities.tokens import Tokens
from domain.dumps import EntryTargetOrder, RestoreProven
from domain.entries import Entry
from domain.names import COMPOSE_PROJECT, COMPOSE_SERVICE, LABEL_RECOVERY, LABEL_STACK
from domain.order import ServiceTarget, Target, VolumeMount
from domain.search_restore import SearchRestored, SearchRestoreOrder
from domain.stack import Kind
from domain.store_backups import StoreBackupOrder
from tests.hands.chat_stack import until
from tests.hands.images import lab_image
from tests.hands.targets import bare_target
from worker.tools_image import tools_image

KEY = "master-key-of-a-test"
MESSAGES = [{"id": f"m{n:04}", "content": f"message {n}", "updated_at": n} for n in range(250)]
NOTES = [{"id": n, "text": f"note {n}"} for n in range(7)]


@dataclass
class SearchStand:
    """The engine that runs and the hands that protect it."""

    client: docker.DockerClient
    project: str
    shelf: Path
    state: Path
    image: str
    made: list[str] = field(default_factory=list)

    @property
    def engine(self) -> Engine:
        return Engine(self.client)

    @property
    def container(self) -> str:
        (found,) = self.engine.find(self.project, "meilisearch")
        return found.id

    @property
    def target(self) -> Target:
        raw = self.client.api.inspect_container(self.container)
        service = ServiceTarget(
            name="meilisearch",
            kind=Kind.SEARCH,
            container_id=raw["Id"],
            container_name=raw["Name"].lstrip("/"),
            image=raw["Config"]["Image"],
            image_id=raw["Image"],
            state=raw["State"]["Status"],
            restart_policy=raw["HostConfig"]["RestartPolicy"]["Name"] or "no",
            volumes=tuple(
                VolumeMount(volume=mount["Name"], path=mount["Destination"])
                for mount in raw["Mounts"]
                if mount["Type"] == "volume"
            ),
            port=7700,
            secrets={"master_key": "container:meilisearch:MEILI_MASTER_KEY"},
        )
        return bare_target(self.shelf, service, stack=self.project, project=self.project)

    def ask(self, method: str, path: str, json: object = None) -> Any:
        """Ask the engine, as somebody with its key."""
        networks = self.client.api.inspect_container(self.container)["NetworkSettings"]["Networks"]
        (address,) = [network["IPAddress"] for network in networks.values()]
        said = httpx.request(
            method,
            f"http://{address}:7700{path}",
            json=json,
            headers={"Authorization": f"Bearer {KEY}"},
            timeout=20,
            trust_env=False,
        )
        return said.raise_for_status().json()

    def done(self, method: str, path: str, json: object = None) -> None:
        """Have a task done."""
        number = self.ask(method, path, json)["taskUid"]

        def ended() -> None:
            assert self.ask("GET", f"/tasks/{number}")["status"] == "succeeded"

        until(ended)

    def answers(self) -> None:
        """Wait until it answers."""
        until(lambda: self.ask("GET", "/version"))

    def count(self, index: str) -> int:
        return int(self.ask("GET", f"/indexes/{index}/stats")["numberOfDocuments"])

    @property
    def backups(self) -> SearchBackups:
        return SearchBackups(self.engine, Secrets(self.engine), Tokens(self.state), self.state)

    def back_up(self, label: str = "") -> dict[str, Entry]:
        """Take a backup; return its entries by kind."""
        order = StoreBackupOrder(target=self.target, label=label or secrets.token_hex(4))
        return {entry.kind: entry for entry in self.backups.ensure_search_backup(order).entries}

    def verify(self, entry: Entry) -> RestoreProven:
        hand = SearchProofs(self.engine, Tokens(self.state), self.state)
        return hand.verify_search_restored(EntryTargetOrder(target=self.target, entry_id=entry.id))

    def restore(self, entry: Entry, recovery: str) -> SearchRestored:
        tools = tools_image(self.client, "")
        hand = SearchRestoring(self.engine, Secrets(self.engine), Tokens(self.state), self.state, tools)
        order = SearchRestoreOrder(target=self.target, entry_id=entry.id, recovery_id=recovery)
        self.made.append(recovery)
        return hand.ensure_search_restored(order)

    def left(self) -> list[str]:
        """Return the containers and volumes that hands made and did not remove."""
        label = f"{LABEL_STACK}={self.project}"
        found = self.client.containers.list(all=True, filters={"label": label})
        volumes = self.client.volumes.list(filters={"label": label})
        return [*(str(one.name) for one in found), *(str(one.name) for one in volumes)]


@contextmanager
def running_search(client: docker.DockerClient, place: Path, version: str = "") -> Iterator[SearchStand]:
    """Start an engine with documents, give it out, and remove all that was made for it."""
    project = f"drtest-{secrets.token_hex(4)}"
    image = lab_image(client, "meilisearch")
    stand = SearchStand(client, project, place / "shelf", place / "state", image)
    stand.shelf.mkdir()
    stand.state.mkdir()
    try:
        start_search(stand, version)
        stand.done("POST", "/indexes/messages/documents?primaryKey=id", MESSAGES)
        stand.done("POST", "/indexes/notes/documents?primaryKey=id", NOTES)
        stand.done("POST", "/indexes/dr_marker/documents?primaryKey=n", [{"n": 1}])
        yield stand
    finally:
        remove_all(stand)


def start_search(stand: SearchStand, version: str = "") -> None:
    """Start the engine's container, of another version if that is wanted."""
    client, project = stand.client, stand.project
    client.networks.create(f"{project}_default", labels={COMPOSE_PROJECT: project})
    client.volumes.create(f"{project}_meilisearch_data", labels={COMPOSE_PROJECT: project})
    client.containers.run(
        of_version(stand, version) if version else stand.image,
        name=f"{project}-meilisearch",
        detach=True,
        environment={
            "MEILI_MASTER_KEY": KEY,
            "MEILI_DB_PATH": "/meili_data",
            "MEILI_SNAPSHOT_DIR": "/meili_data/snapshots",
            "MEILI_DUMP_DIR": "/meili_data/dumps",
        },
        labels={
            COMPOSE_PROJECT: project,
            COMPOSE_SERVICE: "meilisearch",
            "com.docker.compose.oneoff": "False",
        },
        network=f"{project}_default",
        restart_policy=cast("Any", {"Name": "unless-stopped"}),
        volumes={f"{project}_meilisearch_data": {"bind": "/meili_data", "mode": "rw"}},
    )
    stand.answers()


def of_version(stand: SearchStand, version: str) -> str:
    """Return an image of the stand-in that says that it is of this version."""
    made = stand.client.containers.create(stand.image, ["true"])
    try:
        changed = made.commit(
            repository=f"{stand.project}-search",
            changes=[f"ENV LAB_MEILI_VERSION={version}", "CMD []"],
        )
    finally:
        made.remove(force=True)
    return str(changed.id)


def remove_all(stand: SearchStand) -> None:
    """Remove what the test and the hands made."""
    client = stand.client
    wanted = [f"{COMPOSE_PROJECT}={stand.project}", f"{LABEL_STACK}={stand.project}"]
    wanted += [f"{LABEL_RECOVERY}={one}" for one in stand.made]
    for label in wanted:
        for container in client.containers.list(all=True, filters={"label": label}):
            container.remove(force=True, v=True)
    for label in wanted:
        for volume in client.volumes.list(filters={"label": label}):
            volume.remove(force=True)
        for network in client.networks.list(filters={"label": label}):
            network.remove()
    for image in client.images.list(f"{stand.project}-search"):
        client.images.remove(str(image.id), force=True)


@pytest.fixture
def search(client: docker.DockerClient) -> Iterator[SearchStand]:
    """Start an engine of this test alone."""
    with tempfile.TemporaryDirectory(prefix="dr-") as place, running_search(client, Path(place)) as stand:
        yield stand
