"""A worker that dies at any effect on an object store: the next attempt ends as if nothing had happened."""

import hashlib
import shutil
from datetime import UTC, datetime

import pytest

from activities import entries
from domain.backups import Level
from domain.dumps import RestoreProven
from domain.entries import Entry
from domain.names import LABEL_STACK
from domain.objects_policy import RULE_ID
from domain.objects_restore import ObjectsRestored
from tests.faults.record import Seen
from tests.hands.dying import AT_NIGHT, SIDES, Side, Trial, dies_everywhere, remains
from tests.hands.object_store.place import Place as Host

pytestmark = [pytest.mark.hand, pytest.mark.timeout(1800)]
OBJECTS = {
    ("uploads", "a/first.txt"): b"first",
    ("uploads", "a/same.txt"): b"first",
    ("uploads", "a/gone.txt"): b"removed before it was copied",
    ("uploads", "b/second.bin"): bytes(range(256)) * 40,
    ("public", "empty"): b"",
}
LOST = ("a/first.txt", "b/second.bin")


class OnStore(Trial):
    """What the trials of all hands share."""

    def __init__(self, host: Host) -> None:
        super().__init__(host.shelf, host.state)
        self.host = host
        self.fill()

    def fill(self) -> None:
        """Have two buckets; of one object only a version is left."""
        self.host.servers.empty()
        for bucket in ("uploads", "public"):
            self.host.s3.create_bucket(Bucket=bucket)
        versions = {"Status": "Enabled"}
        self.host.s3.put_bucket_versioning(Bucket="uploads", VersioningConfiguration=versions)
        for (bucket, key), content in OBJECTS.items():
            self.host.put(bucket, key, content, Metadata={"key": key})
        self.host.s3.delete_object(Bucket="uploads", Key="a/gone.txt")

    def nothing_left(self) -> None:
        host = self.host
        assert remains(host.shelf, host.state) == []
        assert list((host.shelf / "minio" / ".incoming").glob("*")) == []
        assert host.left() == []
        mine: dict[str, str | list[str] | bool] = {"label": f"{LABEL_STACK}={host.servers.project}"}
        assert host.servers.client.volumes.list(filters=mine) == []
        assert host.servers.client.networks.list(filters=mine) == []
        assert host.keys("uploads") == ["a/first.txt", "a/same.txt", "b/second.bin"]
        assert host.content("uploads", "b/second.bin") == OBJECTS["uploads", "b/second.bin"]


class Taking(OnStore):
    """A copy of all there is, with the versions kept from then on."""

    def begin(self) -> None:
        super().begin()
        self.fill()
        shutil.rmtree(self.host.shelf, ignore_errors=True)

    def act(self) -> Entry:
        return self.host.copy(label=f"round {self.number}")

    def judge(self, said: Entry) -> None:
        host = self.host
        ((entry,), strangers) = entries.read_entries(host.shelf)
        assert (entry.id, entry.verified, strangers) == (said.id, Level.MANIFEST, [])
        wanted = {hashlib.sha256(content).hexdigest() for content in OBJECTS.values()}
        if host.second is None:
            assert set(host.contents()) == wanted
        else:
            names = [key.rpartition("/")[2] for key in host.far_keys() if "/objects/" in key]
            assert set(names) == wanted
        listed = {(one.bucket, one.key, one.deleted) for one in host.listing(said)}
        assert listed == {(*name, False) for name in OBJECTS} | {("uploads", "a/gone.txt", True)}
        for bucket in ("uploads", "public"):
            assert host.s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
            rules = host.s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
            assert [one["ID"] for one in rules] == [RULE_ID]
        self.nothing_left()


class Proving(OnStore):
    """The proof of a copy by restoring it into a store of its own."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self.entry = host.copy()

    def begin(self) -> None:
        super().begin()
        now = datetime.now(UTC)
        entries.record_verified(self.host.shelf, self.entry, Level.MANIFEST, now, "the last round")

    def act(self) -> RestoreProven:
        return self.host.proven(self.entry)

    def judge(self, said: RestoreProven) -> None:
        assert said.passed, said.proofs
        ((entry,), strangers) = entries.read_entries(self.host.shelf)
        assert (entry.verified, strangers) == (Level.RESTORED, [])
        self.nothing_left()


class Restoring(OnStore):
    """Lost and overwritten objects brought back."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self.entry = host.copy()

    def begin(self) -> None:
        super().begin()
        first, second = LOST
        self.host.s3.delete_object(Bucket="uploads", Key=first)
        self.host.put("uploads", second, b"overwritten in round %d" % self.number)
        self.versions = {key: self.count(key) for key in LOST}

    def act(self) -> ObjectsRestored:
        return self.host.restore(entry_id=self.entry.id)

    def judge(self, said: ObjectsRestored) -> None:
        host = self.host
        assert (said.looked_at, said.surplus) == (3, 0)
        for key in LOST:
            assert host.content("uploads", key) == OBJECTS["uploads", key]
            assert host.s3.head_object(Bucket="uploads", Key=key)["Metadata"] == {"key": key}
            assert self.count(key) == self.versions[key] + 1, "it was brought back once"
        self.nothing_left()

    def count(self, key: str) -> int:
        """Return how many versions of an object there are."""
        return len(self.host.s3.list_object_versions(Bucket="uploads", Prefix=key).get("Versions") or [])


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("where", ["place", pytest.param("far_place", marks=AT_NIGHT)])
def test_a_copy_of_the_objects_may_die_at_every_effect(
    request: pytest.FixtureRequest, seen: Seen, where: str, side: Side
) -> None:
    """F-A1, F-A2: every effect of a copy, to the shelf and to a second store."""
    dies_everywhere(Taking(request.getfixturevalue(where)), seen, side, at_least=15)


@pytest.mark.parametrize("side", SIDES)
def test_the_proof_of_a_copy_of_the_objects_may_die_at_every_effect(
    place: Host, seen: Seen, side: Side
) -> None:
    """F-A1, F-A2: every effect of a proof by a restore."""
    dies_everywhere(Proving(place), seen, side, at_least=15)


@pytest.mark.parametrize("side", SIDES)
def test_a_restore_of_objects_may_die_at_every_effect(place: Host, seen: Seen, side: Side) -> None:
    """F-A1, F-A2: every effect of a restore into the live store."""
    dies_everywhere(Restoring(place), seen, side, at_least=2)
