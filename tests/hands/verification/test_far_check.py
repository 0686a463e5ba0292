"""Far copies brought back into a shelf of their own, compared, and removed."""

import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from activities import entries
from activities.offsite_fetch import OffsiteFetching
from activities.verification_far import PLACE, FarChecks
from domain.dumps import RestoreProven
from domain.entries import Entry, files_sha256
from domain.errors import BackupUnusable, DrError, Refused
from domain.verification_far import ProveFarOrder
from tests.faults.record import Seen
from tests.hands.offsite.objects import COPY, far_contents, shelve
from tests.hands.offsite.place import NOW, Place, tree
from tests.hands.shelved import DAILY, shelved

pytestmark = pytest.mark.hand


class Far:
    """One host with one dump, and its copy."""

    def __init__(self, directory: Path, port: int) -> None:
        self.place = Place(directory, f"http://127.0.0.1:{port}", f"copies-{secrets.token_hex(6)}")
        self.place.client.create_bucket(Bucket=self.place.bucket)
        self.key = self.place.keys.new(NOW)
        self.entry: Entry = shelved(self.place.shelf)
        self.place.copy()
        self.state = directory / "state"

    def prove(self, entry_id: str = DAILY, sample: int = 20) -> RestoreProven:
        place = self.place
        order = ProveFarOrder(target=place.target, policy=place.policy, entry_id=entry_id, sample=sample)
        fetching = OffsiteFetching(place.side(), place.tokens())
        return FarChecks(fetching, place.tokens(), self.state).verify_far_copy(order)

    def left(self) -> list[Path]:
        root = self.state / PLACE / "lab"
        return list(root.iterdir()) if root.is_dir() else []


@pytest.fixture
def far(tmp_path: Path, moto_port: int) -> Far:
    return Far(tmp_path, moto_port)


def test_a_copy_that_came_back_whole_passes_and_the_shelf_is_only_read(far: Far) -> None:
    before = tree(far.place.shelf)
    proven = far.prove()
    assert proven.passed, proven.proofs
    assert [one.passed for one in proven.proofs] == [True, True, True]
    assert tree(far.place.shelf) == before
    assert far.left() == []


def test_a_copy_whose_original_is_gone_is_compared_with_its_own_record(far: Far) -> None:
    directory = entries.directory_of(far.place.shelf, far.entry)
    directory.rename(far.place.directory / "elsewhere")
    proven = far.prove()
    assert proven.passed
    assert {one.name: one.passed for one in proven.proofs}["as on the shelf"] is None


def test_a_shelf_that_says_something_else_than_the_copy_fails_it(far: Far) -> None:
    directory = entries.directory_of(far.place.shelf, far.entry)
    (directory / "chat.dump").write_bytes(b"another dump")
    changed = far.entry.files[0].model_copy(update={"bytes": 12, "sha256": "0" * 64})
    files = (changed, *far.entry.files[1:])
    facts = {"files": files, "bytes": sum(file.bytes for file in files), "sha256": files_sha256(files)}
    entries.write_entry(directory, far.entry.model_copy(update=facts))
    proven = far.prove()
    assert not proven.passed
    assert {one.name: one.passed for one in proven.proofs}["as on the shelf"] is False


def test_of_a_far_copy_of_objects_all_contents_are_looked_for_and_some_fetched(far: Far) -> None:
    shelve(far.place, objects={f"object {number}": bytes([number]) * 1000 for number in range(30)})
    far.place.copy()
    proven = far.prove(COPY, sample=3)
    assert proven.passed, proven.proofs
    assert "3 contents of 30, all of which are there" in proven.proofs[0].evidence
    assert far.left() == []
    far.place.client.delete_object(Bucket=far.place.bucket, Key=min(far_contents(far.place)))
    with pytest.raises(BackupUnusable, match="1 of 30 contents"):
        far.prove(COPY, sample=3)
    assert far.left() == []


def _without_key(far: Far) -> None:
    for path in (far.state / "keys").rglob("*"):
        if path.is_file():
            path.unlink()


def _another_key(far: Far) -> None:
    _without_key(far)
    far.place.keys.new(NOW)


def _damaged(far: Far) -> None:
    key = far.place.key_of(DAILY, "chat.dump")
    body = bytearray(far.place.client.get_object(Bucket=far.place.bucket, Key=key)["Body"].read())
    body[-1] ^= 0xFF
    far.place.client.put_object(Bucket=far.place.bucket, Key=key, Body=bytes(body))


@pytest.mark.fault("C11")
@pytest.mark.parametrize("trouble", [_without_key, _another_key])
def test_a_key_that_is_missing_or_another_one_is_found_on_a_quiet_day(
    far: Far, trouble: Callable[[Far], None], seen: Seen
) -> None:
    """F-C11: the key of the copies was removed, or replaced by a new one."""
    assert far.prove().passed
    trouble(far)
    with pytest.raises(DrError) as found:
        far.prove()
    assert isinstance(found.value, Refused | BackupUnusable)
    seen(str(found.value))
    assert far.left() == []


def test_a_copy_that_was_altered_over_there_is_refused(far: Far) -> None:
    _damaged(far)
    with pytest.raises(BackupUnusable):
        far.prove()
    assert far.left() == []


def test_what_a_killed_attempt_left_is_cleared_and_no_link_is_followed(far: Far, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_bytes(b"x")
    root = far.state / PLACE / "lab"
    (root / "postgres").mkdir(parents=True)
    (root / "postgres" / "daily").symlink_to(outside)
    assert far.prove().passed
    assert (outside / "kept").is_file()
    root.symlink_to(outside)
    assert far.prove().passed
    assert (outside / "kept").is_file()
