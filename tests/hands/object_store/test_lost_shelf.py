"""What the shelf holds of the objects survives it: brought back from off-site, or its catalogue made anew."""

import shutil
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from activities import entries
from activities.backup_keys import BackupKeys
from activities.engine import Engine
from activities.offsite import OffsiteCopies
from activities.offsite_fetch import OffsiteFetching
from activities.offsite_side import FarSide
from activities.rebuild import Rebuilding
from activities.secrets import Secrets
from activities.tokens import Tokens
from domain.backups import Level
from domain.dumps import Rebuilt
from domain.entries import ENTRY
from domain.objects_copy import LISTING
from domain.offsite import OffsitePolicy
from domain.offsite_copies import CopiedOffsite, CopyOrder, Fetched, FetchOrder
from domain.order import TargetOrder
from tests.hands.object_store.place import ACCESS, COPIES, SECRET, Place

pytestmark = pytest.mark.hand


def filled(place: Place) -> None:
    """Have objects with versions, one of them deleted, and the same content twice."""
    for bucket in ("uploads", "public"):
        place.s3.create_bucket(Bucket=bucket)
        place.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for content in (b"first", b"second"):
        place.put("uploads", "a/twice.txt", content, ContentType="text/plain")
    place.put("uploads", "deleted", b"was there")
    place.s3.delete_object(Bucket="uploads", Key="deleted")
    place.put("uploads", "naïve ö/ü?.bin", bytes(range(256)) * 300)
    place.put("public", "the same", b"second")


class Far:
    """The second real store in the place of the far one."""

    def __init__(self, place: Place) -> None:
        self.place = place
        BackupKeys(place.state).new(datetime.now(UTC))
        known = Secrets(cast("Engine", None), {"FAR_ACCESS": ACCESS, "FAR_SECRET": SECRET})
        self.side = FarSide(known, place.state, lambda _: place.far)
        self.policy = OffsitePolicy.model_validate(
            {
                "endpoint": f"http://127.0.0.1:{place.servers.second_port}",
                "bucket": COPIES,
                "access_key": "env:FAR_ACCESS",
                "secret_key": "env:FAR_SECRET",
                "storage_class": "STANDARD",
                "sse": "none",
            }
        )

    def copy(self) -> CopiedOffsite:
        order = CopyOrder(target=self.place.target, policy=self.policy)
        return OffsiteCopies(self.side, Tokens(self.place.state)).ensure_copied_offsite(order)

    def fetch(self, entry_id: str) -> Fetched:
        order = FetchOrder(target=self.place.target, policy=self.policy, entry_id=entry_id)
        return OffsiteFetching(self.side, Tokens(self.place.state)).ensure_fetched(order)


def rebuilt(place: Place) -> Rebuilt:
    hand = Rebuilding(place.engine, Tokens(place.state), place.state)
    return hand.ensure_catalogue_rebuilt(TargetOrder(target=place.target))


def test_the_whole_shelf_lost_the_objects_come_back_from_off_site(place: Place) -> None:
    filled(place)
    entry = place.copy()
    far = Far(place)
    copied = far.copy()
    assert (copied.contents, copied.read_back) == (4, 0)
    lost = len(place.contents())
    shutil.rmtree(place.shelf)
    fetched = far.fetch(entry.id)
    assert (fetched.contents, len(place.contents())) == (lost, lost)
    place.s3.delete_object(Bucket="uploads", Key="a/twice.txt")
    place.put("uploads", "naïve ö/ü?.bin", b"overwritten")
    back = place.restore(entry_id=entry.id)
    assert sorted(back.restored_names) == ["a/twice.txt", "naïve ö/ü?.bin"]
    assert place.content("uploads", "a/twice.txt") == b"second"
    assert place.content("uploads", "naïve ö/ü?.bin") == bytes(range(256)) * 300
    proven = place.proven(entry)
    assert proven.passed, proven.proofs
    # The next copy knows what came back: new are what was overwritten, and the two that were restored.
    assert "new 3," in place.copy().sentence


@pytest.mark.parametrize("where", ["place", "far_place"])
def test_a_copy_that_lost_its_entry_is_known_again_by_its_listing_and_proven(
    where: str, request: pytest.FixtureRequest
) -> None:
    place: Place = request.getfixturevalue(where)
    filled(place)
    made = entries.find_entry(place.shelf, place.copy().id)
    (place.shelf / made.path / ENTRY).unlink()
    said = rebuilt(place)
    assert (said.rebuilt, said.problems) == ((made.id,), ())
    again = entries.find_entry(place.shelf, made.id)
    for name in ("id", "store", "kind", "path", "bytes", "sha256", "files", "held"):
        assert getattr(again, name) == getattr(made, name), name
    assert (again.verified, again.rebuilt, again.key_id) == (Level.NONE, True, "")
    assert place.read(again).verified is Level.MANIFEST
    proven = place.proven(again)
    assert proven.passed, proven.proofs
    assert entries.find_entry(place.shelf, made.id).verified is Level.RESTORED


def _no_listing(place: Place, directory: Any) -> None:
    (directory / LISTING).unlink()


def _broken_listing(place: Place, directory: Any) -> None:
    (directory / LISTING).write_bytes(b"{}\n")


def _a_drive(place: Place, directory: Any) -> None:
    (directory / "uploads" / "a").mkdir(parents=True)
    (directory / "uploads" / "a" / "xl.meta").write_bytes(b"XL2 ")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_no_listing, "its files are not"),
        (_broken_listing, "line 1 is none"),
        (_a_drive, "of the server's drive"),
    ],
)
def test_what_is_no_copy_of_objects_is_told_and_left_without_an_entry(
    place: Place, spoil: Any, said: str
) -> None:
    filled(place)
    entry = place.copy()
    directory = place.shelf / entry.path
    (directory / ENTRY).unlink()
    spoil(place, directory)
    before = sorted(str(path) for path in directory.rglob("*"))
    found = rebuilt(place)
    assert found.rebuilt == ()
    assert said in found.problems[0]
    assert sorted(str(path) for path in directory.rglob("*")) == before
