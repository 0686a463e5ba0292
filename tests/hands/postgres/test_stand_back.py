"""A backup that runs when a recovery starts ends by itself, within one look, and leaves nothing."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from activities.engine import Engine
from activities.ledger import Ledger
from activities.ledger_journal import LedgerFiles
from activities.postgres.backup import Backups
from activities.postgres.dump import Dumps
from activities.postgres.sql import Sql
from activities.secrets import Secrets
from activities.tokens import Tokens
from domain.backups import BackupOrder
from domain.dumps import DumpKind, DumpOrder
from domain.errors import Refused
from domain.names import LABEL_STACK
from domain.order import TargetOrder
from tests.faults.record import Seen
from tests.hands.chat_stack import until
from tests.hands.postgres.conftest import Server

pytestmark = [pytest.mark.hand, pytest.mark.timeout(240)]
RECOVERY = "20261122T0500Z-0badcafe"
SLOW_BYTES = 64 * 1024


@pytest.fixture
def flagged(server: Server, engine: Engine, sql: Sql, state: Path) -> Iterator[Ledger]:
    yield Ledger(engine, Secrets(engine), sql, state)
    LedgerFiles(state, server.target.stack).recovery_open.unlink(missing_ok=True)


def require_running(engine: Engine, server: Server, role: str) -> None:
    """Assert that a job of this role runs."""
    found = engine.labelled(f"{LABEL_STACK}={server.target.stack}", f"dr.role={role}")
    assert any(job.running for job in found), f"no {role} runs"


def left(engine: Engine, server: Server) -> list[str]:
    """Return the jobs and the unfinished directories that are there."""
    jobs = [job.name for job in engine.labelled(f"{LABEL_STACK}={server.target.stack}")]
    hidden = [path.name for path in Path(server.target.shelf).rglob("*.partial")]
    return jobs + hidden


@pytest.mark.fault("C10")
@pytest.mark.fault("G2")
def test_a_base_backup_ends_when_a_recovery_is_opened_and_the_recovery_says_so(
    server: Server, engine: Engine, sql: Sql, tokens: Tokens, state: Path, flagged: Ledger, seen: Seen
) -> None:
    """F-C10, F-G2: backup running when recovery starts: the backup yields, on the record."""
    backups = Backups(engine, sql, tokens, state)
    order = BackupOrder(target=server.target, label="nightly", max_rate_bytes=SLOW_BYTES)
    with ThreadPoolExecutor(1) as threads:
        taking = threads.submit(backups.ensure_base_backup, order)
        until(lambda: require_running(engine, server, "base-backup"))
        said = flagged.ensure_recovery_flagged(TargetOrder(recovery_id=RECOVERY, target=server.target))
        with pytest.raises(Refused, match="recovery-open"):
            taking.result(60)
    assert "stands back for this one: dr-" in said.sentence
    seen(said.sentence)
    assert left(engine, server) == []
    flagged.ensure_recovery_cleared(TargetOrder(recovery_id=RECOVERY, target=server.target))
    fast = order.model_copy(update={"max_rate_bytes": None})
    assert backups.ensure_base_backup(fast).label == "nightly"


@pytest.mark.fault("C10")
def test_what_a_killed_attempt_left_running_ends_too(
    server: Server, engine: Engine, sql: Sql, tokens: Tokens, state: Path, flagged: Ledger, seen: Seen
) -> None:
    """F-C10: backup running when recovery starts, while the worker that started it was dead."""
    backups = Backups(engine, sql, tokens, state)
    order = BackupOrder(target=server.target, label="nightly", max_rate_bytes=SLOW_BYTES)
    began = threading.Event()

    def dies(_: object) -> None:
        began.set()
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("activities.postgres.backup.telling", lambda _: dies)
        with pytest.raises(KeyboardInterrupt):
            backups.ensure_base_backup(order)
    assert began.is_set()
    require_running(engine, server, "base-backup")
    flagged.ensure_recovery_flagged(TargetOrder(recovery_id=RECOVERY, target=server.target))
    with pytest.raises(Refused, match="recovery-open"):
        backups.ensure_base_backup(order)
    seen("the job of the dead attempt was still running, and was ended")
    assert left(engine, server) == []


@pytest.mark.fault("C10")
def test_a_dump_ends_when_a_recovery_is_opened(
    server: Server, engine: Engine, dumps: Dumps, flagged: Ledger, seen: Seen
) -> None:
    """F-C10: backup running when recovery starts: a dump that waits for a lock ends as well."""
    server.do("CREATE UNLOGGED TABLE passing (id int)")
    with server.connect() as holding, ThreadPoolExecutor(1) as threads:
        holding.execute("BEGIN")
        # A table that is not logged: the programs want it, the count of the rows does not.
        holding.execute("LOCK TABLE passing IN ACCESS EXCLUSIVE MODE")
        order = DumpOrder(target=server.target, kind=DumpKind.DAILY, label="nightly", digest_seconds=0)
        taking = threads.submit(dumps.ensure_dump, order)
        until(lambda: require_running(engine, server, "dump"))
        flagged.ensure_recovery_flagged(TargetOrder(recovery_id=RECOVERY, target=server.target))
        with pytest.raises(Refused, match="recovery-open"):
            taking.result(40)
        holding.execute("ROLLBACK")
    seen("the dump waited for a lock when the recovery was opened")
    assert left(engine, server) == []
