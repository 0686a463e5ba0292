"""A search engine brought back from its backups; its old data stay aside."""

import tempfile
from pathlib import Path
from typing import Any

import docker
import pytest

from activities.engine import Engine, Job
from activities.entries import find_entry, write_entry
from activities.postgres.release import Releasing
from activities.search_copy import SearchCopy
from activities.search_place import place_of_search, search_of
from activities.tokens import Tokens
from domain.backups import spoken_bytes
from domain.entries import Entry
from domain.errors import BackupUnusable, Refused
from domain.names import LABEL_STACK
from domain.release import DiscardOrder, ReleaseOrder
from tests.faults.record import Seen
from tests.hands.search_store.conftest import MESSAGES, SearchStand, running_search

pytestmark = pytest.mark.timeout(300)
RID = "20261122T0430Z-abcdef01"


def lose(stand: SearchStand) -> None:
    stand.done("POST", "/indexes/messages/documents/delete-batch", [one["id"] for one in MESSAGES[:200]])
    stand.done("DELETE", "/indexes/notes")
    assert stand.count("messages") == 50


@pytest.mark.parametrize("kind", ["snapshot", "dump"])
def test_lost_documents_come_back_and_the_data_until_then_are_kept_until_they_are_released(
    search: SearchStand, kind: str
) -> None:
    taken = search.back_up()
    lose(search)
    found = search.restore(taken[kind], RID)
    search.answers()
    assert (search.count("messages"), search.count("notes")) == (250, 7)
    started = search.client.api.inspect_container(search.container)["State"]["StartedAt"]
    assert search.restore(taken[kind], RID) == found, "a second call does nothing again"
    assert search.client.api.inspect_container(search.container)["State"]["StartedAt"] == started

    releasing = Releasing(search.engine, Tokens(search.state), search.state)
    releasing.ensure_discarded(DiscardOrder(target=search.target, recovery_id=RID))
    assert search.engine.volume(found.kept_volume) is not None, "what is kept is never discarded"
    old = search.client.containers.run(
        search.image,
        ["-c", "ls /old"],
        entrypoint="sh",
        remove=True,
        volumes={found.kept_volume: {"bind": "/old", "mode": "ro"}},
    )
    assert b"documents.db" in old
    released = releasing.ensure_released(ReleaseOrder(release_of=RID))
    assert released.bytes > 0
    assert f"({spoken_bytes(released.bytes)})" in released.sentence
    assert search.engine.volume(found.kept_volume) is None
    assert search.count("messages") == 250


class DeadError(BaseException):
    """The worker is no more."""


def test_a_worker_that_dies_while_the_data_are_exchanged_leaves_no_engine_that_docker_starts(
    search: SearchStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = search.back_up()["snapshot"]
    lose(search)
    follow = Engine.follow

    def dying(self: Engine, job: Job, *given: Any, **named: Any) -> Any:
        if job.name.endswith("-swap"):
            raise DeadError
        return follow(self, job, *given, **named)

    monkeypatch.setattr(Engine, "follow", dying)
    with pytest.raises(DeadError):
        search.restore(taken, RID)
    monkeypatch.undo()
    assert policy_and_state(search) == ("no", "exited")
    search.restore(taken, RID)
    assert policy_and_state(search) == ("unless-stopped", "running")
    assert (search.count("messages"), search.count("notes")) == (250, 7)


def policy_and_state(stand: SearchStand) -> tuple[str, str]:
    raw = stand.client.api.inspect_container(stand.container)
    return raw["HostConfig"]["RestartPolicy"]["Name"], raw["State"]["Status"]


@pytest.mark.fault("J10")
def test_a_dump_crosses_versions_where_a_snapshot_is_refused_by_the_engine_itself(
    client: docker.DockerClient, search: SearchStand, seen: Seen
) -> None:
    """F-J10: search snapshot of another version."""
    taken = search.back_up()
    with (
        tempfile.TemporaryDirectory(prefix="dr-") as place,
        running_search(client, Path(place), version="1.7.0") as newer,
    ):
        newer.shelf.rmdir()
        newer.shelf.symlink_to(search.shelf)
        newer.shelf = search.shelf
        for entry in (find_entry(search.shelf, one.id) for one in taken.values()):
            # One stack whose engine was replaced by a newer one; here it is a stand of its own.
            source = entry.source.model_copy(update={"stack": newer.target.stack})
            write_entry(search.shelf / entry.path, entry.model_copy(update={"source": source}))
        with pytest.raises(BackupUnusable) as naive:
            loaded(newer, taken["snapshot"])
        seen(f"the engine says: {naive.value.what}")
        assert "incompatible" in naive.value.what
        with pytest.raises(Refused) as error:
            newer.restore(taken["snapshot"], RID)
        assert error.value.code == "search-version"
        assert taken["dump"].id in error.value.hint
        newer.done("DELETE", "/indexes/messages")
        newer.restore(taken["dump"], RID)
        newer.answers()
        assert newer.count("messages") == 250
        assert newer.ask("GET", "/version")["pkgVersion"] == "1.7.0"
        assert newer.verify(taken["dump"]).passed


def loaded(stand: SearchStand, entry: Entry) -> None:
    """Load a backup without asking whether it fits."""
    place = place_of_search(stand.engine, stand.target, search_of(stand.target))
    copy = SearchCopy(stand.engine, place, f"dr-{stand.project}-naive", {LABEL_STACK: stand.project})
    try:
        copy.load(stand.shelf / entry.path, entry)
    finally:
        copy.remove()


@pytest.mark.fault("J10")
def test_nothing_is_imported_over_data_that_are_there(search: SearchStand, seen: Seen) -> None:
    """F-J10: import over existing data."""
    entry = search.back_up()["snapshot"]
    naive = search.client.containers.run(
        search.image,
        ["--import-snapshot", "/meili_data/snapshots/meili_data.snapshot"],
        detach=True,
        environment={"MEILI_DB_PATH": "/meili_data"},
        volumes={f"{search.project}_meilisearch_data": {"bind": "/meili_data", "mode": "rw"}},
    )
    try:
        assert naive.wait()["StatusCode"] == 1
        seen(f"the engine ends: {naive.logs().decode().strip()}")
        assert b"already exists" in naive.logs()
    finally:
        naive.remove(force=True)
    place = place_of_search(search.engine, search.target, search_of(search.target))
    name = f"dr-{search.project}-full"
    search.engine.ensure_volume(name, {LABEL_STACK: search.project})
    search.client.containers.run(
        search.image,
        ["-c", "echo mine >/meili_data/mine"],
        entrypoint="sh",
        user="0:0",
        remove=True,
        volumes={name: {"bind": "/meili_data", "mode": "rw"}},
    )
    copy = SearchCopy(search.engine, place, name, {LABEL_STACK: search.project})
    with pytest.raises(Refused) as error:
        copy.load(search.shelf / entry.path, entry)
    assert error.value.code == "search-not-empty"
    assert "rebuild the index from SQL" in error.value.hint
    copy.remove()


def test_a_damaged_backup_is_refused_before_anything_stops(search: SearchStand) -> None:
    entry = search.back_up()["snapshot"]
    file = search.shelf / entry.path / "search.snapshot"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    before = search.client.api.inspect_container(search.container)["State"]["StartedAt"]
    with pytest.raises(BackupUnusable):
        search.restore(entry, RID)
    assert search.client.api.inspect_container(search.container)["State"]["StartedAt"] == before
    assert search.left() == []
