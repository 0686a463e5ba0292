"""Whether a recovery is open on a stack: backups and what changes the shelf stand back meanwhile (I3)."""

from pathlib import Path

from activities.ledger_journal import LedgerFiles
from domain.errors import Refused
from domain.order import Order


def open_recovery(state: Path, stack: str) -> str:
    """Return the id of the recovery that is open on a stack, or an empty text; ``state`` is DR_STATE.

    It is noted from the moment that a recovery begins to change something until it is closed, and
    stays when a run ended in the middle.
    """
    flag = LedgerFiles(state, stack).recovery_open
    try:
        return flag.read_text().strip() or "of an unknown id"
    except FileNotFoundError:
        return ""


def refuse_while_recovering(state: Path, stack: str, order: Order) -> None:
    """Raise ``Refused`` (``recovery-open``) while another run than the order's own recovers the stack.

    A recovery takes a base backup itself at its end, with its own id in the order.
    """
    recovery = open_recovery(state, stack)
    if recovery and recovery != order.recovery_id:
        raise Refused(
            f"recovery {recovery} is open on this stack; no backup is taken meanwhile",
            where=stack,
            hint=f"wait for its end; if it ended in the middle, dr discard {recovery} closes it",
            code="recovery-open",
        )
