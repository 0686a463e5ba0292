"""The object store copied: versions kept, each content once, nothing mirrored, nothing brought twice."""

import json
from pathlib import Path
from typing import Any

import pytest

from activities import entries
from activities.ledger_journal import LedgerFiles
from activities.ledger_stores import BUCKET as LEDGER
from activities.objects_blobs import FarBlobs, ShelfBlobs
from activities.objects_store import ObjectStore
from domain.backups import Level
from domain.errors import DrError, Refused, Unavailable, VerificationFailed
from domain.objects_copy import PLACE
from domain.objects_policy import RULE_ID
from tests.hands.object_store.place import COPIES, SECRET, Place

pytestmark = pytest.mark.hand


def filled(place: Place) -> None:
    """Have two buckets with a few objects; one was written twice before anybody kept versions."""
    for bucket in ("uploads", "public", LEDGER):
        place.s3.create_bucket(Bucket=bucket)
    place.put("uploads", "a/first.txt", b"first", ContentType="text/plain", Metadata={"owner": "me"})
    place.put("uploads", "a/same.txt", b"first")
    place.put("uploads", "naïve ö/ü?.bin", bytes(range(256)) * 300)
    place.put("public", "empty", b"")
    place.put(LEDGER, "marker/1", b"1")


def rules(place: Place, bucket: str) -> dict[str, dict[str, Any]]:
    found = place.s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    return {one["ID"]: one for one in found}


def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note the objects that are read from the live store."""
    read: list[str] = []
    reading = ObjectStore.reading

    def noted(self: ObjectStore, one: Any) -> Any:
        read.append(one.key)
        return reading(self, one)

    monkeypatch.setattr(ObjectStore, "reading", noted)
    return read


def test_every_bucket_keeps_versions_from_then_on_and_rules_of_others_stay(place: Place) -> None:
    filled(place)
    theirs = {"ID": "tmp", "Status": "Enabled", "Filter": {"Prefix": "tmp/"}, "Expiration": {"Days": 3}}
    place.s3.put_bucket_lifecycle_configuration(Bucket="uploads", LifecycleConfiguration={"Rules": [theirs]})
    said = place.copy(keep_versions=7).sentence
    assert "versioning is on for public, uploads now" in said
    for bucket in ("uploads", "public"):
        assert place.s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
        ours = rules(place, bucket)[RULE_ID]["NoncurrentVersionExpiration"]
        assert ours["NewerNoncurrentVersions"] == 7
    assert rules(place, "uploads")["tmp"]["Expiration"]["Days"] == 3
    assert "now" not in place.copy(keep_versions=7).sentence
    assert "30 older versions are kept in public, uploads now" in place.copy().sentence
    assert len(rules(place, "uploads")) == 2


def test_the_ledgers_own_bucket_is_left_alone(place: Place) -> None:
    filled(place)
    entry = place.copy()
    assert {one.name for one in entries.find_entry(place.shelf, entry.id).held} == {"uploads", "public"}
    assert "Status" not in place.s3.get_bucket_versioning(Bucket=LEDGER)


@pytest.mark.parametrize("where", ["place", "far_place"])
def test_a_copy_costs_what_is_new_and_the_same_content_is_kept_once(
    where: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    place: Place = request.getfixturevalue(where)
    filled(place)
    read = reads(monkeypatch)
    first = place.copy()
    assert first.verified is Level.MANIFEST
    assert sorted(read) == ["a/first.txt", "a/same.txt", "empty", "naïve ö/ü?.bin"]
    kept = place.contents() if where == "place" else [k for k in place.far_keys() if "/objects/" in k]
    assert len(kept) == 3
    read.clear()
    place.put("uploads", "a/first.txt", b"second")
    place.s3.delete_object(Bucket="uploads", Key="a/same.txt")
    second = place.copy()
    assert read == ["a/first.txt"]
    versions = [one for one in place.listing(second) if one.key.startswith("a/")]
    assert [(one.key, one.current, one.deleted) for one in versions] == [
        ("a/first.txt", True, False),
        ("a/first.txt", False, False),
        ("a/same.txt", True, True),
        ("a/same.txt", False, False),
    ]
    assert versions[1].metadata["x-amz-meta-owner"] == "me"
    held = {one.name: one.count for one in entries.find_entry(place.shelf, second.id).held}
    assert held == {"uploads": 2, "public": 1}


def test_a_second_call_with_a_label_returns_the_first_ones_copy(place: Place) -> None:
    filled(place)
    assert place.copy(label="hourly").id == place.copy(label="hourly").id


def test_what_the_store_lost_for_good_stays_in_the_copy(far_place: Place) -> None:
    place = far_place
    filled(place)
    place.copy()
    (gone,) = place.s3.list_object_versions(Bucket="uploads", Prefix="a/first")["Versions"]
    place.s3.delete_object(Bucket="uploads", Key="a/first.txt", VersionId=gone["VersionId"])
    second = place.copy()
    assert "1 versions are kept that the store removed" in second.sentence
    (kept,) = (one for one in place.listing(second) if one.key == "a/first.txt")
    assert kept.gone_since is not None
    assert place.restore(entry_id=second.id, key="a/first.txt", at=kept.modified).restored == 1
    assert place.content("uploads", "a/first.txt") == b"first"


def test_contents_that_no_copy_lists_any_more_leave_the_shelf(place: Place) -> None:
    filled(place)
    first = place.copy()
    (old,) = {one.sha256 for one in place.listing(first) if one.key == "empty"}
    (only,) = place.s3.list_object_versions(Bucket="public")["Versions"]
    place.s3.delete_object(Bucket="public", Key="empty", VersionId=only["VersionId"])
    second = place.copy()
    place.relist(second, [one for one in place.listing(second) if one.sha256 != old])
    assert old in place.contents()
    (place.shelf / first.path).rename(place.shelf / "minio" / "copy" / f".gone-{first.id}")
    place.copy()
    assert old in place.contents(), "what is only set aside may come back"
    (place.shelf / "minio" / "copy" / f".gone-{first.id}").rename(place.state / "away")
    place.copy()
    assert old not in place.contents()
    assert len(place.contents()) == 2


@pytest.mark.parametrize("where", ["place", "far_place"])
def test_a_copy_that_was_cut_off_goes_on_where_it_was(
    where: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    place: Place = request.getfixturevalue(where)
    filled(place)
    for number in range(20):
        place.put("uploads", f"many/{number}", f"content {number}".encode())
    kind = FarBlobs if where == "far_place" else ShelfBlobs
    keep, kept = kind.keep, list[str]()

    def failing(self: Any, path: Path, sha256: str) -> None:
        if len(kept) >= 10:
            raise Unavailable("cut off", code="test-cut")
        keep(self, path, sha256)
        kept.append(sha256)

    with monkeypatch.context() as patch:
        patch.setattr(kind, "keep", failing)
        with pytest.raises(Unavailable, match="cut off"):
            place.copy()
    assert entries.read_entries(place.shelf)[0] == []
    read = reads(monkeypatch)
    entry = place.copy()
    assert 10 <= len(kept) < 24
    assert len(read) == 24 - len(kept)
    assert len(place.listing(entry)) == 24
    assert [one.name for one in (place.shelf / "minio" / "copy").iterdir()] == [entry.id]
    assert list((place.shelf / "minio" / ".incoming").iterdir()) == []


def test_the_second_store_states_the_checksum_of_what_it_holds(far_place: Place) -> None:
    place = far_place
    filled(place)
    entry = place.copy()
    (key,) = (key for key in place.far_keys() if key.endswith(f"copies/{entry.id}/listing.jsonl"))
    assert key.startswith(f"objects-of/{place.servers.project}/")
    for one in place.listing(entry):
        name = f"objects-of/{place.servers.project}/objects/{one.sha256}"
        head = place.far.head_object(Bucket=COPIES, Key=name, ChecksumMode="ENABLED")
        assert head["ContentLength"] == one.bytes
        assert head["ChecksumSHA256"]
    assert place.contents() == {}
    assert SECRET not in (place.shelf / entry.path / PLACE).read_text()
    assert json.loads((place.shelf / entry.path / PLACE).read_text())["place"].endswith(
        f"{COPIES}/objects-of/{place.servers.project}/"
    )


def test_what_was_removed_from_the_second_store_is_brought_again(far_place: Place) -> None:
    place = far_place
    filled(place)
    place.copy()
    (victim, *_) = (key for key in place.far_keys() if "/objects/" in key)
    place.far.delete_object(Bucket=COPIES, Key=victim)
    place.copy()
    assert victim in place.far_keys()


def test_a_content_that_somebody_changed_in_the_second_store_is_left_and_told(far_place: Place) -> None:
    place = far_place
    filled(place)
    place.copy()
    (victim, *_) = (key for key in place.far_keys() if "/objects/" in key)
    place.far.put_object(Bucket=COPIES, Key=victim, Body=b"of somebody else")
    with pytest.raises(VerificationFailed, match="something else under this name") as found:
        place.copy()
    assert found.value.code == "second-store-differs"
    assert place.far.get_object(Bucket=COPIES, Key=victim)["Body"].read() == b"of somebody else"


def test_a_bucket_of_copies_that_is_missing_is_named_with_its_place_in_the_file(place: Place) -> None:
    filled(place)
    with pytest.raises(Refused) as refused:
        place.with_second(bucket="not-there").copy()
    assert refused.value.code == "second-store-bucket-missing"
    assert "backup.second_store" in refused.value.hint


def test_the_store_itself_is_no_second_store(place: Place) -> None:
    filled(place)
    with pytest.raises(Refused, match="second-store-itself"):
        place.with_second(endpoint=f"http://localhost:{place.servers.port}/").copy()
    assert "Status" not in place.s3.get_bucket_versioning(Bucket="uploads")


def test_wrong_keys_are_refused_and_never_shown(far_place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place = far_place
    filled(place)
    wrong = "another-password-of-a-test"
    monkeypatch.setitem(place.side._secrets._environment, "SECOND_SECRET", wrong)
    with pytest.raises(DrError) as refused:
        place.copy()
    assert refused.value.code == "second-store-denied"
    assert wrong not in str(refused.value)


def test_an_excluded_bucket_is_neither_versioned_nor_copied(place: Place) -> None:
    filled(place)
    entry = place.copy(objects={"exclude": ["public"]})
    assert {one.bucket for one in place.listing(entry)} == {"uploads"}
    assert "Status" not in place.s3.get_bucket_versioning(Bucket="public")


def test_while_a_recovery_is_open_no_copy_is_taken(place: Place) -> None:
    filled(place)
    flag = LedgerFiles(place.state, place.servers.project).recovery_open
    flag.parent.mkdir(parents=True)
    flag.write_text("20261122T0000Z-00000000")
    with pytest.raises(Refused, match="recovery-open"):
        place.copy()
