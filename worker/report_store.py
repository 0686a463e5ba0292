"""Where reports lie under the state directory, for those who show them."""

import json
from pathlib import Path

from pydantic import ValidationError

from domain.errors import Refused
from domain.report import Report

_LIMIT_BYTES = 64 * 1024 * 1024


def report_path(state: Path, run: str | None = None) -> Path | None:
    """Return the ``report.json`` of a run, named by its recovery id, run id or workflow id, or ``None``.

    Without a name it is the latest real recovery or drill. A workflow id names its newest run. The other
    formats lie beside the file.
    """
    root = state / "reports"
    if run is None:
        return _latest(root)
    found = []
    for path in sorted(root.glob("*/*/report.json")):
        report = _read(path)
        if report is None:
            continue
        if run in (report.recovery_id, report.run_id):
            return path
        if run == report.workflow_id and report.started_at is not None:
            found.append((report.started_at, path))
    return max(found)[1] if found else None


def load_report(state: Path, run: str | None = None) -> Report | None:
    """Return the report of a run, or of the latest one; ``None`` when there is none.

    Raises ``Refused`` with code ``report-unreadable`` when the file is there and is no report.
    """
    path = report_path(state, run)
    if path is None:
        return None
    report = _read(path)
    if report is None:
        raise Refused(
            "the file is no report that this version can read",
            where=str(path),
            hint="report.md and report.html beside it can still be read by people",
            code="report-unreadable",
        )
    return report


def _latest(root: Path) -> Path | None:
    try:
        path = Path(json.loads((root / "latest.json").read_text(encoding="utf-8"))["path"]).resolve()
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    # The pointer names a report of ours, wherever the state directory was moved to; nothing else is read.
    return path if path.is_relative_to(root.resolve()) and path.is_file() else None


def _read(path: Path) -> Report | None:
    try:
        with path.open("rb") as file:
            return Report.model_validate_json(file.read(_LIMIT_BYTES))
    except (OSError, ValidationError):
        return None
