"""Disturbed at any effect, a backup and its verification end as undisturbed ones: once, with nothing left."""

import fcntl
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.stand import Said
from tests.faults.harness.enumeration import each_kind, few_in_each_step, spread
from tests.faults.harness.plan import Effect, Plan, Side
from tests.faults.harness.stand import FaultStand
from tests.faults.record import Seen

pytestmark = [pytest.mark.kill, pytest.mark.timeout(3600)]
MOST_IN_A_STEP = 4
"""An errand's step has five attempts."""
USUAL = {".pgpass"}


@dataclass(frozen=True)
class Work:
    """One command, and where it puts an entry; empty when it makes none."""

    words: tuple[str, ...]
    makes: str = ""


WORKS = {
    "base backup": Work(("backup", "now"), "postgres/base"),
    "dump": Work(("backup", "now", "daily"), "postgres/daily"),
    "verification of a base backup": Work(("backup", "verify", "{base}")),
    "verification by a restore": Work(("backup", "verify", "{daily}", "--restore")),
}


@dataclass(frozen=True)
class Did:
    """What came of a command: its answer, the host before and after, its effects, which faults fired."""

    said: Said
    before: dict[str, Any]
    after: dict[str, Any]
    effects: list[Effect]
    fired: list[str]
    unfired: list[Plan]


class Bench:
    """Runs one work under faults."""

    def __init__(self, stand: FaultStand, work: Work) -> None:
        self.stand = stand
        self.work = work
        newest = {
            kind: next(row["id"] for row in stand.backups() if row["kind"] == kind)
            for kind in ("base", "daily")
        }
        self.words = tuple(word.format(**newest) for word in work.words)

    def run(self, *plans: Plan) -> Did:
        before = remains(self.stand)
        self.stand.folder.arm(*plans)
        said = self.stand.dr(*self.words)
        folder = self.stand.folder
        effects, fired, unfired = folder.effects(), folder.fired(), folder.unfired()
        folder.disarm()
        return Did(said, before, remains(self.stand), effects, fired, unfired)

    def judge(self, did: Did) -> None:
        """Assert the end of an undisturbed run: the entry is there once, and nothing is left over."""
        assert did.said.code == 0, did.said
        assert did.said.data["verified"] in {"manifest", "restored"}
        entries, before = dict(did.after["entries"]), did.before["entries"]
        if self.work.makes:
            (made,) = entries[self.work.makes] - before[self.work.makes]
            assert did.said.data["id"] == made
            entries[self.work.makes] = entries[self.work.makes] - {made}
        assert entries == before
        for same in did.after.keys() - {"entries", "base backups"}:
            assert did.after[same] == did.before[same], same

    def undisturbed(self) -> list[Effect]:
        """Return the effects that a run has each time; one that comes and goes cannot be aimed at."""
        runs = []
        for _ in range(2):
            did = self.run()
            self.judge(did)
            runs.append(did.effects)
        places = {effect.place for effect in runs[1]}
        found = [effect for effect in runs[0] if effect.place in places]
        assert len(found) > 5, found
        return found

    def strike(self, seen: Seen, runs: list[list[Plan]]) -> int:
        """Strike at all these places and return how many there were; what was passed by is struck again."""
        missed = [plan for plans in runs for plan in self._struck(seen, plans)]
        again = max(Counter(plan.step for plan in missed).values(), default=0)
        for plans in spread(missed, again):
            unfired = self._struck(seen, plans)
            assert not unfired, f"void, did not fire: {unfired}"
        return sum(len(plans) for plans in runs)

    def _struck(self, seen: Seen, plans: list[Plan]) -> list[Plan]:
        did = self.run(*plans)
        self.judge(did)
        for fired in did.fired:
            seen(fired)
        return did.unfired


def remains(stand: FaultStand) -> dict[str, Any]:
    """Return everything that a backup could leave behind."""
    shelf = Path(stand.target().shelf)
    entries = {
        f"{kind.parent.name}/{kind.name}": {one.name for one in kind.iterdir() if one.name[0] != "."}
        for kind in shelf.glob("*/*")
        if kind.is_dir() and kind.name != "wal"
    }
    hidden = {str(p.relative_to(shelf)) for p in shelf.rglob(".*") if p.name not in USUAL}
    return {
        **stand.artefacts(),
        "entries": {kind: entries.get(kind, set()) for kind in ("postgres/base", "postgres/daily")},
        "hidden": {path for path in hidden if "/data/" not in path},
        "volumes": stand.host.volumes(),
        "locks": [path.name for path in (stand.state / "locks").glob("*") if is_held(path)],
    }


def is_held(path: Path) -> bool:
    """Tell whether a process still holds a lock."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@pytest.fixture(params=list(WORKS))
def bench(request: pytest.FixtureRequest, stand: FaultStand) -> Iterator[Bench]:
    if not any(row["kind"] == "daily" for row in stand.backups()):
        assert stand.dr("backup", "now", "daily").code == 0
    stand.folder.widen(on=True)
    try:
        yield Bench(stand, WORKS[request.param])
    finally:
        stand.folder.widen(on=False)


@pytest.mark.fault("A1", at_length=True)
@pytest.mark.fault("A2", at_length=True)
def test_every_effect_of_a_backup_and_of_its_verification_may_stay_unacknowledged(
    bench: Bench, seen: Seen
) -> None:
    """F-A1, F-A2: every effect fails after it happened, without being acknowledged."""
    fails_everywhere(bench, seen, "after")


@pytest.mark.fault("A1", nightly=True)
@pytest.mark.fault("A2", nightly=True)
def test_every_effect_of_a_backup_and_of_its_verification_may_fail_once(bench: Bench, seen: Seen) -> None:
    """F-A1, F-A2: every effect fails before it happened."""
    fails_everywhere(bench, seen, "before")


def fails_everywhere(bench: Bench, seen: Seen, side: Side) -> None:
    effects = bench.undisturbed()
    assert bench.strike(seen, few_in_each_step(effects, side, "raise", MOST_IN_A_STEP)) == len(effects)


@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.fault("A1", at_length=True)
@pytest.mark.fault("A2", at_length=True)
def test_a_worker_killed_at_each_kind_of_effect_of_a_backup_changes_nothing(
    bench: Bench, seen: Seen, side: Side
) -> None:
    """F-A1, F-A2: worker killed with SIGKILL at one effect of each kind."""
    kinds = each_kind(bench.undisturbed(), side)
    assert bench.strike(seen, spread(kinds, max(3, len(kinds) // 3))) == len(kinds) >= 3
