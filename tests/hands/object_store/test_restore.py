"""Objects brought back into the live store: from a copy, or from its own older versions."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from activities.objects_proof import ObjectsProof
from domain.errors import BackupUnusable, Refused
from tests.faults.record import Seen
from tests.hands.object_store.place import Place

pytestmark = pytest.mark.hand

BEFORE = datetime(2020, 1, 1, tzinfo=UTC)


def filled(place: Place, *, versioned: bool = True) -> None:
    place.s3.create_bucket(Bucket="uploads")
    if versioned:
        place.s3.put_bucket_versioning(Bucket="uploads", VersioningConfiguration={"Status": "Enabled"})
    for number in range(4):
        place.put("uploads", f"a/{number}", f"content {number}".encode(), Metadata={"n": str(number)})
    place.put("uploads", "b/0", b"beside")


def versions(place: Place, key: str) -> int:
    return len(place.s3.list_object_versions(Bucket="uploads", Prefix=key).get("Versions") or [])


@pytest.mark.parametrize("where", ["place", "far_place"])
def test_what_is_missing_or_other_comes_back_from_a_copy_as_a_new_version(
    where: str, request: pytest.FixtureRequest
) -> None:
    place: Place = request.getfixturevalue(where)
    filled(place)
    entry = place.copy()
    place.s3.delete_object(Bucket="uploads", Key="a/0")
    place.put("uploads", "a/1", b"overwritten")
    place.put("uploads", "a/2", b"CONTENT 2")  # of the same length
    place.put("uploads", "a/new", b"since then")
    found = place.restore(entry_id=entry.id)
    assert found.restored_names == ("a/0", "a/1", "a/2")
    assert (found.looked_at, found.same, found.surplus_names) == (5, 2, ("a/new",))
    assert [place.content("uploads", f"a/{n}") for n in range(4)] == [
        f"content {n}".encode() for n in range(4)
    ]
    assert place.s3.head_object(Bucket="uploads", Key="a/0")["Metadata"] == {"n": "0"}
    assert place.content("uploads", "a/new") == b"since then"
    # What was there lies under it.
    assert versions(place, "a/1") == 3
    again = place.restore(entry_id=entry.id)
    assert (again.restored, again.same) == (0, 5)
    assert versions(place, "a/1") == 3


def test_a_prefix_or_one_object_comes_back_and_nothing_beside_it(place: Place) -> None:
    filled(place)
    entry = place.copy()
    for key in ("a/0", "a/1", "b/0"):
        place.s3.delete_object(Bucket="uploads", Key=key)
    assert place.restore(entry_id=entry.id, key="a/0").restored_names == ("a/0",)
    assert place.keys("uploads") == ["a/0", "a/2", "a/3"]
    assert place.restore(entry_id=entry.id, prefix="b/").restored_names == ("b/0",)
    assert place.keys("uploads") == ["a/0", "a/2", "a/3", "b/0"]


def test_a_bucket_that_is_gone_comes_back_and_keeps_versions(place: Place) -> None:
    filled(place)
    entry = place.copy()
    place.servers.empty()
    assert place.restore(entry_id=entry.id).restored == 5
    assert place.content("uploads", "a/3") == b"content 3"
    assert place.s3.get_bucket_versioning(Bucket="uploads")["Status"] == "Enabled"


def test_a_bucket_is_brought_back_to_an_instant_by_its_own_versions(place: Place) -> None:
    filled(place)
    then = place.put("uploads", "a/0", b"the good one")
    place.put("uploads", "a/0", b"the bad one")
    place.s3.delete_object(Bucket="uploads", Key="a/1")
    found = place.restore(at=then)
    assert sorted(found.restored_names) == ["a/0", "a/1"]
    assert place.content("uploads", "a/0") == b"the good one"
    assert place.content("uploads", "a/1") == b"content 1"
    assert place.s3.head_object(Bucket="uploads", Key="a/1")["Metadata"] == {"n": "1"}
    assert place.restore(at=then).restored == 0
    with pytest.raises(Refused, match="objects-not-there"):
        place.restore(at=BEFORE)


def test_an_instant_can_be_taken_from_a_copy_too(place: Place) -> None:
    filled(place)
    then = place.put("uploads", "a/0", b"the good one")
    place.put("uploads", "a/0", b"the bad one")
    entry = place.copy()
    place.servers.empty()
    assert place.restore(entry_id=entry.id, key="a/0", at=then).restored == 1
    assert place.content("uploads", "a/0") == b"the good one"
    assert place.restore(entry_id=entry.id, key="a/0", at=then + timedelta(days=1)).restored == 1
    assert place.content("uploads", "a/0") == b"the bad one"


def test_an_object_that_is_damaged_on_the_drive_is_found_and_brought_back(place: Place) -> None:
    filled(place)
    content = bytes(range(256)) * 4096
    place.put("uploads", "a/large", content)
    entry = place.copy()
    damage(place, "a/large")
    with pytest.raises(Exception, match=r"(?i)error|read|incomplete|closed|status"):
        place.content("uploads", "a/large")
    found = place.restore(entry_id=entry.id)
    assert found.restored_names == ("a/large",)
    assert place.content("uploads", "a/large") == content


def damage(place: Place, key: str) -> None:
    """Overwrite the middle of an object's file below the server."""
    raw = place.servers.client.api.inspect_container(place.servers.container)
    drive = Path(raw["Mounts"][0]["Source"])
    (part,) = (drive / "uploads" / key).glob("*/part.1")
    with part.open("r+b") as file:
        file.seek(100_000)
        file.write(b"damaged " * 1000)


@pytest.mark.fault("J8")
def test_a_live_drive_that_was_copied_as_files_is_refused_and_nothing_is_written(
    place: Place, seen: Seen
) -> None:
    """F-J8: the drive of the live server was copied as files and put on the shelf as if it were a copy."""
    filled(place)
    entry = place.copy()
    raw = place.servers.client.api.inspect_container(place.servers.container)
    planted = "20261122T020000Z-copy"
    where = place.shelf / "minio" / "copy" / planted
    shutil.copytree(Path(raw["Mounts"][0]["Source"]), where)
    assert list(where.rglob("xl.meta"))
    said = refused(place, planted)
    # With an entry that vouches for it, it is still what it is.
    whole = (place.shelf / entry.path / "dr.json").read_text()
    (where / "dr.json").write_text(whole.replace(entry.id, planted))
    assert refused(place, planted) == said
    assert place.restore(entry_id=entry.id).same == 5
    seen(said)


def refused(place: Place, entry_id: str) -> str:
    place.s3.delete_object(Bucket="uploads", Key="a/0")
    with pytest.raises(Refused) as restoring:
        place.restore(entry_id=entry_id)
    with pytest.raises(Refused) as proving:
        ObjectsProof(*place.parts()).verify_objects_restored(place.proof_order(entry_id))
    assert {restoring.value.code, proving.value.code} == {"objects-drive-copied"}
    assert "a/0" not in place.keys("uploads")
    place.put("uploads", "a/0", b"content 0")
    return restoring.value.what.replace(entry_id, "it")


@pytest.mark.fault("J8")
def test_a_bucket_without_versions_is_refused_as_the_source_and_the_copy_turns_them_on(
    place: Place, seen: Seen
) -> None:
    """F-J8: versioning is off, so that there is no earlier state to go back to."""
    filled(place, versioned=False)
    place.put("uploads", "a/0", b"overwritten")
    with pytest.raises(Refused) as nothing:
        place.restore(at=datetime.now(UTC))
    assert nothing.value.code == "objects-not-versioned"
    assert "dr backup now minio" in nothing.value.hint
    entry = place.copy()
    place.s3.delete_object(Bucket="uploads", Key="a/0")
    assert place.restore(entry_id=entry.id).restored_names == ("a/0",)
    then = place.put("uploads", "a/1", b"kept from now on")
    place.put("uploads", "a/1", b"by mistake")
    assert place.restore(at=then).restored_names == ("a/1",)
    seen(f"{nothing.value.what}; after the copy it was possible")


def test_a_copy_without_one_of_its_contents_is_refused_before_anything_is_written(place: Place) -> None:
    filled(place)
    entry = place.copy()
    (lost,) = (one for one in place.listing(entry) if one.key == "a/3")
    place.contents()[lost.sha256].unlink()
    for key in ("a/0", "a/3"):
        place.s3.delete_object(Bucket="uploads", Key=key)
    with pytest.raises(BackupUnusable, match="missing or cut off, the first of uploads/a/3"):
        place.restore(entry_id=entry.id)
    assert place.keys("uploads") == ["a/1", "a/2", "b/0"]
    assert place.restore(entry_id=entry.id, key="a/0").restored == 1


def test_what_never_was_there_is_said(place: Place) -> None:
    filled(place)
    entry = place.copy()
    with pytest.raises(Refused, match="objects-not-there"):
        place.restore(entry_id=entry.id, prefix="nothing/")
    with pytest.raises(Refused, match="objects-not-there"):
        place.restore(bucket="another", at=BEFORE)
