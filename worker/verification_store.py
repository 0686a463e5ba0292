"""Where the reports of verifications lie under the state directory, for those who show them."""

import json
from pathlib import Path

from pydantic import ValidationError

from domain.errors import Refused
from domain.paths import is_part
from domain.verification import VerificationReport

_LIMIT_BYTES = 16 * 1024 * 1024


def last_verification(state: Path, stack: str) -> VerificationReport | None:
    """Return the report of the last verification of a stack that looked at anything, or ``None``.

    One that stood down for a recovery verified nothing. Raises ``Refused`` (``verification-unreadable``) for
    one that is newer and cannot be read: what it said may be that the backups are lost.
    """
    directory = state / "reports" / stack / "verifications"
    if not is_part(stack):
        return None
    for path in sorted(directory.glob("*.json"), reverse=True):
        report = _read(path)
        if report.outcome != "stood_down":
            return report
    return None


def _read(path: Path) -> VerificationReport:
    try:
        with path.open("rb") as file:
            said = json.loads(file.read(_LIMIT_BYTES))
        said.pop("passed", None)
        return VerificationReport.model_validate(said)
    except (OSError, ValueError, AttributeError, TypeError, ValidationError, RecursionError) as error:
        raise Refused(
            f"the newest report of a verification cannot be read: {type(error).__name__}",
            where=str(path),
            hint="dr backup verify --all writes a new one; what older ones say is not of today",
            code="verification-unreadable",
        ) from None
