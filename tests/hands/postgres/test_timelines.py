"""Receiver, backups and choice across a change of the timeline on a real server."""

import os
import time
from pathlib import Path

import pytest

from activities.engine import Engine
from activities.postgres.backup import Backups
from activities.postgres.choose import Choosing
from activities.postgres.receiver import Protection
from activities.postgres.sql import Sql
from activities.tokens import Tokens
from domain.backups import BackupOrder, ChooseOrder, ReceiveOrder
from tests.hands.postgres.conftest import UID, Server

pytestmark = pytest.mark.hand

SLOT = "dr_recv_abcd1234"


def promote(server: Server) -> None:
    """Let the server come back as a standby, reserve a slot on it, and promote it."""
    server.client.api.stop(server.target.postgres.container_id, timeout=30)
    signal = server.volume_path / "standby.signal"
    signal.touch()
    os.chown(signal, UID, UID)
    server.client.api.start(server.target.postgres.container_id)
    server.wait()
    server.do("SELECT pg_create_physical_replication_slot('dr_recv_abcd1234', true)")
    assert server.ask("SELECT pg_promote()") is True
    deadline = time.monotonic() + 30
    while server.ask("SELECT pg_is_in_recovery()"):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_after_a_promotion_the_old_backup_is_followed_across_the_switch(
    server: Server, engine: Engine, sql: Sql, tokens: Tokens, state: Path
) -> None:
    protection, backups = Protection(engine, sql, tokens, state), Backups(engine, sql, tokens, state)
    target, choosing = server.target, Choosing(engine, state)
    wal = Path(target.shelf) / "postgres" / "wal"
    protection.ensure_receiving(ReceiveOrder(target=target))
    old = backups.ensure_base_backup(BackupOrder(target=target, label="old"))
    server.mark(1)
    promote(server)
    server.mark(2)
    waiting = choosing.choose_backup(ChooseOrder(target=target, timeline=2))
    assert waiting.backup is None
    assert "00000002.history is missing" in waiting.passed_over[0].reason
    receiving = protection.ensure_receiving(ReceiveOrder(target=target, slot=SLOT))
    assert receiving.active
    assert receiving.newest_segment.startswith("00000002")
    assert (wal / SLOT / "00000002.history").is_file()
    across = choosing.choose_backup(ChooseOrder(target=target, timeline=2))
    assert across.backup == old
    assert across.last_wal_segment.startswith("00000002")
    unnamed = choosing.choose_backup(ChooseOrder(target=target))
    assert (unnamed.backup, unnamed.last_wal_segment) == (old, across.last_wal_segment)
    new = backups.ensure_base_backup(BackupOrder(target=target, label="new"))
    assert new.timeline == 2
    assert choosing.choose_backup(ChooseOrder(target=target, timeline=2)).backup == new
    on_the_old = choosing.choose_backup(ChooseOrder(target=target, timeline=1))
    assert on_the_old.backup == old
    assert new.id in {known.id for known in on_the_old.passed_over}
