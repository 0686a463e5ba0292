"""A real MinIO in the place of the far store: what moto only imitates."""

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import httpx
import pytest

from domain.errors import Refused, Unavailable, VerificationFailed
from domain.offsite_copies import OffsiteOrder
from tests.faults.harness.network import FaultyNetwork
from tests.faults.record import Seen
from tests.hands.chat_stack import PASSWORD, until
from tests.hands.images import lab_image
from tests.hands.offsite.conftest import Make
from tests.hands.offsite.hostile import Trouble, Weather, misbehaving
from tests.hands.offsite.place import BASE, DUMP, KEYS, NOW, RDB, Place, fill, kill_while_held, tree
from tests.hands.offsite.test_trouble import PART, numbers

LABEL = "dr.test-offsite"


@pytest.fixture(scope="session")
def minio_port() -> Iterator[int]:
    """Run MinIO in a container of its own."""
    client = docker.from_env(timeout=60)
    name = f"drtest-offsite-{secrets.token_hex(4)}"
    network = client.networks.create(name, labels={LABEL: "1"})
    made = client.containers.create(
        lab_image(client, "minio"),
        ["server", "/data"],
        name=name,
        environment={"MINIO_ROOT_USER": KEYS["FAR_ACCESS"], "MINIO_ROOT_PASSWORD": PASSWORD},
        network=name,
        ports={"9000/tcp": ("127.0.0.1", 0)},
        labels={LABEL: "1"},
    )
    try:
        made.start()
        made.reload()
        port = int(made.attrs["NetworkSettings"]["Ports"]["9000/tcp"][0]["HostPort"])
        until(lambda: httpx.get(f"http://127.0.0.1:{port}/minio/health/live").raise_for_status())
        yield port
    finally:
        made.remove(force=True, v=True)
        network.remove()
        client.close()


@pytest.fixture
def make_far(tmp_path: Path, minio_port: int) -> Make:
    """Return what makes a host whose far store is MinIO."""

    def made(endpoint: str = "", *, lock: bool = False, **changes: Any) -> Place:
        straight, bucket = f"http://127.0.0.1:{minio_port}", f"copies-{secrets.token_hex(6)}"
        place = Place(tmp_path, endpoint or straight, bucket, changes)
        Place(tmp_path, straight, bucket).client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=lock)
        place.keys.new(NOW)
        fill(place)
        return place

    return made


@pytest.fixture
def between(minio_port: int) -> Iterator[tuple[str, Weather]]:
    with misbehaving(minio_port) as (endpoint, seen):
        yield endpoint, seen


def test_what_left_comes_back_and_the_store_states_every_checksum(make_far: Make) -> None:
    place = make_far()
    place.ready()
    copied = place.copy()
    assert len(copied.entries) == 3
    assert copied.read_back == 0
    assert place.copy().entries == ()
    before = tree(place.shelf / "postgres" / "base" / BASE)
    (place.shelf).rename(place.directory / "lost")
    assert place.fetch().id == BASE
    del before["data/base/5/junk.tmp"]
    assert tree(place.shelf / "postgres" / "base" / BASE) == before
    assert {one.checked for one in place.list().entries} == {True}


@pytest.mark.fault("C12")
def test_an_upload_that_is_killed_half_way_goes_on_at_the_first_part_missing(
    make_far: Make, between: tuple[str, Weather], seen: Seen
) -> None:
    """F-C12: truncated upload: killed while the third part is on its way to MinIO."""
    endpoint, weather = between
    place = make_far(endpoint)
    weather.troubles.append(Trouble("hold", "PUT", f"{PART}3"))
    kill_while_held(place, endpoint, weather, "copy")
    seen(f"killed by signal 9 while it held part 3 of {DUMP}")
    assert numbers(weather) == [1, 2, 3]
    weather.requests.clear()
    assert DUMP in place.copy().entries
    assert numbers(weather) == [3]


@pytest.mark.fault("B9")
def test_a_way_that_is_cut_in_the_middle_is_gone_on_later(
    make_far: Make, minio_port: int, seen: Seen
) -> None:
    """F-B9: the network between worker and S3 is cut."""
    with FaultyNetwork("127.0.0.1", minio_port) as network:
        place = make_far(f"http://127.0.0.1:{network.port}")
        network.turn("cut")
        with pytest.raises(Unavailable, match="offsite-unavailable"):
            place.copy()
        seen(f"{network.disturbed} connections were cut")
        network.turn("fair")
        assert len(place.copy().entries) == 3


@pytest.mark.fault("C12")
def test_wrong_credentials_are_refused_and_not_repeated(
    make_far: Make, monkeypatch: pytest.MonkeyPatch, seen: Seen
) -> None:
    """F-C12: expired or wrong credentials."""
    place = make_far()
    monkeypatch.setitem(KEYS, "FAR_SECRET", "another-password-of-a-test")
    with pytest.raises(Refused, match="offsite-denied") as refused:
        place.copy()
    seen(f"the store said: {refused.value.what}")
    assert "another-password" not in str(refused.value)
    assert place.reach().passed is False


@pytest.mark.parametrize("asked", [{"storage_class": "STANDARD_IA"}, {"sse": "aws:kms"}])
def test_what_only_aws_has_is_refused_with_the_cure(make_far: Make, asked: dict[str, str]) -> None:
    place = make_far(**asked)
    with pytest.raises(Refused, match="offsite-not-offered") as refused:
        place.copy()
    assert "storage_class: STANDARD" in refused.value.hint


def test_an_object_that_somebody_replaced_is_left_as_it_is(make_far: Make) -> None:
    place = make_far()
    key = f"copies/lab/redis/rdb/{RDB}/files/dump.rdb.sealed"
    place.client.put_object(Bucket=place.bucket, Key=key, Body=b"of somebody else")
    with pytest.raises(VerificationFailed, match="something else under this name"):
        place.copy()
    assert place.client.get_object(Bucket=place.bucket, Key=key)["Body"].read() == b"of somebody else"


def test_of_two_that_write_at_once_one_is_told_that_it_came_second(make_far: Make) -> None:
    place = make_far(encrypt=False)

    bucket = place.side().bucket(OffsiteOrder(target=place.target, policy=place.policy))
    assert bucket.put("copies/x", b"first", {}, lambda _body, _offset: None) is True
    assert bucket.put("copies/x", b"second", {}, lambda _body, _offset: None) is False
    assert place.client.get_object(Bucket=place.bucket, Key="copies/x")["Body"].read() == b"first"


def test_the_bucket_is_made_ready_as_far_as_the_store_goes(make_far: Make) -> None:
    place = make_far()
    proofs = {proof.name: proof for proof in place.ready().proofs}
    assert proofs["versions"].passed is True
    assert place.client.get_bucket_versioning(Bucket=place.bucket)["Status"] == "Enabled"
    # It has no tier for an archive: that is said, and the year is kept all the same.
    assert proofs["lifecycle"].passed is None
    found = place.client.get_bucket_lifecycle_configuration(Bucket=place.bucket)["Rules"]
    rules = {one["ID"]: one for one in found}
    assert rules["dr-offsite-copies-lab"]["Expiration"]["Days"] == 365
    assert "Expiration" not in rules["dr-objects-copies-lab.objects"]
    assert len(rules) == 2


def test_a_locked_copy_cannot_be_removed_by_those_who_write_it(make_far: Make) -> None:
    place = make_far(lock=True, object_lock={"mode": "compliance", "days": 1})
    place.ready()
    place.copy()
    key = place.key_of(RDB, "dump.rdb")
    (version,) = place.client.list_object_versions(Bucket=place.bucket, Prefix=key)["Versions"]
    with pytest.raises(place.client.exceptions.ClientError, match=r"(?i)worm|denied|locked"):
        place.client.delete_object(Bucket=place.bucket, Key=key, VersionId=version["VersionId"])
    with pytest.raises(Refused, match="offsite-no-lock"):
        make_far_again(place).ready()


def make_far_again(place: Place) -> Place:
    """Return the same host with a bucket that was made without locks."""
    bucket = f"copies-{secrets.token_hex(6)}"
    place.client.create_bucket(Bucket=bucket)
    return Place(place.directory, place.endpoint, bucket, place.changes)
