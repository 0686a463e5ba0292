"""F-B6: the volume of the WAL archive is full: that is counted and grows old, and no WAL is thrown away."""

import os
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import docker
import pytest

from activities.engine import Engine
from activities.postgres.receiver import Protection
from activities.postgres.receiver_partial import drop_unpadded
from activities.postgres.sql import Sql
from activities.retention import Retaining
from activities.tokens import Tokens
from domain.backup_policy import BackupPolicy
from domain.backups import ReceiveOrder
from domain.retention_plan import RetentionOrder
from tests.faults.record import Seen
from tests.hands.faults_at_hands.test_disk import mounted
from tests.hands.postgres.conftest import Server, running_server
from worker.wal_metrics import failures, lag_seconds

pytestmark = pytest.mark.hand
SEGMENT = "[0-9A-F]" * 24


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 90
    while not reached():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.25)


def write_wal(server: Server, segments: int) -> None:
    for number in range(segments):
        first = number * 10_000
        server.do(
            "INSERT INTO drafts SELECT n, repeat('x', 900)"  # noqa: S608 - numbers of ours
            f" FROM generate_series({first}, {first + 4000}) n"
        )
        server.do("SELECT pg_switch_wal()")


@pytest.mark.fault("B6")
def test_a_full_archive_is_counted_and_aged_and_no_wal_is_removed_to_make_room(
    client: docker.DockerClient,
    image_id: str,
    engine: Engine,
    sql: Sql,
    tokens: Tokens,
    state: Path,
    tmp_path: Path,
    seen: Seen,
) -> None:
    """F-B6: the archive's volume has room for three segments, and six are written."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    with mounted(shelf, "size=60m,mode=0755"), running_server(client, image_id, shelf) as server:
        target, stack = server.target, server.target.stack
        Protection(engine, sql, tokens, state).ensure_receiving(ReceiveOrder(target=target))
        assert failures(engine, state, stack) == 0
        write_wal(server, 6)
        until(lambda: (failures(engine, state, stack) or 0) > 0)
        archive = shelf / "postgres" / "wal"
        kept = {path.name for path in archive.glob(f"*/{SEGMENT}")}
        assert kept, "what fitted is there"
        first = failures(engine, state, stack) or 0
        until(lambda: (failures(engine, state, stack) or 0) > first)
        seen(f"{failures(engine, state, stack)} errors of the receiver, {len(kept)} segments kept")
        later = datetime.now(UTC) + timedelta(minutes=10)
        behind = lag_seconds(state, stack, shelf, later)
        assert behind is not None
        assert behind >= 600, "the archive grows old"
        order = RetentionOrder(target=target, policy=BackupPolicy(), as_of=later + timedelta(days=30))
        plan = Retaining(tokens, state).observe_retention(order)
        assert plan.wal_going == (), "there is no base backup: all WAL stays, however old"
        assert {path.name for path in archive.glob(f"*/{SEGMENT}")} == kept
        slot = server.ask("SELECT wal_status FROM pg_replication_slots")
        assert slot in {"reserved", "extended"}, "and the server keeps what the archive does not have"
        subprocess.run(["mount", "-o", "remount,size=300m", str(shelf)], check=True, timeout=30)
        again = Protection(engine, sql, tokens, state).ensure_receiving(ReceiveOrder(target=target))
        assert again.active, "with room again it goes on, whatever the full disk left half made"
        until(lambda: len({path.name for path in archive.glob(f"*/{SEGMENT}")}) >= 6)
        assert kept <= {path.name for path in archive.glob(f"*/{SEGMENT}")}


def test_only_an_open_segment_that_was_never_filled_up_is_removed(tmp_path: Path) -> None:
    def made(name: str, size: int, seconds_ago: float = 60) -> Path:
        path = tmp_path / name
        path.write_bytes(b"x" * size)
        at = time.time() - seconds_ago
        os.utime(path, (at, at))
        return path

    outside = made("outside", 5)
    spared = [
        made("000000010000000000000001.partial", 16),
        made("000000010000000000000002.partial", 0),
        made("000000010000000000000003.partial", 7, seconds_ago=0),
        made("000000010000000000000004", 7),
        made("a stranger.partial", 7),
    ]
    link = tmp_path / "000000010000000000000005.partial"
    link.symlink_to(outside)
    short = made("000000010000000000000006.partial", 7)
    assert drop_unpadded(tmp_path, 16) == [short.name]
    assert not short.exists()
    assert all(path.is_file() for path in (*spared, outside))
    assert link.is_symlink()
