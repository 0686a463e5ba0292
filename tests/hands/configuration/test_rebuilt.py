"""Sealed backups that lost their entry: their own header names the key, and without it nothing is guessed."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from activities import entries
from activities.backup_keys import BackupKeys
from activities.engine import Engine
from activities.metadata_proof import MetadataProofs
from activities.rebuild import Rebuilding, rereading
from activities.sealed_entry import Content, SealedEntries
from activities.tokens import Tokens
from domain.backups import Level
from domain.dumps import EntryTargetOrder, Rebuilt
from domain.entries import BASE, ENTRY, KINDS, Entry
from domain.hasura_metadata import INCONSISTENT, canonical, holdings_of
from domain.order import Target, TargetOrder
from domain.store_backups import StoreBackupOrder
from tests.hands.configuration.conftest import Stand
from tests.hands.hostile.planted import target_on

NOW = datetime.now(UTC)
METADATA: dict[str, Any] = {
    "version": 3,
    "sources": [
        {
            "name": "default",
            "tables": [
                {
                    "table": {"schema": "public", "name": "messages"},
                    "select_permissions": [{"role": "user", "permission": {"columns": ["id"]}}],
                }
            ],
        }
    ],
}


class Place:
    """A host whose shelf holds sealed metadata."""

    def __init__(self, directory: Path) -> None:
        self.state = directory / "state"
        self.shelf = directory / "shelf"
        self.keys = BackupKeys(self.state)
        self.keys.new(NOW)

    @property
    def target(self) -> Target:
        return target_on(str(self.shelf))

    def back_up(self, inconsistent: dict[str, str] | None = None) -> Entry:
        def make(key: Any) -> Content:
            held = holdings_of(METADATA, inconsistent or {}, key)
            return Content(plain=canonical(METADATA), held=held, sentence="1 tracked table")

        order = StoreBackupOrder(target=self.target, label=f"one {datetime.now(UTC)}")
        return SealedEntries(self.state, "hasura", "metadata").ensure(order, make)

    def rebuild(self) -> Rebuilt:
        hand = Rebuilding(cast("Engine", None), Tokens(self.state), self.state)
        return hand.ensure_catalogue_rebuilt(TargetOrder(target=self.target))

    def file(self, entry: Entry) -> Path:
        return self.shelf / entry.path / "metadata.sealed"

    def lose(self, entry: Entry) -> None:
        (self.shelf / entry.path / ENTRY).unlink()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_every_kind_of_every_store_can_be_known_again(tmp_path: Path) -> None:
    kinds = {(store, kind) for store, kinds in KINDS.items() for kind in kinds}
    assert rereading(cast("Engine", None), tmp_path).keys() == kinds - {("postgres", BASE)}


def test_metadata_are_known_again_by_the_key_that_their_header_names(place: Place) -> None:
    made = place.back_up({"table x": "it is not there"})
    # The newest key is another one by now.
    place.keys.new(NOW + timedelta(days=1))
    place.lose(made)
    assert place.rebuild() == Rebuilt(sentence="1 entries were rebuilt", rebuilt=(made.id,))
    again = entries.find_entry(place.shelf, made.id)
    for name in ("path", "bytes", "sha256", "files", "key_id"):
        assert getattr(again, name) == getattr(made, name), name
    assert again.held == tuple(one for one in made.held if one.name != INCONSISTENT)
    assert (again.verified, again.rebuilt) == (Level.NONE, True)
    order = EntryTargetOrder(target=place.target, entry_id=made.id)
    proven = MetadataProofs(Tokens(place.state), place.state).verify_metadata_restored(order)
    assert proven.passed, proven.proofs
    # Whether all of it fitted the database then is in no file: that is said, and not claimed.
    assert {one.name: one.passed for one in proven.proofs}["consistent when it was taken"] is None
    assert entries.find_entry(place.shelf, made.id).verified is Level.RESTORED


def test_without_its_key_a_sealed_backup_is_reported_and_nothing_is_guessed(place: Place) -> None:
    made = place.back_up()
    place.lose(made)
    (path,) = place.keys.directory.glob("*.key")
    path.rename(place.state / "escrow")
    for _ in range(2):
        said = place.rebuild()
        assert said.rebuilt == ()
        assert said.problems[0].startswith(f"{made.id}: the backup key {made.key_id} is not on this host")
        assert "put its file back" in said.problems[0]
        assert not (place.shelf / made.path / ENTRY).exists()
    (place.state / "escrow").rename(path)
    assert place.rebuild().rebuilt == (made.id,)


def test_a_header_that_names_another_key_of_ours_does_not_make_it_a_backup(place: Place) -> None:
    made = place.back_up()
    other = place.keys.new(NOW + timedelta(days=1))
    place.lose(made)
    content = bytearray(place.file(made).read_bytes())
    content[8:16] = bytes.fromhex(other.id)
    place.file(made).write_bytes(content)
    said = place.rebuild()
    assert said.rebuilt == ()
    assert "was changed, moved or cut off" in said.problems[0]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.write_bytes(b"in clear"), "it is not sealed"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "was changed, moved or cut off"),
        (lambda path: path.with_name("notes").write_bytes(b"mine"), "not metadata.sealed alone"),
        (lambda path: path.rename(path.with_name("other.sealed")), "not metadata.sealed alone"),
    ],
    ids=["clear", "cut off", "a stranger beside it", "another name"],
)
def test_what_is_no_sealed_backup_stays_without_an_entry_and_untouched(
    place: Place, spoil: Any, said: str
) -> None:
    made = place.back_up()
    place.lose(made)
    spoil(place.file(made))
    before = {path: path.read_bytes() for path in place.shelf.rglob("*") if path.is_file()}
    found = place.rebuild()
    assert found.rebuilt == ()
    assert said in found.problems[0]
    assert {path: path.read_bytes() for path in place.shelf.rglob("*") if path.is_file()} == before


def test_a_sealed_backup_under_the_name_of_another_one_is_none(place: Place) -> None:
    made = place.back_up()
    place.lose(made)
    moved = (place.shelf / made.path).with_name("20260101T000000Z-metadata")
    shutil.move(place.shelf / made.path, moved)
    said = place.rebuild()
    assert said.rebuilt == ()
    assert "was changed, moved or cut off" in said.problems[0]


@pytest.mark.timeout(300)
def test_a_configuration_is_known_again_and_a_stack_could_start_from_it(stand: Stand) -> None:
    made = entries.find_entry(stand.shelf, stand.back_up().id)
    (stand.shelf / made.path / ENTRY).unlink()
    hand = Rebuilding(stand.engine, stand.tokens, stand.state)
    said = hand.ensure_catalogue_rebuilt(TargetOrder(target=stand.target))
    assert (said.rebuilt, said.problems) == ((made.id,), ())
    again = entries.find_entry(stand.shelf, made.id)
    for name in ("path", "bytes", "sha256", "files", "key_id", "held", "source"):
        assert getattr(again, name) == getattr(made, name), name
    assert again.verified is Level.NONE
    proven = stand.verify(again)
    assert proven.passed, proven.proofs
    assert stand.clear_text() == []
