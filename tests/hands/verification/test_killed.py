"""A worker that dies at any effect of a verification's own hands: found the same, and nothing left."""

import json
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from activities.verification import VerificationReports
from domain.dumps import RestoreProven
from domain.verification import RecordVerificationOrder, VerificationReport
from tests.faults.record import Seen
from tests.hands.dying import SIDES, Side, Trial, dies_everywhere, remains
from tests.hands.offsite.objects import COPY, shelve
from tests.hands.offsite.place import NOW, tree
from tests.hands.shelved import DAILY
from tests.hands.verification.test_far_check import Far

pytestmark = [pytest.mark.hand, pytest.mark.timeout(600)]


class Checking(Trial):
    """A far copy is fetched into a shelf of its own, compared, and removed."""

    def __init__(self, far: Far, entry_id: str) -> None:
        self.far, self.entry_id = far, entry_id
        shelve(far.place, objects={f"object {number}": bytes([number]) * 100 for number in range(5)})
        far.place.copy()
        super().__init__(far.place.shelf, far.state)
        self.here, self.there = tree(far.place.shelf), far.place.far()

    def act(self) -> RestoreProven:
        return self.far.prove(self.entry_id)

    def judge(self, said: RestoreProven) -> None:
        assert said.passed, said.proofs
        assert [one.passed for one in said.proofs] == [True, True, True]
        assert self.far.left() == []
        assert remains(self.far.place.shelf, self.far.state) == []
        assert (tree(self.far.place.shelf), self.far.place.far()) == (self.here, self.there)


class Recording(Trial):
    """The report of a verification is written."""

    def __init__(self, state: Path) -> None:
        super().__init__(state)
        self.state = state

    def begin(self) -> None:
        super().begin()
        shutil.rmtree(self.state, ignore_errors=True)
        began = NOW + timedelta(minutes=self.number)
        self.report = VerificationReport(
            stack="lab",
            outcome="passed",
            rule="all there",
            run_id=f"run-{self.number:08}",
            started_at=began,
            ended_at=began,
        )

    def act(self) -> VerificationReport:
        order = RecordVerificationOrder(report=self.report)
        return VerificationReports(self.state).ensure_verification_recorded(order)

    def judge(self, said: VerificationReport) -> None:
        (written,) = (self.state / "reports" / self.report.stack / "verifications").iterdir()
        assert str(written) == said.path
        assert json.loads(written.read_text()) == {"passed": True, **said.model_dump(mode="json")}
        assert remains(self.state / "shelf", self.state) == []


@pytest.fixture
def far(tmp_path: Path, moto_port: int) -> Far:
    return Far(tmp_path, moto_port)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("entry_id", [DAILY, COPY], ids=["dump", "objects"])
def test_the_check_of_a_far_copy_may_die_at_every_effect(
    far: Far, seen: Seen, entry_id: str, side: Side
) -> None:
    """F-A1, F-A2: every effect of fetching a copy to look whether it can be fetched."""
    dies_everywhere(Checking(far, entry_id), seen, side, at_least=6)


@pytest.mark.parametrize("side", SIDES)
def test_the_report_of_a_verification_may_die_at_every_effect(tmp_path: Path, seen: Seen, side: Side) -> None:
    """F-A1, F-A2: every effect of writing the report."""
    dies_everywhere(Recording(tmp_path / "state"), seen, side, at_least=2)
