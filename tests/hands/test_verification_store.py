"""The last report of a verification: the newest one, or the word that it cannot be read."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from activities.verification import VerificationReports
from domain.errors import Refused
from domain.verification import RecordVerificationOrder, VerificationReport
from starter.look import verified_proof
from tests.domain.test_verification import stack
from worker.verification_store import last_verification

NOW = datetime.now(UTC)


def record(state: Path, ago: timedelta, outcome: str = "passed") -> VerificationReport:
    report = VerificationReport.model_validate(
        {
            "stack": "lab",
            "outcome": outcome,
            "rule": "said",
            "sentence": "said",
            "started_at": NOW - ago,
            "ended_at": NOW - ago,
        }
    )
    return VerificationReports(state).ensure_verification_recorded(RecordVerificationOrder(report=report))


@pytest.mark.parametrize("spoilt", [b"", b"{", b"[1]", b'{"outcome": "passed"}', None])
def test_a_newest_report_that_cannot_be_read_is_said_and_no_older_one_stands_in_for_it(
    tmp_path: Path, spoilt: bytes | None
) -> None:
    fine = record(tmp_path, timedelta(hours=20))
    assert last_verification(tmp_path, "lab") == fine
    assert verified_proof(tmp_path, stack(), [], NOW).passed
    path = Path(record(tmp_path, timedelta(hours=1), "failed").path)
    if spoilt is None:
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(spoilt)
    with pytest.raises(Refused) as refused:
        last_verification(tmp_path, "lab")
    assert refused.value.code == "verification-unreadable"
    proof = verified_proof(tmp_path, stack(), [], NOW)
    assert proof.passed is False
    assert "cannot be read" in proof.evidence
    assert str(path) in proof.evidence


def test_an_older_report_that_cannot_be_read_is_nobodys_last_one(tmp_path: Path) -> None:
    Path(record(tmp_path, timedelta(hours=20)).path).write_bytes(b"{")
    newest = record(tmp_path, timedelta(hours=1))
    assert last_verification(tmp_path, "lab") == newest


def test_one_that_stood_down_says_nothing_and_nobody_verified_is_none(tmp_path: Path) -> None:
    assert last_verification(tmp_path, "lab") is None
    fine = record(tmp_path, timedelta(hours=20))
    record(tmp_path, timedelta(hours=1), "stood_down")
    assert last_verification(tmp_path, "lab") == fine
