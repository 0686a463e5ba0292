"""Whether the ledger watches a stack now: without it a recovery cannot measure what was lost."""

from datetime import datetime, timedelta
from pathlib import Path

from activities.ledger_journal import LedgerFiles
from activities.ledger_places import stores_of_target
from domain.durations import spoken
from domain.ledger import MarkerState, Store
from domain.markers import BLIND_AFTER
from domain.order import Target
from domain.recovery import Proof

NAME = "ledger"


def watching(state: Path, target: Target, now: datetime) -> Proof:
    """Return whether each store of a stack took a marker lately; ``state`` is DR_STATE."""
    files = LedgerFiles(state, target.stack)
    if not files.journal(Store.POSTGRES).is_file():
        said = "no marker was ever written, so that no loss can be measured: dr up starts the ledger"
        return Proof(name=NAME, passed=False, evidence=said)
    stores = stores_of_target(target)
    wrong = [said for store in stores if (said := _trouble(files, store, now))]
    if files.pause_postgres.is_file():
        wrong.insert(0, f"recovery {files.pause_postgres.read_text().strip()} paused it for PostgreSQL")
    evidence = "; ".join(wrong) or f"{', '.join(stores)}: each took a marker lately"
    return Proof(name=NAME, passed=not wrong, evidence=evidence)


def _trouble(files: LedgerFiles, store: Store, now: datetime) -> str:
    last = files.newest(store)
    tried, taken = last.get(MarkerState.ATTEMPTED), last.get(MarkerState.ACKNOWLEDGED)
    if tried is None or _age(tried, now) > BLIND_AFTER:
        since = f"for {spoken(_age(tried, now).total_seconds())}" if tried else "yet"
        return f"nothing was written into {store} {since}: dr up starts the ledger"
    if taken is None or _age(taken, now) > BLIND_AFTER:
        return f"{store} takes no marker: the log of the ledger says why"
    return ""


def _age(moment: datetime, now: datetime) -> timedelta:
    """Return how long ago that was; what a clock ahead wrote is as far from now."""
    return abs(now - moment)
