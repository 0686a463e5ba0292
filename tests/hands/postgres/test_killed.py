"""A worker that dies at any effect of a backup or proof: the next attempt ends as if nothing had happened."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from activities import entries
from activities.engine import Engine
from activities.postgres.backup import Backups
from activities.postgres.dump import Dumps
from activities.postgres.restore_base import BaseChecks
from activities.postgres.restore_dump import DumpChecks
from activities.postgres.sql import Sql
from activities.tokens import Tokens
from domain.backups import Backup, BackupOrder, Level
from domain.dumps import EntryTargetOrder, RestoreProven
from domain.entries import BASE, RECORD, Entry
from domain.names import LABEL_STACK
from domain.stack import Check
from domain.verification_base import ProveBaseOrder
from tests.faults.record import Seen
from tests.hands.dying import SIDES, Side, Trial, dies_everywhere, remains
from tests.hands.postgres.conftest import Server
from tests.hands.postgres.dumped import wanted

pytestmark = [pytest.mark.hand, pytest.mark.timeout(1800)]
CHECK = Check(name="messages are there", sql="SELECT count(*) FROM messages", expect="positive")


class OnServer(Trial):
    """What the trials of all hands share."""

    def __init__(self, server: Server, engine: Engine, sql: Sql, state: Path) -> None:
        self.shelf = Path(server.target.shelf)
        super().__init__(self.shelf, state)
        self.server, self.engine, self.sql, self.state = server, engine, sql, state
        self.tokens = Tokens(state)

    def base(self) -> Backup:
        order = BackupOrder(target=self.server.target, label=f"round {self.number}")
        return Backups(self.engine, self.sql, self.tokens, self.state).ensure_base_backup(order)

    def dump(self) -> Entry:
        hand = Dumps(self.engine, self.sql, self.tokens, self.state)
        return hand.ensure_dump(wanted(self.server, label=f"round {self.number}"))

    def nothing_left(self, level: Level) -> Entry:
        """Return the one entry, once it is seen that there is nothing beside it."""
        ((entry,), strangers) = entries.read_entries(self.shelf)
        assert (entry.verified, strangers) == (level, [])
        left = remains(self.shelf, self.state)
        assert [path for path in left if "/data/" not in path] == []
        mine = f"{LABEL_STACK}={self.server.target.stack}"
        assert [one.name for one in self.engine.labelled(mine)] == []
        assert self.engine.volumes(mine) == []
        assert (
            self.server.ask("SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'") == 0
        )
        return entry


class TakingBase(OnServer):
    """A base backup."""

    def begin(self) -> None:
        super().begin()
        shutil.rmtree(self.shelf, ignore_errors=True)

    def act(self) -> Backup:
        return self.base()

    def judge(self, said: Backup) -> None:
        entry = self.nothing_left(Level.MANIFEST)
        assert entry.id == said.id
        there = {path.name for path in (self.shelf / entry.path).iterdir()}
        assert there == {"data", RECORD, "dr.json"}


class TakingDump(OnServer):
    """A dump of all databases and the globals."""

    def begin(self) -> None:
        super().begin()
        shutil.rmtree(self.shelf, ignore_errors=True)

    def act(self) -> Entry:
        return self.dump()

    def judge(self, said: Entry) -> None:
        entry = self.nothing_left(Level.MANIFEST)
        assert entry.id == said.id
        there = {path.name for path in (self.shelf / entry.path).iterdir()}
        assert there == {"dr.json", *(file.path for file in entry.files)}


class Proving(OnServer):
    """The proof of one backup by a restore."""

    def __init__(self, server: Server, engine: Engine, sql: Sql, state: Path, kind: str) -> None:
        super().__init__(server, engine, sql, state)
        server.do("CREATE SEQUENCE numbers; SELECT nextval('numbers'); CREATE ROLE reporting")
        if kind == BASE:
            self.base()
        else:
            self.dump()
        (self.entry,) = entries.read_entries(self.shelf)[0]

    def begin(self) -> None:
        super().begin()
        entry = entries.find_entry(self.shelf, self.entry.id)
        entries.record_verified(self.shelf, entry, Level.MANIFEST, datetime.now(UTC), "the last round")

    def act(self) -> RestoreProven:
        hands = (self.engine, self.sql, self.tokens, self.state)
        if self.entry.kind == BASE:
            order = ProveBaseOrder(target=self.server.target, entry_id=self.entry.id, checks=(CHECK,))
            return BaseChecks(*hands).verify_base_restored(order)
        return DumpChecks(*hands).verify_restored(
            EntryTargetOrder(target=self.server.target, entry_id=self.entry.id)
        )

    def judge(self, said: RestoreProven) -> None:
        assert said.passed, said.proofs
        self.nothing_left(Level.RESTORED)


@pytest.mark.parametrize("side", SIDES)
def test_a_base_backup_may_die_at_every_effect(
    server: Server, engine: Engine, sql: Sql, state: Path, seen: Seen, side: Side
) -> None:
    """F-A1, F-A2: every effect of a base backup."""
    dies_everywhere(TakingBase(server, engine, sql, state), seen, side, at_least=10)


@pytest.mark.parametrize("side", SIDES)
def test_a_dump_may_die_at_every_effect(
    server: Server, engine: Engine, sql: Sql, state: Path, seen: Seen, side: Side
) -> None:
    """F-A1, F-A2: every effect of a dump."""
    dies_everywhere(TakingDump(server, engine, sql, state), seen, side, at_least=15)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("kind", [BASE, "daily"])
def test_the_proof_of_a_backup_may_die_at_every_effect(
    server: Server, engine: Engine, sql: Sql, state: Path, seen: Seen, kind: str, side: Side
) -> None:
    """F-A1, F-A2: every effect of a proof by a restore."""
    dies_everywhere(Proving(server, engine, sql, state, kind), seen, side, at_least=12)
