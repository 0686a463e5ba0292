"""A copy proven by restoring it into a store of its own, and every way in which it can be wrong."""

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from temporalio import activity
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities import entries
from activities.engine import Job
from activities.objects_backup import ObjectBackups
from activities.objects_proof import ObjectsProof
from activities.objects_store import GoneError, ObjectStore
from activities.objects_throwaway import ROLE, Throwaway
from activities.shelf import Shelf
from domain import names
from domain.backups import Level
from domain.entries import Entry
from domain.errors import BackupUnusable, Refused, Unavailable
from domain.names import LABEL_ROLE, LABEL_STACK
from domain.objects_copy import ObjectVersion
from domain.order import Facts, StackOrder
from domain.stack import Stack
from infra.temporal.server import find_program
from tests.faults.record import Seen
from tests.hands.object_store.place import COPIES, Place
from tests.hands.shelved import shelved
from worker.liveness import Liveness
from workflows.catalogue import VerifyBackup
from workflows.objects_backup import ObjectsBackup

pytestmark = pytest.mark.hand


def filled(place: Place) -> None:
    """Have objects with versions, one deleted, one empty, one with a name that is hard to spell."""
    for bucket in ("uploads", "public"):
        place.s3.create_bucket(Bucket=bucket)
        place.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for content in (b"first", b"second", b"third"):
        place.put(
            "uploads", "a/twice.txt", content, ContentType="text/plain", Metadata={"n": str(len(content))}
        )
    place.put("uploads", "deleted", b"was there")
    place.s3.delete_object(Bucket="uploads", Key="deleted")
    place.put("uploads", "naïve ö/ü?+ %2f.bin", bytes(range(256)) * 300)
    place.put("public", "empty", b"")


def level(place: Place, entry: Entry) -> Level:
    return entries.find_entry(place.shelf, entry.id).verified


def nothing_is_left(place: Place) -> bool:
    client, project = place.servers.client, place.servers.project
    made = client.networks.list(filters={"label": f"{LABEL_ROLE}={ROLE}"})
    networks = [network for network in made if project in (network.name or "")]
    volumes = place.engine.volumes(f"{LABEL_STACK}={project}")
    sockets = place.state / "sockets"
    keys = list(sockets.iterdir()) if sockets.is_dir() else []
    return not (place.left() or networks or volumes or keys)


@pytest.mark.parametrize("where", ["place", "far_place"])
def test_a_sound_copy_is_restored_with_all_its_versions_and_holds_what_was_recorded(
    where: str, request: pytest.FixtureRequest
) -> None:
    place: Place = request.getfixturevalue(where)
    filled(place)
    entry = place.copy()
    assert place.read(entry).verified is Level.MANIFEST
    found = place.proven(entry)
    assert found.passed, found.proofs
    assert {proof.name for proof in found.proofs} == {"listing", "uploads", "public"}
    assert level(place, entry) is Level.RESTORED
    assert place.read(entry).verified is Level.RESTORED
    assert nothing_is_left(place)


def test_the_throwaway_store_leads_nowhere_and_shows_no_secret(place: Place) -> None:
    made = Throwaway(place.side, place.state, place.servers.project, "x")
    with made.running(place.target.services[0]) as store:
        assert store.buckets() == []
        raw = place.servers.client.api.inspect_container(made.name)
        network = place.engine.network(made.name)
        password = next((place.state / "sockets").glob("*/password")).read_text()
        assert network is not None
        assert network["Internal"] is True
        assert list(raw["NetworkSettings"]["Networks"]) == [made.name]
        assert not raw["HostConfig"]["PortBindings"]
        assert password not in json.dumps(raw)
    assert nothing_is_left(place)


@pytest.mark.long
def test_what_a_killed_attempt_left_is_removed_and_the_proof_is_made(place: Place) -> None:
    filled(place)
    entry = place.copy()
    made = Throwaway(place.side, place.state, place.servers.project, entry.id)
    place.engine.ensure_volume(made.name, made.labels)
    place.engine.ensure_inner_network(made.name, made.labels)
    job = Job(
        name=made.name, image_id=place.servers.image, command=("server", "/nowhere"), labels=made.labels
    )
    place.engine.ensure_job(job)
    assert place.proven(entry).passed
    assert nothing_is_left(place)


def missing(place: Place, entry: Entry, name: str) -> None:
    place.contents()[name].unlink()


def surplus(place: Place, entry: Entry, name: str) -> None:
    """List one object more than was recorded at the copy; its content is there."""
    listed = place.listing(entry)
    place.relist(entry, [*listed, listed[0].model_copy(update={"key": "a/more", "current": True})])


def other_bytes(place: Place, entry: Entry, name: str) -> None:
    path = place.contents()[name]
    path.write_bytes(path.read_bytes()[:-1] + b"!")


def cut(place: Place, entry: Entry, name: str) -> None:
    path = place.contents()[name]
    path.write_bytes(path.read_bytes()[:-1])


def left_out(place: Place, entry: Entry, name: str) -> None:
    """List one object less."""
    place.relist(entry, [one for one in place.listing(entry) if "naïve" not in one.key])


def older_left_out(place: Place, entry: Entry, name: str) -> None:
    """List one older version less: as many objects are there as before."""
    place.relist(entry, [one for one in place.listing(entry) if one.sha256 != name])


def older_one(place: Place, entry: Entry, name: str) -> None:
    """Let an older version be the current one."""
    listed = place.listing(entry)
    turned = [
        one.model_copy(update={"current": not one.current}) if one.key == "a/twice.txt" else one
        for one in listed
        if not (one.key == "a/twice.txt" and one.sha256 != name and not one.current)
    ]
    assert turned != listed
    place.relist(entry, turned)


@pytest.mark.mutant("M20")
@pytest.mark.parametrize(
    ("mutant", "said"),
    [
        (missing, "is missing"),
        (other_bytes, "has other bytes"),
        (cut, "has other bytes"),
        (surplus, "there, "),
        (left_out, "recorded"),
        (older_left_out, "other content"),
        (older_one, "other"),
    ],
)
def test_an_object_missing_surplus_or_with_other_bytes_turns_the_proof_red(
    place: Place, mutant: Callable[[Place, Entry, str], None], said: str, seen: Seen
) -> None:
    """F-M20: object missing, surplus or with other bytes; that the bucket exists says nothing."""
    filled(place)
    entry = place.copy()
    (name,) = {one.sha256 for one in place.listing(entry) if one.key == "a/twice.txt" and one.bytes == 6}
    mutant(place, entry, name)
    try:
        found = place.proven(entry)
    except BackupUnusable as wrong:
        evidence = wrong.what
    else:
        assert not found.passed
        evidence = found.sentence
    assert said in evidence
    assert level(place, entry) is Level.NONE
    assert nothing_is_left(place)
    seen(evidence)


def test_a_content_that_was_found_damaged_is_brought_again_by_the_next_copy(place: Place) -> None:
    filled(place)
    first = place.copy()
    (name,) = {one.sha256 for one in place.listing(first) if one.key == "a/twice.txt" and one.bytes == 6}
    other_bytes(place, first, name)
    with pytest.raises(BackupUnusable, match="set aside"):
        place.read(first)
    assert f"{name}.damaged" in place.contents()
    assert place.read(place.copy()).verified is Level.MANIFEST
    assert place.read(first).verified is Level.MANIFEST


@pytest.mark.mutant("M20")
def test_a_content_missing_in_the_second_store_is_found_by_reading_and_by_restoring(
    far_place: Place, seen: Seen
) -> None:
    """F-M20: an object is missing in the second store, or has other bytes there."""
    place = far_place
    filled(place)
    entry = place.copy()
    (one, other, *_) = (key for key, size in place.far_keys().items() if "/objects/" in key and size)
    content = place.far.get_object(Bucket=COPIES, Key=one)["Body"].read()
    place.far.put_object(Bucket=COPIES, Key=one, Body=content[:-1] + b"!")
    with pytest.raises(BackupUnusable, match="other bytes") as wrong:
        place.read(entry)
    place.far.put_object(Bucket=COPIES, Key=one, Body=content)
    place.far.delete_object(Bucket=COPIES, Key=other)
    with pytest.raises((BackupUnusable, Refused)) as gone:
        place.proven(entry)
    seen(f"{wrong.value.what}; {gone.value.what}")


@pytest.mark.parametrize("how", ["cannot be read", "is said not to be there"])
def test_a_copy_without_an_object_that_the_store_lists_is_never_proven(
    place: Place, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    place.s3.create_bucket(Bucket="uploads")
    for key in ("sound", "damaged"):
        place.put("uploads", key, key.encode())
    reading = ObjectStore.reading

    def failing(store: ObjectStore, one: ObjectVersion) -> Any:
        if one.key == "damaged" and how == "cannot be read":
            raise Unavailable("the drive does not give it", where=one.name, code="objects-unavailable")
        if one.key == "damaged":
            raise GoneError(one.name)
        return reading(store, one)

    with monkeypatch.context() as patch:
        patch.setattr(ObjectStore, "reading", failing)
        entry = place.copy()
    assert "1 could not be read and are not in it: uploads/damaged" in entry.sentence
    assert "1 versions could not be read" in place.read(entry).sentence
    assert level(place, entry) is Level.NONE, "all that it has is whole, and it has not all"
    found = place.proven(entry)
    assert [proof.name for proof in found.proofs if proof.passed is False] == ["complete"]
    assert not found.passed
    assert level(place, entry) is Level.NONE
    assert place.proven(place.copy()).passed, "a later copy has it"


def test_an_object_that_was_deleted_while_it_was_copied_is_missed_by_nobody(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.s3.create_bucket(Bucket="uploads")
    for key in ("sound", "passing"):
        place.put("uploads", key, key.encode())
    reading = ObjectStore.reading

    def deleting(store: ObjectStore, one: ObjectVersion) -> Any:
        if one.key == "passing":
            place.s3.delete_object(Bucket="uploads", Key="passing", VersionId=one.version)
        return reading(store, one)

    with monkeypatch.context() as patch:
        patch.setattr(ObjectStore, "reading", deleting)
        entry = place.copy()
    assert "could not be read" not in entry.sentence
    assert place.proven(entry).passed


def test_a_store_in_which_nothing_was_is_not_proven(place: Place) -> None:
    place.s3.create_bucket(Bucket="uploads")
    entry = place.copy()
    found = place.proven(entry)
    assert not found.passed
    assert {proof.passed for proof in found.proofs} == {None}
    assert level(place, entry) is Level.MANIFEST


def test_a_changed_listing_is_found_before_anything_is_restored(place: Place) -> None:
    filled(place)
    entry = place.copy()
    listing = place.shelf / entry.path / "listing.jsonl"
    listing.write_bytes(listing.read_bytes().replace(b"a/twice", b"b/twice"))
    with pytest.raises(BackupUnusable, match="other bytes"):
        place.proven(entry)
    assert level(place, entry) is Level.NONE


def test_a_backup_of_another_store_and_a_copy_elsewhere_are_refused(far_place: Place) -> None:
    filled(far_place)
    dump = shelved(far_place.shelf)
    with pytest.raises(Refused, match="is no copy of objects"):
        far_place.proven(dump)
    entry = far_place.copy()
    with pytest.raises(Refused, match="lie elsewhere"):
        Place(far_place.servers, far_place.state, far_place.shelf).proven(entry)
    assert level(far_place, entry) is Level.MANIFEST


async def test_a_run_of_temporal_asked_for_with_nothing_copies_and_verifies(far_place: Place) -> None:
    place = far_place
    await asyncio.to_thread(filled, place)
    target = await asyncio.to_thread(lambda: place.target)
    stack = Stack.model_validate(
        {"stack": "lab", "project": target.project, "services": {}, "backup": {"second_store": place.second}}
    )

    @activity.defn(name="observe_stack")
    def observe(_: StackOrder) -> Facts:
        return Facts(stack=stack, stack_digest="d" * 64, target=target)

    proof, shelf = ObjectsProof(*place.parts()), Shelf()
    hands: list[Any] = [
        observe,
        ObjectBackups(*place.parts()).ensure_objects_backup,
        proof.verify_objects_copy,
        proof.verify_objects_restored,
        shelf.observe_entry,
    ]
    with ThreadPoolExecutor() as threads:
        async with (
            await WorkflowEnvironment.start_local(
                dev_server_existing_path=find_program(),
                data_converter=pydantic_data_converter,
                dev_server_log_level="error",
            ) as made,
            Worker(made.client, task_queue=names.CONTROL_QUEUE, workflows=[ObjectsBackup, VerifyBackup]),
            Worker(
                made.client,
                task_queue=names.host_queue(),
                activities=hands,
                activity_executor=threads,
                interceptors=[Liveness(0.5)],
            ),
        ):
            (entry,) = (await _run(made, ObjectsBackup)).entries
            assert entry.verified is Level.MANIFEST
            assert (await _run(made, VerifyBackup)).entry.id == entry.id
            assert (await _run(made, VerifyBackup, restore=True)).passed
    assert await asyncio.to_thread(level, place, entry) is Level.RESTORED


async def _run(environment: WorkflowEnvironment, workflow: Any, **request: object) -> Any:
    return await environment.client.execute_workflow(
        workflow.run, request, id=f"w/{workflow.__name__}", task_queue=names.CONTROL_QUEUE
    )
