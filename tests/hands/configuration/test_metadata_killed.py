"""A worker that dies at any effect on Hasura's metadata: the next attempt ends as if nothing had happened."""

import shutil
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
from domain.hasura_metadata import MetadataRestoreOrder
from domain.recovery import Judged
from domain.store_backups import StoreBackupOrder, StoreBackups
from tests.faults.record import Seen
from tests.hands.chat_stack import ADMIN, ChatStack
from tests.hands.dying import SIDES, Side, Trial, dies_everywhere, remains

pytestmark = [pytest.mark.hand, pytest.mark.timeout(600)]
TABLE = {"schema": "public", "name": "nchat_messages"}


class OnHasura(Trial):
    """What the trials of all hands share."""

    def __init__(self, chat: ChatStack, directory: Path) -> None:
        self.state = directory / "state"
        self.shelf = directory / "shelf"
        super().__init__(self.shelf, self.state)
        self.chat = chat
        self.target = chat.facts().target.model_copy(update={"shelf": str(self.shelf)})
        self.secrets, self.tokens = Secrets(chat.engine), Tokens(self.state)
        BackupKeys(self.state).new(datetime.now(UTC))
        self.spoken = self.call("export_metadata")

    def call(self, kind: str, **arguments: object) -> Any:
        said = httpx.post(
            f"http://127.0.0.1:{self.chat.port('hasura')}/v1/metadata",
            json={"type": kind, "args": arguments},
            headers={"X-Hasura-Admin-Secret": ADMIN},
            timeout=20,
        )
        return said.raise_for_status().json()

    def back_up(self, label: str) -> StoreBackups:
        hand = MetadataBackups(self.chat.engine, self.secrets, self.tokens, self.state)
        return hand.ensure_metadata_backup(StoreBackupOrder(target=self.target, label=label))

    def nothing_left(self) -> list[Entry]:
        """Return the entries, once it is seen that there is nothing beside them."""
        assert remains(self.shelf, self.state) == []
        found, strangers = entries.read_entries(self.shelf)
        assert strangers == []
        assert self.call("export_metadata") == self.spoken
        return found


class Taking(OnHasura):
    """An export."""

    def begin(self) -> None:
        super().begin()
        shutil.rmtree(self.shelf, ignore_errors=True)

    def act(self) -> StoreBackups:
        return self.back_up(f"round {self.number}")

    def judge(self, said: StoreBackups) -> None:
        (entry,) = self.nothing_left()
        assert (entry.id, entry.verified) == (said.entries[0].id, Level.MANIFEST)


class Proving(OnHasura):
    """The proof that it opens and holds what was exported."""

    def begin(self) -> None:
        super().begin()
        if self.number == 1:
            self.back_up("to be proven")
        entry = entries.find_entry(self.shelf, "")
        entries.record_verified(self.shelf, entry, Level.MANIFEST, datetime.now(UTC), "the last round")

    def act(self) -> RestoreProven:
        return MetadataProofs(self.tokens, self.state).verify_metadata_restored(
            EntryTargetOrder(target=self.target, entry_id=entries.find_entry(self.shelf, "").id)
        )

    def judge(self, said: RestoreProven) -> None:
        assert said.passed, said.proofs
        (entry,) = self.nothing_left()
        assert entry.verified is Level.RESTORED


class Restoring(OnHasura):
    """Lost metadata spoken again, with what was spoken before kept once."""

    def begin(self) -> None:
        super().begin()
        shutil.rmtree(self.shelf, ignore_errors=True)
        self.entry = self.back_up(f"round {self.number}").entries[0]
        self.call("pg_untrack_table", table=TABLE)

    def act(self) -> Judged:
        hand = MetadataRestoring(self.chat.engine, self.secrets, Sql(self.secrets), self.tokens, self.state)
        order = MetadataRestoreOrder(
            target=self.target,
            entry_id=self.entry.id,
            recovery_id=f"20261122T1600Z-{self.number:08x}",
        )
        return hand.ensure_metadata_restored(order)

    def judge(self, said: Judged) -> None:
        assert said.passed, said.proofs
        kept = [one for one in self.nothing_left() if one.id != self.entry.id]
        assert len(kept) == 1, "what was spoken before is kept once"


@pytest.fixture
def directory(chat: ChatStack, tmp_path: Path) -> Iterator[Path]:
    """Give out a directory; Hasura speaks afterwards what it spoke before."""
    restorer = Taking(chat, tmp_path / "before")
    try:
        yield tmp_path / "now"
    finally:
        restorer.call("replace_metadata", **restorer.spoken)


@pytest.mark.parametrize("side", SIDES)
def test_a_backup_of_the_metadata_may_die_at_every_effect(
    chat: ChatStack, directory: Path, seen: Seen, side: Side
) -> None:
    """F-A1, F-A2: every effect of a backup of Hasura's metadata."""
    dies_everywhere(Taking(chat, directory), seen, side, at_least=5)


@pytest.mark.parametrize("side", SIDES)
def test_the_proof_of_the_metadata_may_die_at_its_effect(
    chat: ChatStack, directory: Path, seen: Seen, side: Side
) -> None:
    """F-A1, F-A2: the one effect of the proof: its record."""
    dies_everywhere(Proving(chat, directory), seen, side, at_least=1)


@pytest.mark.parametrize("side", SIDES)
def test_a_restore_of_the_metadata_may_die_at_every_effect(
    chat: ChatStack, directory: Path, seen: Seen, side: Side
) -> None:
    """F-A1, F-A2: every effect of having Hasura speak a backup."""
    dies_everywhere(Restoring(chat, directory), seen, side, at_least=5)
