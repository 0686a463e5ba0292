"""Every change that a copy makes far away fails once, before and after it happened: the same copies."""

import contextlib
import hashlib
import re
import secrets
from pathlib import Path

import pytest

from domain.errors import Unavailable
from tests.faults.record import Seen
from tests.hands.offsite.hostile import Deed, Trouble, Weather, misbehaving
from tests.hands.offsite.objects import shelve
from tests.hands.offsite.place import CANARY, NOW, Place, fill, kill_while_held

CHANGING = {"PUT", "POST"}
KINDS = {
    "an object": ("PUT", r"globals\.sql"),
    "a part": ("PUT", r"partNumber=2"),
    "the begin of an upload": ("POST", r"\?uploads"),
    "the end of an upload": ("POST", r"\?uploadId"),
    "a manifest": ("PUT", r"daily/.*/manifest"),
    "a WAL segment": ("PUT", r"/wal/"),
    "a content of objects": ("PUT", r"lab\.objects/"),
}


class Bench:
    """One shelf, and a new bucket for each run."""

    def __init__(self, directory: Path, port: int) -> None:
        self.straight = f"http://127.0.0.1:{port}"
        self.port = port
        self.directory = directory
        first = Place(directory, self.straight, "none", {"parallel": 1})
        first.keys.new(NOW)
        fill(first)
        shelve(first, objects={"one": CANARY, "empty": b""})

    def place(self, endpoint: str) -> Place:
        made = Place(self.directory, self.straight, f"copies-{secrets.token_hex(6)}", {"parallel": 1})
        made.client.create_bucket(Bucket=made.bucket)
        made.ready()
        made.endpoint = endpoint
        return made

    def far(self, place: Place) -> dict[str, str]:
        """Return the digests of everything there, once it is seen that nothing was replaced or left over."""
        client = Place(self.directory, self.straight, place.bucket).client
        versions = client.list_object_versions(Bucket=place.bucket)
        names = [one["Key"] for one in versions["Versions"]]
        assert len(set(names)) == len(names), "an object was written twice"
        assert not versions.get("DeleteMarkers")
        for left in client.list_multipart_uploads(Bucket=place.bucket).get("Uploads") or ():
            # Begun, and nobody was told its name: it is empty, and the bucket's own rule ends it.
            named = {"Bucket": place.bucket, "Key": left["Key"], "UploadId": left["UploadId"]}
            assert not client.list_parts(**named).get("Parts")
            for rule in client.get_bucket_lifecycle_configuration(Bucket=place.bucket)["Rules"]:
                assert rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] == 7
        bodies = {key: client.get_object(Bucket=place.bucket, Key=key)["Body"].read() for key in names}
        return {key: hashlib.sha256(body).hexdigest() for key, body in bodies.items()}


@pytest.fixture
def bench(tmp_path: Path, moto_port: int) -> Bench:
    return Bench(tmp_path, moto_port)


def undisturbed(bench: Bench) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Return what a copy leaves, and the requests with which it changes something."""
    with misbehaving(bench.port) as (endpoint, between):
        place = bench.place(endpoint)
        place.copy()
        made = [one for one in between.requests if one[0] in CHANGING]
        return bench.far(place), made


def place_in(path: str) -> str:
    """Return a pattern of a request, whatever its bucket and its upload are called."""
    bare = re.sub(r"^/copies-[0-9a-f]+", "", path)
    return re.sub(r"(uploadId=)[^&]*", r"\1[^&]*", re.escape(bare))


@pytest.mark.parametrize("deed", ["cut", "cut answer"], ids=["before", "after"])
@pytest.mark.fault("A1", at_length=True)
@pytest.mark.fault("A2", at_length=True)
def test_every_change_of_a_copy_may_fail_once(bench: Bench, seen: Seen, deed: Deed) -> None:
    """F-A1, F-A2: every request that changes something fails before it came, or after it was carried out."""
    wanted, requests = undisturbed(bench)
    assert len(requests) > 15
    for method, path in requests:
        with misbehaving(bench.port) as (endpoint, between):
            place = bench.place(endpoint)
            # More often than the client itself tries: the hand has to fail.
            trouble = Trouble(deed, method, f"{place_in(path)}$", times=1000)
            between.troubles.append(trouble)
            # What was carried out is found there when the client asks again: that is survived at once.
            survived = deed == "cut answer"
            with contextlib.suppress(Unavailable) if survived else pytest.raises(Unavailable):
                place.copy()
            assert trouble.met, f"void: {method} {path} was not met"
            between.troubles.clear()
            place.copy()
            assert bench.far(place) == wanted
    seen(f"{len(requests)} requests failed: {deed}")


@pytest.mark.parametrize("deed", ["hold", "hold answer"], ids=["before", "after"])
@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.fault("A1", at_length=True)
@pytest.mark.fault("A2", at_length=True)
def test_a_copy_killed_at_each_kind_of_change_is_the_same_in_the_end(
    bench: Bench, seen: Seen, kind: str, deed: Deed
) -> None:
    """F-A1, F-A2: the copying process is killed with SIGKILL before and after a change of each kind."""
    wanted, _ = undisturbed(bench)
    weather: Weather
    with misbehaving(bench.port) as (endpoint, weather):
        place = bench.place(endpoint)
        method, pattern = KINDS[kind]
        weather.troubles.append(Trouble(deed, method, pattern))
        kill_while_held(place, endpoint, weather, "copy")
        seen(f"killed by signal 9 at {kind}: {deed}")
        weather.troubles.clear()
        place.copy()
        assert bench.far(place) == wanted
    assert not [path for path in place.shelf.rglob(".*") if path.name.endswith((".new", ".fetching"))]
