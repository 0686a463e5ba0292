"""A worker that dies at any effect on a search engine: the next attempt ends as if nothing had happened."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from activities import entries
from activities.postgres.release import Releasing
from activities.search_restore import SearchRestoring
from activities.secrets import Secrets
from activities.tokens import Tokens
from domain.backups import Level
from domain.dumps import RestoreProven
from domain.entries import Entry
from domain.release import ReleaseOrder
from domain.search_restore import SearchRestored, SearchRestoreOrder
from tests.faults.record import Seen
from tests.hands.dying import AT_NIGHT, SIDES, Side, Trial, dies_everywhere, remains
from tests.hands.search_store.conftest import MESSAGES, SearchStand
from worker.tools_image import tools_image

pytestmark = [pytest.mark.hand, pytest.mark.timeout(1800)]
NUMBER_NOT_KEPT = ("http POST /dumps", "search-dumps/")
"""Deaths after which nobody knows which dump was asked for: it is left, it may be somebody's."""


class OnStore(Trial):
    """What the trials of all hands share."""

    def __init__(self, stand: SearchStand) -> None:
        super().__init__(stand.shelf, stand.state)
        self.stand = stand

    def nothing_left(self) -> None:
        stand = self.stand
        assert remains(stand.shelf, stand.state) == []
        assert stand.left() == []
        stand.answers()
        assert (stand.count("messages"), stand.count("notes")) == (250, 7)


class Taking(OnStore):
    """A snapshot and a dump."""

    def begin(self) -> None:
        super().begin()
        shutil.rmtree(self.stand.shelf)
        self.stand.shelf.mkdir()
        for dump in self.dumps():
            dump.unlink()

    def act(self) -> dict[str, Entry]:
        return self.stand.back_up(f"round {self.number}")

    def judge(self, said: dict[str, Entry]) -> None:
        found, strangers = entries.read_entries(self.stand.shelf)
        assert sorted(entry.kind for entry in found) == ["dump", "snapshot"]
        assert {entry.id for entry in found} == {entry.id for entry in said.values()}
        assert {entry.verified for entry in found} == {Level.MANIFEST}
        assert strangers == []
        unknown = [one for one in self.died if any(word in one.label for word in NUMBER_NOT_KEPT)]
        assert len(self.dumps()) <= len(unknown), "a dump that was fetched fills the engine's volume"
        self.nothing_left()

    def dumps(self) -> list[Path]:
        volume = self.stand.client.api.inspect_volume(f"{self.stand.project}_meilisearch_data")
        return sorted(Path(volume["Mountpoint"]).glob("dumps/*"))


class Proving(OnStore):
    """The proof of one backup by loading it."""

    def __init__(self, stand: SearchStand, kind: str) -> None:
        super().__init__(stand)
        self.entry = stand.back_up()[kind]

    def begin(self) -> None:
        super().begin()
        now = datetime.now(UTC)
        entries.record_verified(self.stand.shelf, self.entry, Level.MANIFEST, now, "the last round")

    def act(self) -> RestoreProven:
        return self.stand.verify(self.entry)

    def judge(self, said: RestoreProven) -> None:
        assert said.passed, said.proofs
        found, strangers = entries.read_entries(self.stand.shelf)
        assert {one.kind: one.verified for one in found}[self.entry.kind] is Level.RESTORED
        assert (len(found), strangers) == (2, [])
        self.nothing_left()


class Restoring(OnStore):
    """The restore of one backup in the place of what runs."""

    def __init__(self, stand: SearchStand, kind: str) -> None:
        super().__init__(stand)
        self.entry = stand.back_up()[kind]
        tools = tools_image(stand.client, "")
        secrets, tokens = Secrets(stand.engine), Tokens(stand.state)
        self.hand = SearchRestoring(stand.engine, secrets, tokens, stand.state, tools)
        self.policy = self.restarts()

    def begin(self) -> None:
        super().begin()
        stand, recovery = self.stand, f"20261122T1600Z-{self.number:08x}"
        stand.made.append(recovery)
        lost = [one["id"] for one in MESSAGES[:200]]
        stand.done("POST", "/indexes/messages/documents/delete-batch", lost)
        assert stand.count("messages") == 50
        self.order = SearchRestoreOrder(target=stand.target, entry_id=self.entry.id, recovery_id=recovery)

    def act(self) -> SearchRestored:
        return self.hand.ensure_search_restored(self.order)

    def judge(self, said: SearchRestored) -> None:
        stand = self.stand
        assert all(proof.passed for proof in said.proofs)
        assert self.restarts() == self.policy
        assert len(stand.left()) == 2, "the kept volume and what holds it"
        released = Releasing(stand.engine, Tokens(stand.state), stand.state).ensure_released(
            ReleaseOrder(release_of=self.order.recovery_id)
        )
        assert released.volumes == (said.kept_volume,)
        self.nothing_left()

    def restarts(self) -> str:
        """Return the restart policy of the engine."""
        raw = self.stand.client.api.inspect_container(self.stand.container)
        return str(raw["HostConfig"]["RestartPolicy"]["Name"])


@pytest.mark.parametrize("side", SIDES)
def test_a_backup_of_search_may_die_at_every_effect(search: SearchStand, seen: Seen, side: Side) -> None:
    """F-A1, F-A2: every effect of a snapshot and a dump."""
    dies_everywhere(Taking(search), seen, side, at_least=15)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("kind", ["snapshot", pytest.param("dump", marks=AT_NIGHT)])
def test_the_proof_of_a_backup_of_search_may_die_at_every_effect(
    search: SearchStand, seen: Seen, kind: str, side: Side
) -> None:
    """F-A1, F-A2: every effect of a proof by loading."""
    dies_everywhere(Proving(search, kind), seen, side, at_least=10)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("kind", ["snapshot", pytest.param("dump", marks=AT_NIGHT)])
def test_a_restore_of_search_may_die_at_every_effect(
    search: SearchStand, seen: Seen, kind: str, side: Side
) -> None:
    """F-A1, F-A2: every effect of a restore with its exchange of volumes."""
    dies_everywhere(Restoring(search, kind), seen, side, at_least=18)
