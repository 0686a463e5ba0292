"""The audit file: what is decided is written down once, and what was taken out shows."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from activities.audit import Audit
from activities.host import _decisions
from domain.report import DecisionLine, Report

NOW = datetime(2026, 11, 22, 4, 30, tzinfo=UTC)


def decision(by: str, *, counted: bool = True) -> DecisionLine:
    return DecisionLine(at=NOW, verb="approve", gate="swap", by=by, counted=counted, because="it is so")


def report(*decisions: DecisionLine, ended: bool = False) -> Report:
    return Report(
        run_id="run",
        workflow_id="recovery/lab",
        recovery_id="20261122T0430Z-abcd1234",
        stack="lab",
        scenario="DatabaseCorruption",
        mode="real",
        outcome="recovered" if ended else "open",
        rule="it was verified",
        decisions=decisions,
        ended_at=NOW if ended else None,
    )


def lines(audit: Audit) -> list[str]:
    return audit.file.read_text().splitlines()


def test_an_audit_file_that_was_never_written_proves_nothing(tmp_path: Path) -> None:
    assert Audit(tmp_path).proof().passed is None


def test_decisions_that_counted_and_that_were_refused_are_written_once_each(tmp_path: Path) -> None:
    audit = Audit(tmp_path)
    first, second = decision("anna"), decision("ben", counted=False)
    audit.note(report(first))
    audit.note(report(first, second))
    audit.note(report(first, second, ended=True))
    audit.note(report(first, second, ended=True))
    assert len(lines(audit)) == 3
    assert '"counted": false' in lines(audit)[1]
    assert '"outcome": "recovered"' in lines(audit)[2]
    assert audit.proof().passed


@pytest.mark.mutant("M24")
@pytest.mark.parametrize("line", [0, 1, 2])
@pytest.mark.parametrize("how", ["removed", "changed"])
def test_a_line_that_was_removed_or_changed_is_found(tmp_path: Path, line: int, how: str) -> None:
    audit = Audit(tmp_path)
    audit.note(report(decision("anna"), decision("ben"), decision("carl")))
    kept = lines(audit)
    kept[line] = kept[line].replace("it is so", "it is not so")
    if how == "removed":
        del kept[line]
    audit.file.write_text("".join(f"{one}\n" for one in kept))
    assert audit.proof().passed is False


@pytest.mark.mutant("M24")
def test_a_missing_file_and_a_missing_head_are_found(tmp_path: Path) -> None:
    audit = Audit(tmp_path)
    audit.note(report(decision("anna")))
    head = audit.head.read_bytes()
    audit.head.unlink()
    assert audit.proof().passed is False
    audit.head.write_bytes(head)
    audit.file.unlink()
    assert audit.proof().passed is False


def test_half_a_line_of_a_power_cut_is_cut_off_and_the_chain_goes_on(tmp_path: Path) -> None:
    audit = Audit(tmp_path)
    audit.note(report(decision("anna")))
    with audit.file.open("a") as file:
        file.write('{"n": 2, "bef')
    audit.note(report(decision("ben")))
    assert len(lines(audit)) == 2
    assert audit.proof().passed


def test_a_line_whose_head_a_crash_kept_back_is_no_alarm(tmp_path: Path) -> None:
    audit = Audit(tmp_path)
    audit.note(report(decision("anna")))
    head = audit.head.read_bytes()
    audit.note(report(decision("ben")))
    audit.head.write_bytes(head)
    assert audit.proof().passed
    audit.note(report(decision("carl")))
    assert audit.proof().passed
    audit.head.write_bytes(head)
    assert audit.proof().passed is False


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    audit = Audit(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("")
    audit.directory.mkdir()
    audit.file.symlink_to(elsewhere)
    with pytest.raises(OSError, match="symbolic"):
        audit.note(report(decision("anna")))
    assert elsewhere.read_text() == ""


def test_doctor_names_a_broken_audit_file_and_is_silent_while_there_is_none(tmp_path: Path) -> None:
    assert _decisions(tmp_path) == []
    audit = Audit(tmp_path)
    audit.note(report(decision("anna"), decision("ben")))
    assert [proof.passed for proof in _decisions(tmp_path)] == [True]
    audit.file.write_text(f"{lines(audit)[1]}\n")
    assert [proof.passed for proof in _decisions(tmp_path)] == [False]


@pytest.mark.mutant("M24")
def test_a_chain_that_was_written_anew_does_not_end_where_its_head_says(tmp_path: Path) -> None:
    audit, forged = Audit(tmp_path), Audit(tmp_path / "forged")
    audit.note(report(decision("anna"), decision("ben")))
    forged.note(report(decision("anna"), decision("carl")))
    audit.file.write_bytes(forged.file.read_bytes())
    assert audit.proof().evidence == "line 2 is another one than was written"
