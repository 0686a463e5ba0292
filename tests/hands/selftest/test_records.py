"""The self-test of keys, of the search for secrets and of the audit file; and a check that is broken."""

from pathlib import Path

import pytest

from activities import secret_scan
from activities.audit import Audit
from activities.selftest.record_trials import RecordTrials
from activities.selftest.trial import Trials
from domain.selftest import Tried, Verdict


def tried(directory: Path) -> Tried:
    trials = Trials()
    RecordTrials(directory, trials).run()
    return trials.tested()


def lived(tested: Tried) -> set[str]:
    return {row.mutant for row in tested.mutants if row.verdict is not Verdict.KILLED}


@pytest.mark.mutant("M16")
@pytest.mark.mutant("M23")
@pytest.mark.mutant("M24")
def test_every_mutant_of_keys_secrets_and_audit_is_killed(tmp_path: Path) -> None:
    tested = tried(tmp_path)
    assert lived(tested) == set()
    assert {row.mutant for row in tested.mutants} == {"M16", "M23", "M24"}
    assert all(row.seen for row in tested.mutants)
    assert all(row.passed for row in tested.controls)


def test_a_search_that_knows_only_one_spelling_lets_its_mutant_live(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secret_scan, "_settled", lambda window: window)
    assert lived(tried(tmp_path)) == {"M23"}


def test_an_audit_file_without_its_head_lets_its_mutant_live(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activities.audit.what_is_wrong", lambda *_: "")
    assert lived(tried(tmp_path)) == {"M24"}
    assert Audit(tmp_path / "audited").proof().passed
