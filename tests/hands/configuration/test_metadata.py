"""Hasura's metadata: exported sealed, judged without touching production, and spoken again."""

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from activities import entries
from activities.backup_keys import BackupKeys
from activities.metadata_backup import MetadataBackups
from activities.metadata_proof import MetadataProofs
from activities.metadata_restore import MetadataRestoring
from activities.postgres.sql import Sql
from activities.secrets import Secrets
from activities.tokens import Tokens
from domain.backups import Level
from domain.dumps import EntryTargetOrder, RestoreProven
from domain.entries import Entry
from domain.errors import BackupUnusable, Refused
from domain.hasura_metadata import PERMISSIONS, TABLES, MetadataRestoreOrder
from domain.order import Target
from domain.recovery import Judged
from domain.stack import Kind
from domain.store_backups import StoreBackupOrder
from tests.faults.record import Seen
from tests.hands.chat_stack import ADMIN, ChatStack

pytestmark = pytest.mark.timeout(300)
TABLE = {"schema": "public", "name": "nchat_messages"}
RID = "20261122T0430Z-abcdef02"


class Place:
    """The chat stack with a shelf and a key of this test."""

    def __init__(self, chat: ChatStack, directory: Path) -> None:
        self.chat = chat
        self.state = directory / "state"
        self.shelf = directory / "shelf"
        self.target: Target = chat.facts().target.model_copy(update={"shelf": str(self.shelf)})
        self.secrets = Secrets(chat.engine)
        BackupKeys(self.state).new(datetime.now(UTC))

    def back_up(self, label: str = "") -> Entry:
        hand = MetadataBackups(self.chat.engine, self.secrets, Tokens(self.state), self.state)
        order = StoreBackupOrder(target=self.target, label=label or secrets.token_hex(4))
        (entry,) = hand.ensure_metadata_backup(order).entries
        return entries.find_entry(self.shelf, entry.id)

    def verify(self, entry: Entry) -> RestoreProven:
        hand = MetadataProofs(Tokens(self.state), self.state)
        return hand.verify_metadata_restored(EntryTargetOrder(target=self.target, entry_id=entry.id))

    def restore(self, entry: Entry) -> Judged:
        sql, tokens = Sql(self.secrets), Tokens(self.state)
        hand = MetadataRestoring(self.chat.engine, self.secrets, sql, tokens, self.state)
        order = MetadataRestoreOrder(target=self.target, entry_id=entry.id, recovery_id=RID)
        return hand.ensure_metadata_restored(order)

    def call(self, kind: str, **arguments: object) -> Any:
        said = httpx.post(
            f"http://127.0.0.1:{self.chat.port('hasura')}/v1/metadata",
            json={"type": kind, "args": arguments},
            headers={"X-Hasura-Admin-Secret": ADMIN},
            timeout=20,
        )
        return said.raise_for_status().json()

    def lose_a_table(self) -> None:
        self.call("pg_untrack_table", table=TABLE)


@pytest.fixture
def place(chat: ChatStack, tmp_path: Path) -> Iterator[Place]:
    made = Place(chat, tmp_path)
    before = made.call("export_metadata")
    try:
        yield made
    finally:
        made.call("replace_metadata", **before)


def test_what_was_exported_is_held_sealed_and_proven_without_asking_hasura(
    place: Place, chat: ChatStack
) -> None:
    entry = place.back_up("nightly")
    assert place.back_up("nightly").id == entry.id
    assert entry.verified is Level.MANIFEST
    held = {one.name: [sample.name for sample in one.samples] for one in entry.held}
    assert "default public.nchat_messages" in held[TABLES]
    assert "default public.nchat_messages select user" in held[PERMISSIONS]
    raw = b"".join(path.read_bytes() for path in place.shelf.rglob("*.sealed"))
    assert b"nchat_messages" not in raw
    chat.client.api.pause(chat.container("hasura"))
    try:
        found = place.verify(entry)
    finally:
        chat.client.api.unpause(chat.container("hasura"))
    assert found.passed, found.proofs
    assert found.entry.verified is Level.RESTORED


def test_lost_metadata_comes_back_and_what_was_there_is_kept_first(place: Place) -> None:
    before = place.call("export_metadata")
    entry = place.back_up()
    place.lose_a_table()
    without = place.call("export_metadata")
    judged = place.restore(entry)
    assert judged.passed
    assert place.call("export_metadata") == before
    (kept,) = [one for one in entries.read_entries(place.shelf)[0] if one.id != entry.id]
    assert kept.id in judged.sentence
    assert "it did already" in place.restore(entry).sentence
    assert len(entries.read_entries(place.shelf)[0]) == 2, "a second call keeps nothing again"
    place.restore(kept)
    assert place.call("export_metadata") == without, "what was kept can be spoken again"


def test_metadata_of_tables_that_the_database_lacks_is_refused_before_anything_changes(
    place: Place, chat: ChatStack
) -> None:
    entry = place.back_up()
    place.lose_a_table()
    now = place.call("export_metadata")
    chat.do("ALTER TABLE nchat_messages RENAME TO nchat_messages_elsewhere")
    try:
        with pytest.raises(Refused, match=r"public\.nchat_messages") as error:
            place.restore(entry)
        assert error.value.code == "tables-missing"
        assert place.call("export_metadata") == now
    finally:
        chat.do("ALTER TABLE nchat_messages_elsewhere RENAME TO nchat_messages")


@pytest.mark.fault("J11", at_length=True)
def test_metadata_that_did_not_fit_when_it_was_taken_is_never_called_proven(
    place: Place, chat: ChatStack, seen: Seen
) -> None:
    """F-J11: Hasura healthy but metadata inconsistent, and backed up so."""
    chat.do("ALTER TABLE nchat_messages RENAME TO nchat_messages_elsewhere")
    try:
        place.call("reload_metadata")
        entry = place.back_up()
        seen(entry.sentence)
        assert "did not fit" in entry.sentence
        found = place.verify(entry)
        assert found.passed is False
        assert [proof.name for proof in found.proofs if not proof.passed] == ["consistent when it was taken"]
    finally:
        chat.do("ALTER TABLE nchat_messages_elsewhere RENAME TO nchat_messages")
        place.call("reload_metadata")


@pytest.mark.fault("C18")
def test_a_hasura_without_any_metadata_is_no_backup(place: Place, seen: Seen) -> None:
    """F-C18: metadata not in the set: a Hasura that lost its own says that it is healthy."""
    empty = place.call("export_metadata")
    empty["sources"][0]["tables"] = []
    place.call("replace_metadata", **empty)
    with pytest.raises(Refused) as error:
        place.back_up()
    seen(str(error.value))
    assert error.value.code == "metadata-empty"
    assert entries.read_entries(place.shelf)[0] == []


def test_without_a_key_or_without_hasura_there_is_no_backup(place: Place) -> None:
    services = tuple(one for one in place.target.services if one.kind is not Kind.HASURA)
    target, place.target = place.target, place.target.model_copy(update={"services": services})
    with pytest.raises(Refused) as error:
        place.back_up()
    assert error.value.code == "service-missing"
    place.target = target
    (place.state / "keys").rename(place.state / "elsewhere")
    with pytest.raises(Refused) as error:
        place.back_up()
    assert error.value.code == "backup-key-missing"


def test_a_damaged_backup_is_not_spoken(place: Place) -> None:
    entry = place.back_up()
    file = place.shelf / entry.path / "metadata.sealed"
    content = bytearray(file.read_bytes())
    content[60] ^= 1
    file.write_bytes(content)
    place.lose_a_table()
    now = place.call("export_metadata")
    for act in (place.restore, place.verify):
        with pytest.raises(BackupUnusable):
            act(entry)
    assert place.call("export_metadata") == now
