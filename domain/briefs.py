"""What people are shown at the gate ``swap``."""

import math

from domain.approval import Brief
from domain.backups import Backup
from domain.diagnosis import Assessment
from domain.durations import spoken
from domain.ledger import MeasuredLoss
from domain.recovery import Copy, Restored, Verified

_DOWNTIME_LIVE_SECONDS = 15
_DOWNTIME_DEAD_SECONDS = 60
_LOSS_STEP_SECONDS = 5
_WAL_LINES = 3


def swap_brief(
    *,
    assessment: Assessment,
    backup: Backup,
    restored: Restored,
    copy: Copy,
    verified: Verified,
    measured: MeasuredLoss,
) -> Brief:
    """Return the brief of the gate ``swap`` from what was measured on the restored copy.

    The stated maximum loss is rounded up to five seconds, so that it does not move every second.
    """
    loss = measured.loss.postgres
    stated = None if loss.seconds is None else _round_up(loss.seconds)
    facts = (
        f"Damage: {assessment.because}",
        (
            f"Backup {backup.id}, ended {backup.ended_at:%Y-%m-%d %H:%M:%SZ}, restored and replayed to"
            f" {verified.lsn} on timeline {copy.timeline}"
        ),
        _loss_sentence(loss.seconds, loss.markers_lost, loss.markers_acknowledged, stated),
        f"Integrity of the copy: {_tally(verified)}",
        *(f"Not measured or failed: {p.name}: {p.evidence}" for p in verified.proofs if p.passed is not True),
        *(f"Damage in the WAL: {line}" for line in copy.damage_in_wal[:_WAL_LINES]),
        *_more(len(copy.damage_in_wal) - _WAL_LINES),
        f"The damaged data ({_gib(restored.bytes)}) is kept aside until dr release",
        f"Users are without the database for at most {spoken(_downtime(assessment))}",
    )
    return Brief(
        gate="swap",
        question="Swap the restored copy in for the damaged database?",
        facts=facts,
        decided_on={
            "backup": backup.id,
            "timeline": str(copy.timeline),
            "volume": restored.volume,
            "integrity": "passed" if verified.passed else "failed",
            "damage_in_wal": str(len(copy.damage_in_wal)),
        },
        maximum_loss_seconds=stated,
        maximum_downtime_seconds=_downtime(assessment),
        cannot_be_undone="writes made on the restored database after the swap are not in the damaged one",
    )


def loss_is_worse(stated: Brief, now: MeasuredLoss) -> str | None:
    """Return why the loss measured now is worse than the brief stated, or ``None``."""
    seconds = now.loss.postgres.seconds
    if stated.maximum_loss_seconds is None:
        return None
    if seconds is None:
        return "the loss can no longer be measured"
    if seconds > stated.maximum_loss_seconds:
        return f"the loss is {spoken(seconds)}; at most {spoken(stated.maximum_loss_seconds)} was stated"
    return None


def _downtime(assessment: Assessment) -> int:
    return _DOWNTIME_LIVE_SECONDS if assessment.answers else _DOWNTIME_DEAD_SECONDS


def _round_up(seconds: float) -> int:
    return math.ceil(seconds / _LOSS_STEP_SECONDS) * _LOSS_STEP_SECONDS


def _loss_sentence(
    seconds: float | None, lost: int | None, acknowledged: int | None, stated: int | None
) -> str:
    if seconds is None:
        return "Loss: not measured"
    return f"Loss: at most {stated} s ({lost} of {acknowledged} acknowledged markers are missing)"


def _tally(verified: Verified) -> str:
    passed = sum(1 for proof in verified.proofs if proof.passed)
    word = "passed" if verified.passed else "FAILED"
    return f"{word}, {passed} of {len(verified.proofs)} checks at {verified.lsn}"


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"


def _more(number: int) -> tuple[str, ...]:
    return (f"Damage in the WAL: {number} more records like these",) if number > 0 else ()
