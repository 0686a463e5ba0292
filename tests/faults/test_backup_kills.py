"""Disturbed at any effect, a backup and its verification end as undisturbed ones: once, with nothing left."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from domain.entries import KINDS
from domain.names import LABEL_STACK
from tests.e2e.stand import Said
from tests.faults.harness.enumeration import BOUNDARY, each_kind, few_in_each_step, spread
from tests.faults.harness.plan import Effect, Plan, Side
from tests.faults.harness.stand import FaultStand
from tests.faults.record import Seen
from tests.hands.dying import MEMORY, remains

pytestmark = [pytest.mark.kill, pytest.mark.timeout(3600)]
MOST_IN_A_STEP = 3
"""A proof's step has four attempts, an errand's five."""


@dataclass(frozen=True)
class Work:
    """One command, and where it puts an entry each; the ids of the newest entries stand in braces."""

    words: tuple[str, ...]
    makes: tuple[str, ...] = ()


OF_POSTGRES = {
    "base backup": Work(("backup", "now"), ("postgres/base",)),
    "dump": Work(("backup", "now", "daily"), ("postgres/daily",)),
    "verification of a base backup": Work(("backup", "verify", "{postgres/base}")),
    "verification by a restore": Work(("backup", "verify", "{postgres/daily}", "--restore")),
    "verification of a base backup by a restore": Work(("backup", "verify", "{postgres/base}", "--restore")),
}
MAKES = {
    "redis": ("redis/rdb", "redis/aof"),
    "minio": ("minio/copy",),
    "meilisearch": ("meilisearch/snapshot", "meilisearch/dump"),
    "hasura": ("hasura/metadata",),
    "stack": ("stack/configuration",),
}
"""What ``dr backup now`` of each store makes."""
OF_STORES = {f"backup of {store}": Work(("backup", "now", store), made) for store, made in MAKES.items()} | {
    f"proof of {place}": Work(("backup", "verify", f"{{{place}}}", "--restore"))
    for made in MAKES.values()
    for place in made
}
WORKS = OF_POSTGRES | OF_STORES
of_postgres = pytest.mark.parametrize("bench", list(OF_POSTGRES), indirect=True)
of_stores = pytest.mark.parametrize("bench", list(OF_STORES), indirect=True)


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
        newest = _newest(stand)
        self.words = tuple(newest[word[1:-1]] if word[0] == "{" else word for word in work.words)
        self.places: set[tuple[str, str, str, int]] = set()
        """The effects of an undisturbed run."""

    def run(self, *plans: Plan) -> Did:
        before = state_of(self.stand)
        self.stand.folder.arm(*plans)
        said = self.stand.dr(*self.words)
        folder = self.stand.folder
        effects, fired, unfired = folder.effects(), folder.fired(), folder.unfired()
        folder.disarm()
        return Did(said, before, state_of(self.stand), effects, fired, unfired)

    def judge(self, did: Did) -> None:
        """Assert the end of an undisturbed run: each entry is there once, and nothing is left over."""
        assert did.said.code == 0, did.said
        rows = did.said.data if isinstance(did.said.data, list) else [did.said.data]
        wanted = "restored" if "--restore" in self.words else "manifest"
        assert {row["verified"] for row in rows} <= {wanted, "restored"}, rows
        entries, before = dict(did.after["entries"]), did.before["entries"]
        made = {place: entries[place] - before[place] for place in self.work.makes}
        assert sorted(name for names in made.values() for name in names) == sorted(
            row["id"] for row in rows if self.work.makes
        )
        assert all(len(names) == 1 for names in made.values()), made
        assert {place: names - made.get(place, set()) for place, names in entries.items()} == before
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
        assert len(found) > MOST_IN_A_STEP, found
        self.places = {effect.place for effect in found}
        return found

    def strike(self, seen: Seen, runs: list[list[Plan]]) -> int:
        """Strike at all these places and return how many there were; what was passed by is struck again."""
        missed = [self._alone(plan) for plans in runs for plan in self._struck(seen, plans)]
        again = max(Counter(plan.step for plan in missed).values(), default=0)
        for plans in spread(missed, again):
            unfired = self._struck(seen, plans)
            assert not unfired, f"void, did not fire: {unfired}"
        return sum(len(plans) for plans in runs)

    def _alone(self, plan: Plan) -> Plan:
        """Return a plan as it fires without those that it counted on: the first attempt is the last then."""
        known = (plan.step, plan.client, plan.label, plan.nth) in self.places
        return plan if known or plan.client != BOUNDARY else replace(plan, nth=1)

    def _struck(self, seen: Seen, plans: list[Plan]) -> list[Plan]:
        did = self.run(*plans)
        self.judge(did)
        for fired in did.fired:
            seen(fired)
        return did.unfired


def state_of(stand: FaultStand) -> dict[str, Any]:
    """Return everything that a backup makes, and that it could leave behind."""
    shelf = Path(stand.target().shelf)
    mine: dict[str, str | list[str] | bool] = {"label": f"{LABEL_STACK}={stand.name}"}
    return {
        **stand.artefacts(),
        "entries": {
            f"{store}/{kind}": {one.name for one in (shelf / store / kind).glob("[!.]*")}
            for store, kinds in KINDS.items()
            for kind in kinds
        },
        "beside base backups": sorted(
            str(path)
            for path in shelf.glob("postgres/base/[!.]*/*")
            if path.name not in {"data", "contents.json", "dr.json"}
        ),
        # What PostgreSQL's own files are called is none of ours.
        "remains": sorted(path for path in remains(shelf, stand.state) if "/data/" not in path),
        "volumes": stand.host.volumes(),
        "networks": sorted(str(one.name) for one in stand.client.networks.list(filters=mine)),
        "in clear": sorted(str(path) for path in MEMORY.glob(f"dr-{stand.name}-*")),
        "settings held back": sorted(path.name for path in (stand.state / "redis-rewrite").glob("*")),
    }


def _newest(stand: FaultStand) -> dict[str, str]:
    """Return the ids of the newest entries by store and kind."""
    return {f"{row['store']}/{row['kind']}": str(row["id"]) for row in reversed(stand.backups())}


def prepare(stand: FaultStand, work: Work) -> None:
    """Have the key that some are sealed with, and anew what the work is to verify."""
    if not stand.dr("keys", "backup", "list").data:
        assert stand.dr("keys", "backup", "new").code == 0
        assert stand.dr("keys", "backup", "confirm", "--by", "test").code == 0
    for word in work.words:
        if word[0] == "{":
            store, _, kind = word[1:-1].partition("/")
            said = stand.dr("backup", "now", store if store in MAKES else kind)
            assert said.code == 0, said


@pytest.fixture
def bench(request: pytest.FixtureRequest, stand: FaultStand) -> Iterator[Bench]:
    work = WORKS[request.param]
    prepare(stand, work)
    stand.folder.widen(on=True)
    try:
        yield Bench(stand, work)
    finally:
        stand.folder.widen(on=False)


@of_postgres
@pytest.mark.fault("A1", at_length=True)
@pytest.mark.fault("A2", at_length=True)
def test_every_effect_of_a_backup_and_of_its_verification_may_stay_unacknowledged(
    bench: Bench, seen: Seen
) -> None:
    """F-A1, F-A2: every effect fails after it happened, without being acknowledged."""
    fails_everywhere(bench, seen, "after")


@of_postgres
@pytest.mark.fault("A1", nightly=True)
@pytest.mark.fault("A2", nightly=True)
def test_every_effect_of_a_backup_and_of_its_verification_may_fail_once(bench: Bench, seen: Seen) -> None:
    """F-A1, F-A2: every effect fails before it happened."""
    fails_everywhere(bench, seen, "before")


@of_stores
@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.fault("A1", nightly=True)
@pytest.mark.fault("A2", nightly=True)
def test_every_effect_of_a_backup_of_a_store_and_of_its_proof_may_fail_once(
    bench: Bench, seen: Seen, side: Side
) -> None:
    """F-A1, F-A2: every effect fails, before it happened or without being acknowledged."""
    fails_everywhere(bench, seen, side)


def fails_everywhere(bench: Bench, seen: Seen, side: Side) -> None:
    effects = bench.undisturbed()
    assert bench.strike(seen, few_in_each_step(effects, side, "raise", MOST_IN_A_STEP)) == len(effects)


@of_postgres
@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.fault("A1", at_length=True)
@pytest.mark.fault("A2", at_length=True)
def test_a_worker_killed_at_each_kind_of_effect_of_a_backup_changes_nothing(
    bench: Bench, seen: Seen, side: Side
) -> None:
    """F-A1, F-A2: worker killed with SIGKILL at one effect of each kind."""
    dies_at_each_kind(bench, seen, side)


@of_stores
@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.fault("A1", nightly=True)
@pytest.mark.fault("A2", nightly=True)
def test_a_worker_killed_at_each_kind_of_effect_on_a_store_changes_nothing(
    bench: Bench, seen: Seen, side: Side
) -> None:
    """F-A1, F-A2: worker killed with SIGKILL at one effect of each kind."""
    dies_at_each_kind(bench, seen, side)


def dies_at_each_kind(bench: Bench, seen: Seen, side: Side) -> None:
    kinds = each_kind(bench.undisturbed(), side)
    assert bench.strike(seen, spread(kinds, max(3, len(kinds) // 3))) == len(kinds) >= 2


@of_stores
@pytest.mark.fault("A1", at_length=True)
@pytest.mark.fault("A2", at_length=True)
def test_a_worker_killed_in_a_backup_of_a_store_and_in_its_proof_changes_nothing(
    bench: Bench, seen: Seen
) -> None:
    """F-A1, F-A2: worker killed with SIGKILL after an effect, before the last one, and with the answer."""
    effects = bench.undisturbed()
    step = effects[-1].step
    inside = [effect for effect in effects if effect.step == step and effect.client != BOUNDARY]
    struck = dict.fromkeys((inside[len(inside) // 3], inside[-1]))
    sides: tuple[Side, ...] = ("after", "before")
    plans = [Plan.at(effect, side, "kill") for effect, side in zip(struck, sides, strict=False)]
    # The attempt after these comes to its end, and its answer is lost.
    plans.append(Plan(step, BOUNDARY, "hand", len(plans) + 1, "after", "kill"))
    assert bench.strike(seen, [plans]) == len(plans) >= 2
