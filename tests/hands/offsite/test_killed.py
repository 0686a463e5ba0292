"""A worker that dies at any effect of an off-site copy, or of the way back: the same in the end."""

import shutil
from pathlib import Path

import pytest

from domain.far_choice import Recalled
from domain.offsite_copies import CopiedOffsite, Fetched
from tests.faults.record import Seen
from tests.hands.dying import SIDES, Side, Trial, dies_everywhere, remains
from tests.hands.offsite.objects import COPY
from tests.hands.offsite.place import BASE, Place, tree
from tests.hands.offsite.test_enumeration import Bench
from tests.hands.offsite.test_recall import ASIDE, bases, recall

pytestmark = [pytest.mark.hand, pytest.mark.timeout(900)]


class OnShelf(Trial):
    """What the trials of all hands share."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.place: Place = bench.place(bench.straight)
        self.state = self.place.directory / "state"
        super().__init__(self.place.shelf, self.state)


class Copying(OnShelf):
    """A copy of everything to an empty bucket."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.place.copy()
        self.far = bench.far(self.place)
        self.here = tree(self.place.shelf)
        self.unfinished = remains(self.place.shelf, self.state)

    def begin(self) -> None:
        super().begin()
        self.place = self.bench.place(self.bench.straight)

    def act(self) -> CopiedOffsite:
        return self.place.copy()

    def judge(self, said: CopiedOffsite) -> None:
        assert said.strangers, "what is no entry was told again"
        assert self.bench.far(self.place) == self.far
        assert {one.checked for one in self.place.list().entries} == {True}
        assert tree(self.place.shelf) == self.here
        assert remains(self.place.shelf, self.state) == self.unfinished


class Fetching(OnShelf):
    """One entry comes back to a shelf that is lost."""

    def __init__(self, bench: Bench, entry_id: str) -> None:
        super().__init__(bench)
        self.entry_id = entry_id
        self.place.copy()
        self.far = bench.far(self.place)
        self.begin()
        self.act()
        self.wanted = tree(self.place.shelf)

    def begin(self) -> None:
        super().begin()
        shutil.rmtree(self.place.shelf)

    def act(self) -> Fetched:
        return self.place.fetch(self.entry_id)

    def judge(self, said: Fetched) -> None:
        assert said.id == self.entry_id
        assert tree(self.place.shelf) == self.wanted
        assert remains(self.place.shelf, self.state) == []
        assert self.bench.far(self.place) == self.far


class Recalling(OnShelf):
    """A base backup comes back in the place of one that was refused."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.place.copy()
        self.damaged = bases(self.place) / BASE / "data" / "base" / "5" / "16384"
        recall(self.place)
        self.wanted = tree(bases(self.place) / BASE)
        self.wanted.pop("data/base/5/junk.tmp", None)
        self.unfinished = remains(self.place.shelf, self.state)

    def begin(self) -> None:
        super().begin()
        shutil.rmtree(self.aside, ignore_errors=True)
        self.damaged.write_bytes(b"garbage of round %d" % self.number)

    @property
    def aside(self) -> Path:
        return bases(self.place) / ASIDE

    def act(self) -> Recalled:
        return recall(self.place)

    def judge(self, said: Recalled) -> None:
        assert (said.id, said.problem) == (BASE, "")
        damaged = self.damaged.relative_to(bases(self.place) / BASE)
        assert (self.aside / damaged).read_bytes() == b"garbage of round %d" % self.number
        after = tree(bases(self.place) / BASE)
        assert after == self.wanted
        aside = [path for path in remains(self.place.shelf, self.state) if ASIDE not in path]
        assert aside == self.unfinished


@pytest.fixture
def bench(tmp_path: Path, moto_port: int) -> Bench:
    return Bench(tmp_path, moto_port)


@pytest.mark.parametrize("side", SIDES)
def test_an_offsite_copy_may_die_at_every_effect(bench: Bench, seen: Seen, side: Side) -> None:
    """F-A1, F-A2: every effect of a copy to the second place."""
    dies_everywhere(Copying(bench), seen, side, at_least=15)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("entry_id", [BASE, COPY], ids=["base", "objects"])
def test_a_fetch_may_die_at_every_effect(bench: Bench, seen: Seen, entry_id: str, side: Side) -> None:
    """F-A1, F-A2: every effect of the way back to an empty shelf, with the WAL or the objects."""
    dies_everywhere(Fetching(bench, entry_id), seen, side, at_least=10)


@pytest.mark.parametrize("side", SIDES)
def test_a_recall_may_die_at_every_effect(bench: Bench, seen: Seen, side: Side) -> None:
    """F-A1, F-A2: every effect of the way back in the place of a backup that was refused."""
    dies_everywhere(Recalling(bench), seen, side, at_least=10)
