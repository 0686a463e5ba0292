import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest

from activities.engine import Engine
from activities.postgres.cluster_files import look_at_cluster
from activities.postgres.contents import read_contents
from activities.postgres.integrity import Integrity, VerifyServerOrder, judge
from activities.postgres.integrity_explained import lost_on_copy, told_of
from activities.postgres.integrity_sql import compare
from activities.postgres.integrity_wal import damage_in_wal
from activities.postgres.sql import Sql
from activities.secrets import Secrets
from domain.contents import Contents, TableState
from domain.diagnosis import DamagedBlock, Finding
from domain.errors import VerificationFailed
from domain.recovery import Copy, Proof, Verified, VerifyOrder
from domain.stack import Check
from tests.hands.postgres.conftest import Server, running_server
from tests.hands.postgres.scene import Scene, recovery

ATTEMPTS = itertools.count(1)
BLOCK = 8192


@pytest.fixture(scope="module")
def scene(
    client: docker.DockerClient, image_id: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    """A protected server with a backup; every test restores it anew."""
    shelf = tmp_path_factory.mktemp("integrity") / "shelf"
    with running_server(client, image_id, shelf) as server:
        server.do("INSERT INTO drafts SELECT n, 'draft' FROM generate_series(1, 500) n")
        server.do("VACUUM")
        server.mark(7)
        with recovery(server, Sql(Secrets(Engine(client)))) as made:
            made.protect()
            yield made


@pytest.fixture
def baseline(scene: Scene) -> Contents:
    with scene.sql.live(scene.target) as connection:
        return read_contents(connection)


@pytest.fixture
def restore(scene: Scene) -> Callable[[], tuple[Path, Callable[[], Copy]]]:
    """Return what restores a volume and gives its path, and what then starts the copy."""

    def make() -> tuple[Path, Callable[[], Copy]]:
        attempt = next(ATTEMPTS)
        found = scene.engine.labelled(f"dr.recovery={scene.rid}")
        for container in found:
            scene.engine.remove(container.id, force=True)
        restored = scene.restore(attempt)
        path = Path(scene.engine.root()) / "volumes" / restored.volume / "_data"
        return path, lambda: scene.follow(attempt)

    return make


@pytest.fixture
def copy(restore: Callable[[], tuple[Path, Callable[[], Copy]]]) -> Copy:
    return restore()[1]()


def verify(scene: Scene, copy: Copy, **more: object) -> Verified:
    order = VerifyOrder(recovery_id=scene.rid, target=scene.target, copy_=copy, **more)  # type: ignore[arg-type]
    return Integrity(scene.engine, scene.sql, scene.state).verify_copy(order)


def proof(found: Verified, name: str) -> Proof:
    return next(p for p in found.proofs if p.name == name)


def replay_state(scene: Scene, copy: Copy) -> str:
    with scene.sql.copy(copy) as connection:
        row = connection.execute("SELECT pg_get_wal_replay_pause_state()").fetchone()
    assert row is not None
    return str(row[0])


def relation(scene: Scene, name: str) -> str:
    return str(scene.server.ask(f"SELECT pg_relation_filepath('{name}')"))


def overwrite(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def test_a_whole_copy_passes_every_check_and_replay_goes_on(
    scene: Scene, copy: Copy, baseline: Contents
) -> None:
    checks = (
        Check(name="messages have authors", sql="SELECT count(*) FROM messages WHERE author_id IS NULL"),
        Check(name="there are users", sql="SELECT count(*) FROM users", expect="positive"),
    )
    found = verify(scene, copy, baseline=baseline, checks=checks)
    assert found.passed, found
    assert all(p.passed for p in found.proofs), found.proofs
    assert found.last_marker == 7
    assert {"amcheck", "full read", "heap against index", "foreign keys", "contents"} <= {
        p.name for p in found.proofs
    }
    assert "agree on" in proof(found, "heap against index").evidence
    assert replay_state(scene, copy) == "not paused"


def test_only_what_was_touched_since_is_verified_again(scene: Scene, copy: Copy) -> None:
    first = verify(scene, copy)
    again = verify(scene, copy, full=False)
    assert again.passed
    assert "no table was written" in proof(again, "touched tables").evidence
    scene.server.do("INSERT INTO drafts SELECT n, 'later' FROM generate_series(1000, 1400) n")
    scene.server.mark(8 + next(ATTEMPTS))
    scene.archive_all()
    scene.follow(int(copy.volume.rsplit("-", 1)[1]))
    found = verify(scene, copy, full=False)
    assert found.passed, found
    assert found.lsn != first.lsn
    assert "901 rows in 2 tables" not in found.sentence
    assert "in 2 tables" in proof(found, "heap against index").evidence
    assert replay_state(scene, copy) == "not paused"
    scene.server.do("DELETE FROM drafts WHERE id >= 1000")


@pytest.mark.long
def test_what_was_touched_in_another_database_is_verified_again_too(scene: Scene) -> None:
    scene.server.do("CREATE DATABASE billing")
    scene.server.do("CREATE DATABASE archive")
    before = scene.backup
    try:
        with scene.server.connect(database="billing") as billing:
            billing.execute(
                "CREATE TABLE bills AS SELECT n AS id, repeat('x', 500) t FROM generate_series(1, 500) n"
            )
            billing.execute("CREATE UNIQUE INDEX ON bills (id)")
            path = billing.execute("SELECT pg_relation_filepath('bills')").fetchone()
        # Or the WAL that made the table would heal its pages when the copy starts again.
        scene.backup = scene.take_backup()
        attempt = next(ATTEMPTS)
        volume = scene.restore(attempt).volume
        copy = scene.follow(attempt)
        assert verify(scene, copy).passed
        with scene.server.connect(database="billing") as billing:
            billing.execute("INSERT INTO bills VALUES (1000, 'later')")
        scene.archive_all()
        copy = scene.follow(attempt)
        found = verify(scene, copy, full=False)
        assert found.passed, found
        assert proof(found, "heap against index billing").passed
        assert "1 tables" in proof(found, "heap against index billing").evidence
        assert not [p for p in found.proofs if "archive" in p.name], "nothing was written there"

        scene.engine.stop(copy.container, 30)
        assert path is not None
        data = Path(scene.engine.root()) / "volumes" / volume / "_data"
        overwrite(data / str(path[0]), 10 * BLOCK, b"\x5a" * BLOCK)
        found = verify(scene, scene.follow(attempt), full=False, since_lsn="0/1")
        assert not found.passed
        assert proof(found, "heap against index billing").passed is False
    finally:
        scene.backup = before
        scene.engine.remove(copy.container, force=True)
        for name in ("billing", "archive"):
            scene.server.do(f"DROP DATABASE {name} WITH (FORCE)")


def test_a_copy_with_a_damaged_page_fails(
    scene: Scene, restore: Callable[[], tuple[Path, Callable[[], Copy]]]
) -> None:
    path, start = restore()
    overwrite(path / relation(scene, "messages"), 50 * BLOCK, b"\x5a" * BLOCK)
    copy = start()
    found = verify(scene, copy)
    assert not found.passed
    assert proof(found, "amcheck").passed is False
    assert proof(found, "full read").passed is False
    assert replay_state(scene, copy) == "not paused"
    assert not verify(scene, copy, full=False).passed


def test_a_copy_with_zeroed_pages_fails_by_its_counts_alone(
    scene: Scene, restore: Callable[[], tuple[Path, Callable[[], Copy]]]
) -> None:
    path, start = restore()
    overwrite(path / relation(scene, "messages"), 50 * BLOCK, bytes(2 * BLOCK))
    found = verify(scene, start())
    assert not found.passed
    assert proof(found, "full read").passed is True
    assert proof(found, "heap against index").passed is False


def test_what_was_so_on_the_server_is_told_and_not_held_against_the_backup(
    scene: Scene, restore: Callable[[], tuple[Path, Callable[[], Copy]]], baseline: Contents
) -> None:
    with scene.server.connect() as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("DELETE FROM users WHERE id = 77")
        connection.execute("TRUNCATE drafts")
        connection.execute(
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'users_name_key'::regclass"
        )
    scene.archive_all()
    try:
        copy = restore()[1]()
        found = verify(scene, copy, baseline=baseline)
        # Rows that were there all the time and that a copy lacks are no such thing.
        emptied = baseline.model_copy(update={"tables": (TableState(name="public.channels", rows=50),)})
        order = VerifyOrder(recovery_id=scene.rid, target=scene.target, copy_=copy, baseline=emptied)
        assert lost_on_copy(scene.sql, order) == []
        scene.server.do("INSERT INTO drafts VALUES (1, 'written since')")
        order = order.model_copy(update={"baseline": baseline})
        assert lost_on_copy(scene.sql, order) == []
    finally:
        scene.server.do("TRUNCATE drafts")
        scene.server.do("UPDATE pg_index SET indisvalid = true WHERE indexrelid = 'users_name_key'::regclass")
        scene.server.do("INSERT INTO users VALUES (77, 'user 77')")
        scene.server.do("INSERT INTO drafts SELECT n, 'draft' FROM generate_series(1, 500) n")
        scene.archive_all()
    assert found.passed, found
    for name in ("foreign keys", "indexes valid", "contents"):
        assert proof(found, name).passed is None, found
    assert "messages_author_id_fkey: 100 rows" in proof(found, "foreign keys").evidence
    assert "users_name_key" in proof(found, "indexes valid").evidence
    assert "table public.drafts is empty" in proof(found, "contents").evidence


def test_a_copy_that_lacks_rows_which_the_server_has_fails(
    scene: Scene, restore: Callable[[], tuple[Path, Callable[[], Copy]]], baseline: Contents
) -> None:
    path, start = restore()
    (path / relation(scene, "channels")).write_bytes(b"")
    copy = start()
    order = VerifyOrder(recovery_id=scene.rid, target=scene.target, copy_=copy, baseline=baseline)
    assert lost_on_copy(scene.sql, order) == ["public.channels"]
    sound = [Proof(name=name, passed=True, evidence="") for name in ("amcheck", "heap against index")]
    told = told_of(
        [*sound, Proof(name="contents", passed=False, evidence="table public.channels is empty")],
        lambda: lost_on_copy(scene.sql, order),
    )
    assert told[-1].passed is False
    assert "the server still has rows in public.channels" in told[-1].evidence


def test_nothing_is_excused_where_the_data_does_not_read_well() -> None:
    sound = [Proof(name=name, passed=True, evidence="") for name in ("amcheck", "heap against index")]
    orphans = Proof(name="foreign keys", passed=False, evidence="3 rows without their users")
    behind = Proof(name="contents", passed=False, evidence="ledger marker: 3, at the backup 8")
    damage = Proof(name="transaction status", passed=False, evidence="zero")
    assert told_of([*sound, orphans])[-1].passed is None
    assert told_of([*sound[:1], orphans])[-1].passed is False
    assert told_of([*sound[1:], orphans])[-1].passed is False
    assert told_of([*sound, damage, orphans])[-1].passed is False
    assert told_of([*sound, behind], list)[-1].passed is False
    assert told_of([*sound, orphans.model_copy(update={"name": "contents"})])[-1].passed is False


def test_a_copy_whose_transaction_status_is_zero_fails(
    scene: Scene, restore: Callable[[], tuple[Path, Callable[[], Copy]]]
) -> None:
    path, start = restore()
    status = path / "pg_xact" / "0000"
    overwrite(status, 0, bytes(status.stat().st_size))
    copy = start()
    with scene.sql.copy(copy, database="postgres") as connection:
        seen = {w.name: w for w in look_at_cluster(connection)}
    assert seen["transaction status"].finding is Finding.DAMAGED
    assert "pg_xact/0000" in seen["transaction status"].evidence


def test_a_failing_check_of_the_stack_file_fails_the_copy(scene: Scene, copy: Copy) -> None:
    checks = (
        Check(name="nobody", sql="SELECT count(*) FROM users", because="users were there"),
        Check(name="text", sql="SELECT 'many'"),
        Check(name="unknown", sql="SELECT count(*) FROM nowhere"),
        Check(name="writer", sql="DELETE FROM users RETURNING 0"),
    )
    found = verify(scene, copy, checks=checks)
    assert not found.passed
    assert [proof(found, c.name).passed for c in checks] == [False, False, None, None]
    assert "users were there" in proof(found, "nobody").evidence


@pytest.mark.long
@pytest.mark.long
def test_a_backend_that_dies_under_a_check_fails_the_copy_and_replay_goes_on(
    scene: Scene, copy: Copy
) -> None:
    kill = Check(name="killer", sql="SELECT pg_terminate_backend(pg_backend_pid())::int")
    found = verify(scene, copy, checks=(kill,))
    assert not found.passed
    assert "a backend of the copy died" in proof(found, "killer").evidence
    assert replay_state(scene, copy) == "not paused"


def test_a_copy_that_does_not_run_is_not_verified(scene: Scene, copy: Copy) -> None:
    scene.engine.stop(copy.container, 20)
    with pytest.raises(VerificationFailed, match="copy-down"):
        verify(scene, copy)


def test_wal_that_writes_a_damaged_block_is_named(scene: Scene, copy: Copy) -> None:
    path = f"1663/{relation(scene, 'channels').removeprefix('base/')}"
    since = str(scene.server.ask("SELECT pg_current_wal_lsn()"))
    scene.server.do("CHECKPOINT")
    scene.server.do("UPDATE channels SET topic = 'written' WHERE id = 3")
    scene.archive_all()

    def search(block: int, lsn: str) -> tuple[str, ...]:
        blocks = [DamagedBlock(relation="public.channels", path=path, block=block)]
        return damage_in_wal(scene.engine, scene.target, copy.container, blocks, lsn, 1)

    hits = search(0, since)
    assert hits
    assert "block 0 of public.channels" in hits[0]
    assert "full image" in hits[0]
    assert search(999, since) == ()
    assert "could not be searched" in search(0, "F/0")[0]


def test_the_live_server_is_verified_after_the_swap(
    server: Server, engine: Engine, sql: Sql, state: Path
) -> None:
    hand = Integrity(engine, sql, state)
    found = hand.verify_server(VerifyServerOrder(target=server.target, expected_timeline=1))
    assert found.passed, found
    assert len(found.proofs) == 4
    again = hand.verify_server(VerifyServerOrder(target=server.target, expected_timeline=2))
    assert not again.passed
    server.do("ALTER SYSTEM SET autovacuum = off")
    server.do("SELECT pg_reload_conf()")
    assert "autovacuum" in hand.verify_server(VerifyServerOrder(target=server.target)).sentence
    server.do("ALTER DATABASE chat SET default_transaction_read_only = on")
    wrong = hand.verify_server(VerifyServerOrder(target=server.target))
    assert {p.name for p in wrong.proofs if p.passed is False} == {"write probe", "autovacuum"}


def test_checks_that_were_not_made_do_not_verify_a_copy() -> None:
    rows = Proof(name="rows observed", passed=True, evidence="")
    read = Proof(name="full read", passed=True, evidence="")
    unmade = Proof(name="amcheck", passed=None, evidence="")
    assert not judge([], full=True)
    assert not judge([rows, read, unmade], full=True)
    assert judge([rows, read, Proof(name="heap against index", passed=True, evidence="")], full=True)
    assert not judge([Proof(name="ledger", passed=True, evidence=""), unmade], full=False)


def test_a_table_that_is_gone_and_a_marker_that_is_older_are_named() -> None:
    before = Contents(tables=(TableState(name="a.b", rows=3),), indexes=2, last_marker=9)
    found = compare(before, Contents(indexes=1, last_marker=8))
    assert found.passed is False
    assert found.evidence == "table a.b is missing; indexes: 1 of 2; ledger marker: 8, at the backup 9"
    assert compare(Contents(), Contents()).passed is None
