"""Copies against moto's server: what leaves, under which names and parameters, and what stays here."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from activities.sealing import opened_chunks
from domain.errors import BackupUnusable, Refused, VerificationFailed
from domain.offsite_copies import FarManifest, OffsiteOrder
from domain.sealing import HEADER_BYTES, MAGIC, read_header
from tests.faults.record import Seen
from tests.hands.offsite.conftest import Make
from tests.hands.offsite.hostile import Trouble, Weather
from tests.hands.offsite.place import BASE, CANARY, DUMP, MEBI, RDB, SEGMENTS, Place, entry, some_bytes, tree


def content(place: Place, key: str) -> bytes:
    return bytes(place.client.get_object(Bucket=place.bucket, Key=key)["Body"].read())


def manifest(place: Place, entry_id: str, prefix: str) -> FarManifest:
    sealed = content(place, f"copies/lab/{prefix}/{entry_id}/manifest.sealed")
    plain = b"".join(opened_chunks([sealed], place.keys.find, f"lab/{prefix}/{entry_id}"))
    return FarManifest.model_validate_json(plain)


def test_everything_finished_is_copied_and_nothing_else(place: Place) -> None:
    copied = place.copy()
    assert sorted(copied.entries) == sorted([BASE, DUMP, RDB])
    assert copied.segments == len(SEGMENTS) + 1
    far = set(place.far())
    assert {key.split("/")[2] for key in far} == {"postgres", "redis"}
    assert not [key for key in far if any(word in key for word in ("partial", "pgpass", "stranger", "junk"))]
    assert not [key for key in far if "left.tmp" in key]
    assert {
        key.rsplit("/", 1)[-1].removesuffix(".sealed")
        for key in far
        if key.startswith("copies/lab/postgres/wal/")
    } == {*SEGMENTS, "00000002.history"}
    assert [one.id for one in copied.strangers] == ["redis/rdb/a stranger"]


def test_backups_of_another_stack_on_the_shelf_stay_here_and_are_named(place: Place) -> None:
    for store, kind, entry_id, said in (
        ("postgres", "base", BASE, {"stack": "other"}),
        ("redis", "rdb", RDB, {"source": {"stack": "other"}}),
        ("postgres", "daily", DUMP, {"source": {"stack": place.target.stack}}),
    ):
        file = place.shelf / store / kind / entry_id / "dr.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | said))
    made = place.copy()
    assert made.entries == (DUMP,)
    assert not [key for key in place.far() if BASE in key or RDB in key]
    named = {one.id: one.reason for one in made.strangers}
    assert named[f"redis/rdb/{RDB}"] == named[f"postgres/base/{BASE}"]
    assert named[f"redis/rdb/{RDB}"] == f"it is of the stack other, this one is {place.target.stack}"


def test_a_file_that_the_entry_lists_goes_along_whatever_it_is_called(place: Place) -> None:
    place.copy()
    assert place.key_of(BASE, "data/base/5/listed.tmp")
    paths = {file.path for file in manifest(place, BASE, "postgres/base").files}
    assert "data/base/5/junk.tmp" not in paths


def test_nothing_leaves_in_clear(make: Make, weather: tuple[str, Weather]) -> None:
    """Every byte that left is looked at, on the wire and on the far side."""
    endpoint, seen = weather
    place = make(endpoint)
    place.copy()
    objects = [content(place, key) for key in place.far()]
    assert len(objects) > 15
    assert all(one.startswith(MAGIC) for one in objects)
    sent = b"".join(seen.bodies)
    assert len(sent) > 14 * MEBI
    for canary in (CANARY, b"PG_VERSION", b"Checksum-Algorithm", b"no recovery target"):
        assert canary not in sent
        assert not any(canary in one for one in objects)
    assert CANARY in (place.shelf / "postgres" / "daily" / DUMP / "nchat.dump").read_bytes()


@pytest.mark.fault("C12")
def test_something_in_clear_is_stopped_at_the_border(place: Place, seen: Seen) -> None:
    """F-C12: plaintext although encryption was asked for: the place where bytes leave refuses it."""
    bucket = place.side().bucket(OffsiteOrder(target=place.target, policy=place.policy))
    with pytest.raises(Refused, match="offsite-clear-data"):
        bucket.put("copies/lab/x", CANARY, {}, lambda _body, _offset: None)
    seen(f"{len(CANARY)} bytes in clear were given to the bucket of a policy that wants them sealed")
    assert place.far() == {}


def test_copying_again_sends_nothing(make: Make, weather: tuple[str, Weather]) -> None:
    endpoint, seen = weather
    place = make(endpoint)
    place.copy()
    before, sent = place.far(), seen.count("PUT", "") + seen.count("POST", "")
    again = place.copy()
    assert (again.entries, again.segments, again.there) == ((), 0, 3)
    assert place.far() == before
    assert seen.count("PUT", "") + seen.count("POST", "") == sent


def test_the_manifest_comes_last_and_names_every_object(make: Make, weather: tuple[str, Weather]) -> None:
    endpoint, seen = weather
    place = make(endpoint, parallel=1)
    place.copy()
    found = manifest(place, BASE, "postgres/base")
    far = place.far()
    assert {file.key: file.far_bytes for file in found.files}.items() <= far.items()
    assert found.key_id == place.keys.current().id
    assert "data/pg_notify" in found.directories
    puts = [path for method, path in seen.requests if method == "PUT" and BASE in path]
    assert "/manifest." in puts[-1]
    assert not any("/manifest." in path for path in puts[:-1])


def test_a_large_file_goes_in_parts_that_make_the_sealed_whole(place: Place) -> None:
    place.copy()
    key = place.key_of(DUMP, "nchat.dump")
    sealed = content(place, key)
    assert len(sealed) > 12 * MEBI
    plain = b"".join(opened_chunks([sealed], place.keys.find, f"lab/postgres/daily/{DUMP}/nchat.dump"))
    assert plain == (place.shelf / "postgres" / "daily" / DUMP / "nchat.dump").read_bytes()
    (file,) = (one for one in manifest(place, DUMP, "postgres/daily").files if one.key == key)
    assert file.far_bytes == len(sealed)


def test_aws_gets_its_own_parameters(make: Make) -> None:
    place = make(storage_class="STANDARD_IA", sse="aws:kms", kms_key="alias/copies")
    place.copy()
    for key in (place.key_of(RDB, "dump.rdb"), place.key_of(DUMP, "nchat.dump")):
        head = place.client.head_object(Bucket=place.bucket, Key=key)
        assert head["StorageClass"] == "STANDARD_IA"
        assert head["ServerSideEncryption"] == "aws:kms"
        assert head["SSEKMSKeyId"].endswith("alias/copies")
        assert head["Metadata"] == {"dr-key-id": place.keys.current().id}


def test_the_other_encryption_of_the_store_is_asked_for_too(make: Make) -> None:
    place = make(sse="aes256")
    place.copy()
    head = place.client.head_object(Bucket=place.bucket, Key=place.key_of(RDB, "dump.rdb"))
    assert head["ServerSideEncryption"] == "AES256"


def test_the_checksum_is_stated_by_the_far_side(place: Place) -> None:
    copied = place.copy()
    head = place.client.head_object(
        Bucket=place.bucket, Key=place.key_of(RDB, "dump.rdb"), ChecksumMode="ENABLED"
    )
    assert head["ChecksumSHA256"]
    # What is sent in parts may have none there; then it was read back.
    assert copied.read_back <= 2


def test_a_store_without_checksums_is_read_back(make: Make, weather: tuple[str, Weather]) -> None:
    endpoint, seen = weather
    place = make(endpoint)
    seen.without_checksums = True
    copied = place.copy()
    assert copied.read_back == len(place.far())
    assert seen.count("GET", "/manifest[.]sealed") == 3


def test_a_store_without_conditions_is_looked_at_before_each_write(
    make: Make, weather: tuple[str, Weather]
) -> None:
    endpoint, seen = weather
    place = make(endpoint, parallel=1)
    seen.without_conditions = True
    assert len(place.copy().entries) == 3


def test_in_clear_only_when_the_policy_says_so(make: Make) -> None:
    place = make(encrypt=False)
    place.copy()
    assert content(place, f"copies/lab/postgres/wal/0001/{SEGMENTS[0]}").startswith(CANARY)
    assert f"copies/lab/postgres/base/{BASE}/manifest.json" in place.far()


def test_without_a_key_nothing_is_copied(place: Place) -> None:
    for path in place.keys.directory.glob("*.key"):
        path.unlink()
    with pytest.raises(Refused, match="backup-key-missing"):
        place.copy()
    assert place.far() == {}


def test_after_a_rotation_what_was_begun_is_continued_with_the_old_key(
    make: Make, weather: tuple[str, Weather]
) -> None:
    endpoint, seen = weather
    place = make(endpoint, parallel=1)
    seen.troubles.append(Trouble("error", "PUT", f"{RDB}/manifest", times=100))
    with pytest.raises(Exception, match="offsite-unavailable"):
        place.copy()
    old = place.keys.current().id
    place.keys.new(datetime.now(UTC) + timedelta(days=1))
    new = place.keys.current().id
    seen.troubles.clear()
    assert new != old
    assert RDB in place.copy().entries
    assert read_header(content(place, place.key_of(RDB, "dump.rdb"))[:HEADER_BYTES]).key_id == old
    assert manifest(place, RDB, "redis/rdb").key_id == new


@pytest.mark.fault("C13")
def test_what_is_deleted_or_damaged_here_stays_there_as_it_was(place: Place, seen: Seen) -> None:
    """F-C13: off-site sync propagates a deletion or corruption."""
    place.copy()
    before = {key: content(place, key) for key in place.far()}
    for path in (place.shelf / "postgres" / "base" / BASE / "data").rglob("*"):
        if path.is_file():
            path.unlink()
    (place.shelf / "redis" / "rdb" / RDB / "dump.rdb").write_bytes(b"damaged")
    (place.shelf / "postgres" / "wal" / "0001" / SEGMENTS[0]).unlink()
    seen("a base backup, a segment and the content of an RDB file are gone from the shelf")
    place.copy()
    assert {key: content(place, key) for key in place.far()} == before


@pytest.mark.fault("C13")
def test_a_backup_that_rotted_before_its_copy_is_not_sent_and_the_others_are(
    place: Place, seen: Seen
) -> None:
    """F-C13: a flipped byte on the shelf does not become the only copy."""
    path = place.shelf / "postgres" / "base" / BASE / "data" / "base" / "5" / "16384"
    rotten = bytearray(path.read_bytes())
    rotten[100_000] ^= 1
    path.write_bytes(rotten)
    seen("one bit of base/5/16384 is flipped; the manifest of the backup states another digest")
    with pytest.raises(VerificationFailed, match="offsite-incomplete") as failed:
        place.copy()
    assert "16384" in failed.value.what
    far = place.far()
    assert not [key for key in far if f"{BASE}/manifest" in key]
    assert [key for key in far if f"{DUMP}/manifest" in key]
    assert [key for key in far if SEGMENTS[-1] in key]


def test_a_file_that_is_missing_on_the_shelf_makes_no_copy(place: Place) -> None:
    (place.shelf / "postgres" / "base" / BASE / "data" / "PG_VERSION").unlink()
    with pytest.raises(VerificationFailed, match="PG_VERSION is missing"):
        place.copy()
    assert not [key for key in place.far() if BASE in key]


@pytest.mark.fault("K2")
def test_a_link_on_the_shelf_is_not_followed(place: Place, tmp_path: Path, seen: Seen) -> None:
    """F-K2: a symbolic link inside an entry, and one in the place of an entry."""
    outside = tmp_path / "outside"
    outside.write_bytes(b"not for others")
    (place.shelf / "redis" / "rdb" / RDB / "link").symlink_to(outside)
    elsewhere = entry(place, "redis", "aof", "20260301T040000Z-aof", {"aof": b"x"})
    (place.shelf / "redis" / "aof" / "20260301T050000Z-aof").symlink_to(elsewhere)
    (place.shelf / "postgres" / "wal" / "0001" / "00000001000000000000000A").symlink_to(outside)
    seen("three links on the shelf")
    with pytest.raises(VerificationFailed, match="symbolic link"):
        place.copy()
    far = place.far()
    assert not [key for key in far if RDB in key or "T050000Z" in key or key.endswith("00A.sealed")]
    assert not [key for key in far if b"not for others" in content(place, key)]


def test_an_entry_that_lies_about_its_place_is_a_stranger(place: Place) -> None:
    root = entry(place, "redis", "aof", "20260301T040000Z-aof", {"aof": b"x"})
    root.rename(root.with_name("20260301T050000Z-aof"))
    copied = place.copy()
    assert [one.id for one in copied.strangers if "aof" in one.id] == ["redis/aof/20260301T050000Z-aof"]
    assert not [key for key in place.far() if "aof" in key]


def test_an_object_that_somebody_replaced_is_found_and_left_as_it_is(place: Place) -> None:
    key = f"copies/lab/redis/rdb/{RDB}/files/dump.rdb.sealed"
    place.client.put_object(Bucket=place.bucket, Key=key, Body=b"of somebody else")
    with pytest.raises(VerificationFailed, match="offsite-incomplete") as failed:
        place.copy()
    assert "something else under this name" in failed.value.what
    assert content(place, key) == b"of somebody else"
    assert [key for key in place.far() if f"{DUMP}/manifest" in key]


@pytest.mark.parametrize(
    ("method", "name"),
    [("PUT", f"redis/rdb/{RDB}/files/dump.rdb"), ("POST", f"postgres/daily/{DUMP}/files/nchat.dump")],
    ids=["at once", "in parts"],
)
def test_what_somebody_writes_at_the_last_moment_is_not_replaced(
    make: Make, weather: tuple[str, Weather], monkeypatch: pytest.MonkeyPatch, method: str, name: str
) -> None:
    endpoint, seen = weather
    place = make(endpoint, parallel=1)
    key = f"copies/lab/{name}.sealed"
    as_it_was = seen.trouble_for

    def write_first(asked: str, url: str) -> Trouble | None:
        if asked == method and key in url and (method == "PUT" or "uploadId=" in url):
            monkeypatch.undo()
            place.client.put_object(Bucket=place.bucket, Key=key, Body=b"of somebody else")
        return as_it_was(asked, url)

    monkeypatch.setattr(seen, "trouble_for", write_first)
    with pytest.raises(VerificationFailed, match="something else under this name"):
        place.copy()
    assert content(place, key) == b"of somebody else"


def test_odd_names_of_files_come_back_as_they_were(place: Place) -> None:
    odd = {"a file with spaces": b"1", "100%": b"2", "ümläut": b"3", "a+b=c&d": b"4", "#hash?": b"5"}
    entry(place, "stack", "configuration", "20260301T040000Z-configuration", odd)
    place.copy()
    fetched = place.shelf / "stack" / "configuration" / "20260301T040000Z-configuration"
    before = tree(fetched)
    fetched.rename(place.directory / "away")
    place.fetch("20260301T040000Z-configuration")
    assert tree(fetched) == before


def test_an_entry_without_files_is_no_backup(place: Place) -> None:
    entry(place, "hasura", "metadata", "20260301T040000Z-metadata", {})
    with pytest.raises(VerificationFailed, match="it holds no file"):
        place.copy()


def test_a_changed_file_is_noticed_while_it_is_sent(
    make: Make, weather: tuple[str, Weather], monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint, seen = weather
    place = make(endpoint, parallel=1)
    entry(place, "minio", "copy", "20260301T040000Z-copy", {"big": some_bytes(11 * MEBI, 9)})
    path = place.shelf / "minio" / "copy" / "20260301T040000Z-copy" / "big"
    once = seen.trouble_for

    def change(method: str, url: str) -> Trouble | None:
        if method == "PUT" and "partNumber=1" in url and "/minio/" in url:
            with path.open("r+b") as file:
                file.seek(9 * MEBI)
                file.write(b"changed")
        return once(method, url)

    # The moment between two parts.
    monkeypatch.setattr(seen, "trouble_for", change)
    with pytest.raises((VerificationFailed, BackupUnusable), match="changed"):
        place.copy()
    assert not [key for key in place.far() if "minio" in key and "manifest" in key]
