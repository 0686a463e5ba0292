"""The hands of the self-test: each tries the checks of one part on copies, and says how they did."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from temporalio import activity

from activities.alone import alone
from activities.engine import Engine
from activities.offsite_side import Connect
from activities.open_recovery import refuse_while_recovering
from activities.postgres.sql import Sql
from activities.secrets import Secrets
from activities.selftest.base_trials import BaseTrials
from activities.selftest.control_trials import ControlTrials
from activities.selftest.damage import Damages
from activities.selftest.data_trials import DataTrials
from activities.selftest.dump_trials import DumpTrials
from activities.selftest.good import made, newest_of
from activities.selftest.network import Networks
from activities.selftest.record_trials import RecordTrials
from activities.selftest.server_trials import ServerTrials
from activities.selftest.stage import Stage
from activities.selftest.store_hands import StoreHands
from activities.selftest.store_trials import StoreTrials
from activities.selftest.trial import Trials
from activities.selftest.wal_trials import WalTrials
from activities.tokens import Tokens
from domain.order import TargetOrder
from domain.selftest import Tried

_WAIT_SECONDS = 5.0


class SelfTest:
    """Damages copies and asks the product's own checks; production and its shelf are only read."""

    def __init__(
        self,
        engine: Engine,
        networks: Networks,
        sql: Sql,
        tokens: Tokens,
        state: Path,
        *,
        secrets: Secrets,
        connect: Connect,
    ) -> None:
        """Act through these clients; ``state`` is DR_STATE, ``connect`` builds boto3's client for S3."""
        self._secrets = secrets
        self._connect = connect
        self._engine = engine
        self._networks = networks
        self._sql = sql
        self._tokens = tokens
        self._state = state

    @activity.defn(no_thread_cancel_exception=True)
    def verify_checks_of_database(self, order: TargetOrder) -> Tried:
        """Try the checks of dumps, base backups, WAL, databases and servers: M1 to M15, M17 to M19, M22.

        Raises ``Refused``: ``backup-missing`` when there is nothing to copy, ``recovery-open``.
        """
        self._admit(order)
        # Before anything is made.
        newest_of(Path(order.target.shelf))
        trials = Trials()
        with self._alone(order), self._stage(order).open() as stage:
            good = made(stage)
            damages = Damages(stage.state / "aside")
            dumps = DumpTrials(stage, good, damages, trials)
            data = DataTrials(stage, good, dumps.checks, trials)
            dumps.run()
            BaseTrials(stage, good, damages, trials).run()
            WalTrials(stage, good, damages, trials).run()
            data.run()
            ControlTrials(stage, good, dumps, data, trials).run()
            ServerTrials(stage, good, data, trials).run()
        tested = trials.tested()
        said = f"Database, with {good.source}: {tested.sentence}"
        return tested.model_copy(update={"sentence": said})

    @activity.defn(no_thread_cancel_exception=True)
    def verify_checks_of_stores(self, order: TargetOrder) -> Tried:
        """Try the proof of backups of object store, Redis and search engine: M20, M21."""
        self._admit(order)
        trials = Trials()
        with self._alone(order), self._stage(order).open(server=False) as stage:
            hands = StoreHands(stage.engine, self._secrets, self._connect, stage.state)
            StoreTrials(stage, hands, trials).run()
        return trials.tested()

    @activity.defn(no_thread_cancel_exception=True)
    def verify_checks_of_records(self, order: TargetOrder) -> Tried:
        """Try the keys of backups, the search for secrets and the audit file: M16, M23, M24."""
        self._admit(order)
        trials = Trials()
        with self._alone(order), _emptied(self._state.resolve() / "selftest" / "records") as directory:
            RecordTrials(directory, trials).run()
        return trials.tested()

    def _admit(self, order: TargetOrder) -> None:
        self._tokens.admit(order, order.target.stack)
        refuse_while_recovering(self._state, order.target.stack, order)

    @contextmanager
    def _alone(self, order: TargetOrder) -> Iterator[None]:
        with alone(self._state, f"selftest-{order.target.stack}", wait_seconds=_WAIT_SECONDS):
            yield

    def _stage(self, order: TargetOrder) -> Stage:
        return Stage(self._engine, self._networks, self._sql, self._state, order.target)


@contextmanager
def _emptied(directory: Path) -> Iterator[Path]:
    """Give out an empty directory, and remove it afterwards."""
    if directory.is_dir() and not directory.is_symlink():
        shutil.rmtree(directory)
    directory.mkdir(parents=True, mode=0o700)
    try:
        yield directory
    finally:
        shutil.rmtree(directory)
