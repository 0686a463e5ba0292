"""A worker that dies at any effect on a configuration: the next attempt ends as if nothing had happened."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from activities import entries
from domain.backups import Level
from domain.configuration import Extracted, ExtractOrder
from domain.dumps import RestoreProven
from domain.entries import Entry
from tests.faults.record import Seen
from tests.hands.configuration.conftest import JWT, Stand
from tests.hands.dying import MEMORY, SIDES, Side, Trial, dies_everywhere, remains

pytestmark = [pytest.mark.hand, pytest.mark.timeout(600)]


class OnStack(Trial):
    """What the trials of all hands share."""

    def __init__(self, stand: Stand) -> None:
        super().__init__(stand.shelf, stand.state, MEMORY)
        self.stand = stand

    def nothing_left(self, level: Level) -> None:
        stand = self.stand
        ((entry,), strangers) = entries.read_entries(stand.shelf)
        assert (entry.verified, strangers) == (level, [])
        assert remains(stand.shelf, stand.state) == []
        assert list(MEMORY.glob("dr-shop-*")) == []
        assert stand.clear_text() == []


class Taking(OnStack):
    """A backup of everything beside the data."""

    def begin(self) -> None:
        super().begin()
        shutil.rmtree(self.stand.shelf, ignore_errors=True)

    def act(self) -> Entry:
        return self.stand.back_up(f"round {self.number}")

    def judge(self, said: Entry) -> None:
        assert entries.find_entry(self.stand.shelf, "").id == said.id
        self.nothing_left(Level.MANIFEST)


class Proving(OnStack):
    """The proof that a stack could start from it."""

    def __init__(self, stand: Stand) -> None:
        super().__init__(stand)
        self.entry = stand.back_up()

    def begin(self) -> None:
        super().begin()
        now = datetime.now(UTC)
        entry = entries.find_entry(self.stand.shelf, self.entry.id)
        entries.record_verified(self.stand.shelf, entry, Level.MANIFEST, now, "the last round")

    def act(self) -> RestoreProven:
        return self.stand.verify(self.entry)

    def judge(self, said: RestoreProven) -> None:
        assert said.passed, said.proofs
        self.nothing_left(Level.RESTORED)


class Extracting(OnStack):
    """All of it written in clear where somebody asked for it."""

    def __init__(self, stand: Stand, to: Path) -> None:
        super().__init__(stand)
        self.roots = (*self.roots, to.parent)
        self.to = to
        self.entry = stand.back_up()

    def begin(self) -> None:
        super().begin()
        shutil.rmtree(self.to, ignore_errors=True)

    def act(self) -> Extracted:
        order = ExtractOrder(target=self.stand.target, entry_id=self.entry.id, to=str(self.to))
        return self.stand.extracting().ensure_configuration_extracted(order)

    def judge(self, said: Extracted) -> None:
        files = [path for path in self.to.rglob("*") if path.is_file()]
        assert len(files) == said.files
        assert any(JWT.encode() in path.read_bytes() for path in files)
        assert list(self.to.parent.iterdir()) == [self.to], "nothing in clear lies beside it"
        self.nothing_left(Level.MANIFEST)


@pytest.mark.parametrize("side", SIDES)
def test_a_backup_of_the_configuration_may_die_at_every_effect(stand: Stand, seen: Seen, side: Side) -> None:
    """F-A1, F-A2: every effect of a backup of the configuration."""
    dies_everywhere(Taking(stand), seen, side, at_least=5)


@pytest.mark.parametrize("side", SIDES)
def test_the_proof_of_a_configuration_may_die_at_every_effect(stand: Stand, seen: Seen, side: Side) -> None:
    """F-A1, F-A2: every effect of the proof: what was in clear in memory is gone too."""
    dies_everywhere(Proving(stand), seen, side, at_least=4)


@pytest.mark.parametrize("side", SIDES)
def test_a_configuration_may_die_at_every_effect_of_being_opened(
    stand: Stand, tmp_path: Path, seen: Seen, side: Side
) -> None:
    """F-A1, F-A2: every effect of an extraction."""
    to = tmp_path / "opened" / "here"
    to.parent.mkdir()
    dies_everywhere(Extracting(stand, to), seen, side, at_least=3)
