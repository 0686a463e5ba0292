"""Writes the reports of verifications: one file each, and nothing that a reader could find half written."""

import json
import os
from datetime import UTC
from pathlib import Path

from temporalio import activity

from activities import plain_files
from domain.errors import Unavailable
from domain.paths import one_part
from domain.verification import RecordVerificationOrder, VerificationReport

REPORTS = Path("reports")
VERIFICATIONS = "verifications"
KEPT = 200
"""So many reports stay; the older ones are in Temporal's history for as long as that is kept."""


class VerificationReports:
    """Keeps reports under ``DR_STATE/reports/<stack>/verifications``."""

    def __init__(self, state: Path) -> None:
        """``state`` is DR_STATE."""
        self._root = state.resolve() / REPORTS

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_verification_recorded(self, order: RecordVerificationOrder) -> VerificationReport:
        """Write the report and return it with its path; written twice it is one file.

        Raises ``Refused`` for a stack that is no file name, ``Unavailable`` when it cannot be written.
        """
        report = order.report
        directory = self._root / one_part(report.stack, "the name of a stack") / VERIFICATIONS
        began = report.started_at.astimezone(UTC)
        name = f"{began:%Y%m%dT%H%M%SZ}-{report.run_id.replace('-', '')[-8:] or 'none'}.json"
        path = directory / one_part(name, "the name of a report")
        report = report.model_copy(update={"path": str(path)})
        try:
            directory.mkdir(parents=True, exist_ok=True)
            plain_files.replace(path, _as_json(report), mode=0o644)
            for old in sorted(directory.glob("*.json"))[:-KEPT]:
                old.unlink(missing_ok=True)
        except OSError as error:
            raise Unavailable(
                f"the report of the verification cannot be written: {error.strerror}",
                where=str(directory),
                hint=f"look at room and permissions: {os.strerror(error.errno or 0)}",
                code="report-unwritable",
            ) from None
        return report


def _as_json(report: VerificationReport) -> bytes:
    said = {"passed": report.passed, **report.model_dump(mode="json")}
    return (json.dumps(said, indent=2) + "\n").encode()
