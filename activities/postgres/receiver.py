"""Protection of a running server: the two things in its database, and its WAL on the shelf."""

from pathlib import Path

from temporalio import activity

from activities.engine import Engine
from activities.postgres.sql import Sql
from activities.tokens import Tokens
from domain.backups import ReceiveOrder, Receiving
from domain.order import Outcome, TargetOrder


class Protection:
    """Keeps a server's WAL streaming to the shelf."""

    def __init__(self, engine: Engine, sql: Sql, tokens: Tokens, state: Path) -> None:
        """Act through these clients; ``state`` is DR_STATE."""
        self._engine = engine
        self._sql = sql
        self._tokens = tokens
        self._state = state

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_protected(self, order: TargetOrder) -> Outcome:
        """Create extension amcheck and schema dr where they are missing, and nothing else."""
        raise NotImplementedError

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_receiving(self, order: ReceiveOrder) -> Receiving:
        """Have the receiver stream by its slot into the slot's own directory."""
        raise NotImplementedError

    @activity.defn(no_thread_cancel_exception=True)
    def observe_receiver(self, order: TargetOrder) -> Receiving:
        """Look at the receiver and change nothing."""
        raise NotImplementedError
