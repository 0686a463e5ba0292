"""The archive of a real server's WAL: streamed, complete when asked, whole, and switched when wanted."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from activities.engine import Engine
from activities.ledger_journal import LedgerFiles
from activities.postgres.archiving import Archiving
from activities.postgres.backup import Backups
from activities.postgres.receiver import Protection
from activities.postgres.sql import Sql
from activities.tokens import Tokens
from domain.backup_policy import BackupPolicy
from domain.backups import BackupOrder
from domain.errors import Refused, VerificationFailed
from domain.order import Facts, StackOrder
from domain.stack import Kind, Service, Stack
from domain.wal import parse_lsn
from domain.wal_archive import Archived
from tests.hands.postgres.conftest import Server

pytestmark = pytest.mark.hand

Look = Callable[..., Archived]


@pytest.fixture
def protection(engine: Engine, sql: Sql, tokens: Tokens, state: Path) -> Protection:
    return Protection(engine, sql, tokens, state)


@pytest.fixture
def look(server: Server, protection: Protection, sql: Sql, tokens: Tokens, state: Path) -> Look:
    """Return the hand, for the stack of the server with a policy."""

    def looked(*, switch_every: timedelta | None = None, unfinished: tuple[str, ...] = ()) -> Archived:
        policy = BackupPolicy(wal_switch_every=switch_every)
        name = server.target.stack
        stack = Stack(
            stack=name, project=name, services={"postgres": Service(kind=Kind.POSTGRES)}, backup=policy
        )
        facts = Facts(stack=stack, stack_digest="d" * 64, target=server.target, unfinished=unfinished)
        hand = Archiving(lambda _: facts, protection, sql, tokens, state)
        return hand.ensure_wal_archived(StackOrder(stack=name))

    return looked


@pytest.fixture
def based(server: Server, engine: Engine, sql: Sql, tokens: Tokens, state: Path) -> str:
    order = BackupOrder(target=server.target, label="first", reason="test")
    return Backups(engine, sql, tokens, state).ensure_base_backup(order).id


def archive(server: Server, slot: str = "dr_recv_1") -> Path:
    return Path(server.target.shelf) / "postgres" / "wal" / slot


def closed(server: Server) -> list[str]:
    return sorted(path.name for path in archive(server).glob("[0-9A-F]" * 24))


def test_a_receiver_that_was_killed_and_removed_is_made_again_and_has_what_was_written(
    server: Server, look: Look, engine: Engine
) -> None:
    first = look()
    assert not first.made_again
    assert "no base backup is kept" in first.sentence
    engine.kill(first.container)
    engine.remove(first.container, force=True)
    server.do("INSERT INTO drafts SELECT n, repeat(md5(n::text), 40) FROM generate_series(1, 20000) n")
    written = str(server.ask("SELECT pg_current_wal_flush_lsn()"))
    again = look()
    assert again.made_again
    assert "the receiver was made again" in again.sentence
    assert again.container != first.container
    found = engine.look(again.container)
    assert found is not None
    assert found.running
    assert parse_lsn(again.received_lsn) >= parse_lsn(written)
    name = str(server.ask(f"SELECT pg_walfile_name('{written}')"))
    assert {name, f"{name}.partial"} & {path.name for path in archive(server).iterdir()}
    assert not look().made_again


def test_the_archive_is_followed_from_the_oldest_backup_and_a_hole_fails_with_its_name(
    server: Server, look: Look, based: str, engine: Engine, sql: Sql, tokens: Tokens, state: Path
) -> None:
    look()
    for number in range(1, 5):
        server.mark(number)
        server.do("SELECT pg_switch_wal()")
    whole = look()
    assert whole.base_id == based
    assert whole.segments >= 4
    lost = closed(server)[-2]
    taken = (archive(server) / lost).rename(archive(server).parent / "aside")
    with pytest.raises(VerificationFailed, match=lost) as failed:
        look()
    assert failed.value.code == "archive-broken"
    assert based in failed.value.what
    later = BackupOrder(target=server.target, label="later", reason="test")
    Backups(engine, sql, tokens, state).ensure_base_backup(later)
    with pytest.raises(VerificationFailed, match=lost):
        look()
    taken.rename(archive(server) / lost)
    assert look().base_id == based


def test_an_archive_whose_open_segment_was_taken_away_is_not_called_complete(
    server: Server, look: Look, based: str
) -> None:
    assert look().base_id == based
    # A receiver that is new may close the segment that it begins with.
    server.mark(1)
    look()
    (open_one,) = archive(server).glob("*.partial")
    open_one.unlink()
    server.mark(2)
    with pytest.raises(VerificationFailed, match="was received and is not in the archive"):
        look()


def test_an_old_open_segment_is_closed_where_that_is_wanted_and_never_on_an_idle_server(
    server: Server, look: Look
) -> None:
    server.do("ALTER SYSTEM SET autovacuum = off")
    server.do("SELECT pg_reload_conf()")
    look()
    server.mark(1)
    before = closed(server)
    assert not look().closed_segment
    assert not look(switch_every=timedelta(days=1)).closed_segment
    assert closed(server) == before, "without the key, and before its time, none is closed"
    at_once = timedelta(microseconds=1)
    switched = look(switch_every=at_once)
    assert f"segment {switched.closed_segment} was closed" in switched.sentence
    assert closed(server) == [*before, switched.closed_segment]
    # The server itself notes what runs once after the last change; then nothing is left to close.
    server.do("CHECKPOINT")
    for _ in range(30):
        if not look(switch_every=at_once).closed_segment:
            break
    else:
        pytest.fail("it closes segments of an idle server")
    idle = closed(server)
    assert not look(switch_every=at_once).closed_segment
    assert closed(server) == idle


def test_it_stands_back_while_a_recovery_is_open_and_touches_no_receiver(
    server: Server, look: Look, state: Path, engine: Engine
) -> None:
    with pytest.raises(Refused, match="was never closed") as refused:
        look(unfinished=("20260102T0304Z-0badcafe",))
    assert refused.value.code == "recovery-open"
    flag = LedgerFiles(state, server.target.stack).recovery_open
    flag.parent.mkdir(parents=True, exist_ok=True)
    flag.write_text("20260102T0304Z-0badcafe")
    with pytest.raises(Refused, match="0badcafe is open") as refused:
        look()
    assert refused.value.code == "recovery-open"
    assert engine.look(f"dr-{server.target.stack}-receiver") is None
    assert not archive(server).exists()
