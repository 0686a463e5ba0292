"""Disturbed at any effect, a verification of everything and the copies off this site end undisturbed."""

import json
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from domain.entries import KINDS
from tests.e2e.test_shelf_lost import OFFSITE
from tests.faults.harness.enumeration import boundaries, spread
from tests.faults.harness.plan import Effect, Plan, Side
from tests.faults.harness.stand import FaultStand
from tests.faults.record import Seen
from tests.faults.test_backup_kills import (
    Bench,
    Did,
    Work,
    dies_at_each_kind,
    fails_everywhere,
    prepare,
)
from tests.hands.offsite.place import KEYS, Place, tree
from tests.hands.offsite.test_minio import minio_port  # noqa: F401 - the fixture

pytestmark = [pytest.mark.kill, pytest.mark.timeout(3600)]
WANTED = {"postgres/base", "redis/rdb", "redis/aof", "stack/configuration"}
"""What the policy wants here: nothing is drawn by chance where there is one of each kind."""
NOT_WANTED = "postgres-daily|postgres-weekly|minio|meilisearch|hasura"
LOOKED_AT = {"there", "fresh", "size", "archived", "restored", "far listed", "far fetched"}


class Afar:
    """The stand with a bucket of its own, and one backup of each kind that is wanted."""

    def __init__(self, stand: FaultStand, place: Place) -> None:
        self.stand = stand
        self.place = place
        self.shelf = Path(stand.target().shelf)

    def entries(self) -> set[Path]:
        """Return the directories of all entries on the shelf."""
        places = (self.shelf / store / kind for store, kinds in KINDS.items() for kind in kinds)
        return {path for place in places for path in place.glob("[!.]*")}

    def take(self, *what: str) -> None:
        """Take backups."""
        for one in what:
            said = self.stand.dr("backup", "now", one)
            assert said.code == 0, said

    def keep_newest(self) -> None:
        """Leave one entry of each kind that is wanted, and none of the others."""
        for place in {path.parent for path in self.entries()}:
            found = sorted(place.glob("[!.]*"))
            for old in found[:-1] if str(place.relative_to(self.shelf)) in WANTED else found:
                shutil.rmtree(old)

    def copy(self) -> None:
        """Copy the shelf."""
        said = self.stand.dr("offsite", "copy")
        assert said.code == 0, said

    def require_whole(self) -> None:
        """Assert that all of the shelf is there once, as its manifests say, and nothing half sent."""
        listed = self.stand.dr("offsite", "list").data["entries"]
        assert {one["id"] for one in listed if one["finished"]} >= {path.name for path in self.entries()}
        assert [one for one in listed if not one["finished"] or one["checked"] is False] == []
        assert {f"{one['store']}/{one['kind']}" for one in listed if one["checked"]} == WANTED
        client, bucket = self.place.client, self.place.bucket
        pages = list(client.get_paginator("list_object_versions").paginate(Bucket=bucket))
        names = [one["Key"] for page in pages for one in page["Versions"]]
        assert len(set(names)) == len(names), "an object was written twice"
        assert not any(page.get("DeleteMarkers") for page in pages)
        assert not client.list_multipart_uploads(Bucket=bucket).get("Uploads")


class Far(Bench):
    """Runs one work under faults; begins each time with what it needs."""

    def __init__(self, afar: Afar, *words: str) -> None:
        super().__init__(afar.stand, Work(words))
        self.afar = afar

    def run(self, *plans: Plan) -> Did:
        self.begin()
        return super().run(*plans)

    def begin(self) -> None:
        """Have something to do."""

    def judge(self, did: Did) -> None:
        assert did.said.code == 0, did.said
        changed = {name for name in did.after if did.after[name] != did.before[name]}
        assert changed == set(), {name: (did.before[name], did.after[name]) for name in changed}
        assert list((self.stand.state / "far-check").glob("*/*")) == []


class Verifying(Far):
    """Everything that is due is looked at and restored, and a far copy is brought back."""

    def __init__(self, afar: Afar) -> None:
        super().__init__(afar, "backup", "verify", "--all")
        self.known: set[Path] = set()
        # One copy alone, so that it is always the same that is brought back.
        aside = afar.stand.state / "aside"
        aside.mkdir()
        others = [path for path in afar.entries() if path.parent.name != "configuration"]
        for path in others:
            path.rename(aside / path.name)
        afar.copy()
        for path in others:
            (aside / path.name).rename(path)
        aside.rmdir()

    def begin(self) -> None:
        self.known = self.reports()

    def reports(self) -> set[Path]:
        return set((self.stand.state / "reports" / self.stand.name / "verifications").glob("*"))

    def judge(self, did: Did) -> None:
        super().judge(did)
        report: dict[str, Any] = did.said.data
        assert report["passed"], report["rule"]
        assert sorted(report["restored"]) == sorted(path.name for path in self.afar.entries())
        assert {one["what"] for one in report["checks"]} == LOOKED_AT
        assert [one for one in report["checks"] if one["passed"] is not True] == []
        (written,) = self.reports() - self.known
        assert str(written) == report["path"]
        assert json.loads(written.read_text()) == report


class Copying(Far):
    """New backups are copied off this site."""

    def __init__(self, afar: Afar) -> None:
        super().__init__(afar, "offsite", "copy")
        afar.copy()

    def begin(self) -> None:
        self.afar.take("redis")

    def undisturbed(self) -> list[Effect]:
        # A segment is closed when there is something in it: not in every run.
        return [effect for effect in super().undisturbed() if "/wal/" not in effect.label]

    def judge(self, did: Did) -> None:
        super().judge(did)
        self.afar.require_whole()


class Fetching(Far):
    """A backup that is lost here comes back."""

    def __init__(self, afar: Afar) -> None:
        (self.entry,) = (path for path in afar.entries() if path.parent.name == "aof")
        super().__init__(afar, "offsite", "fetch", self.entry.name)
        self.was = tree(self.entry)
        afar.copy()

    def begin(self) -> None:
        shutil.rmtree(self.entry)

    def judge(self, did: Did) -> None:
        did.before["entries"]["redis/aof"].add(self.entry.name)
        # That counts the entries of every kind.
        did.before["base backups"] += 1
        super().judge(did)
        assert did.said.data["id"] == self.entry.name
        assert tree(self.entry) == self.was
        self.afar.require_whole()


BENCHES = {"verification": Verifying, "off-site copy": Copying, "fetch": Fetching}


@pytest.fixture(scope="module")
def with_keys(fault_stand: FaultStand) -> Iterator[FaultStand]:
    """Have the worker know the keys of the far store."""
    fault_stand.restart_worker(**KEYS)
    yield fault_stand
    fault_stand.restart_worker()


@pytest.fixture
def afar(
    with_keys: FaultStand,
    stand: FaultStand,
    minio_port: int,  # noqa: F811 - the fixture
    tmp_path: Path,
) -> Iterator[Afar]:
    place = Place(tmp_path, f"http://127.0.0.1:{minio_port}", f"copies-{secrets.token_hex(6)}")
    place.client.create_bucket(Bucket=place.bucket)
    text = stand.stack_file.read_text()
    wanted = re.sub(rf"(?m)^    ({NOT_WANTED}): .*$", r"    \1: null", text)
    stand.stack_file.write_text(wanted + OFFSITE.format(port=minio_port, bucket=place.bucket))
    try:
        made = Afar(stand, place)
        prepare(stand, Work(()))
        made.take("base", "redis", "stack")
        made.keep_newest()
        assert {str(path.parent.relative_to(made.shelf)) for path in made.entries()} == WANTED
        yield made
    finally:
        stand.stack_file.write_text(text)


@pytest.fixture
def bench(request: pytest.FixtureRequest, afar: Afar) -> Iterator[Far]:
    made = BENCHES[request.param](afar)
    afar.stand.folder.widen(on=True)
    try:
        yield made
    finally:
        afar.stand.folder.widen(on=False)


of_verification = pytest.mark.parametrize("bench", ["verification"], indirect=True)
of_ways = pytest.mark.parametrize("bench", ["off-site copy", "fetch"], indirect=True)
both_sides = pytest.mark.parametrize("side", ["before", "after"])


@of_verification
@both_sides
@pytest.mark.fault("A1", at_length=True)
@pytest.mark.fault("A2", at_length=True)
def test_a_worker_killed_at_every_boundary_of_a_verification_changes_nothing_of_what_it_finds(
    bench: Far, seen: Seen, side: Side
) -> None:
    """F-A1, F-A2: worker killed with SIGKILL before and after every step of a verification."""
    plans = boundaries(bench.undisturbed(), side, "worker")
    assert bench.strike(seen, spread(plans, 4)) == len(plans) > 10


@of_verification
@both_sides
@pytest.mark.fault("A1", nightly=True)
@pytest.mark.fault("A2", nightly=True)
def test_a_worker_killed_at_each_kind_of_effect_of_a_verification_changes_nothing(
    bench: Far, seen: Seen, side: Side
) -> None:
    """F-A1, F-A2: worker killed with SIGKILL at one effect of each kind."""
    dies_at_each_kind(bench, seen, side)


@of_verification
@both_sides
@pytest.mark.fault("A1", nightly=True)
@pytest.mark.fault("A2", nightly=True)
def test_every_effect_of_a_verification_may_fail_once(bench: Far, seen: Seen, side: Side) -> None:
    """F-A1, F-A2: every effect fails, before it happened or without being acknowledged."""
    fails_everywhere(bench, seen, side)


@of_ways
@both_sides
@pytest.mark.fault("A1", at_length=True)
@pytest.mark.fault("A2", at_length=True)
def test_a_worker_killed_at_each_kind_of_effect_on_the_way_to_the_second_place_changes_nothing(
    bench: Far, seen: Seen, side: Side
) -> None:
    """F-A1, F-A2: worker killed with SIGKILL at one effect of each kind."""
    dies_at_each_kind(bench, seen, side)


@of_ways
@both_sides
@pytest.mark.fault("A1", at_length=True)
@pytest.mark.fault("A2", at_length=True)
def test_every_effect_on_the_way_to_the_second_place_may_fail_once(
    bench: Far, seen: Seen, side: Side
) -> None:
    """F-A1, F-A2: every effect fails, before it happened or without being acknowledged."""
    fails_everywhere(bench, seen, side)
