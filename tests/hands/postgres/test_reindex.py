"""Indexes that lie: found, rebuilt without a restore, proven; and what a rebuild must not hide."""

import threading
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from activities.engine import Engine
from activities.faults_files import FileFaults, LyingIndexOrder, MissingFileOrder
from activities.postgres.assess import Diagnosis
from activities.postgres.reindex import Reindexing
from activities.postgres.reindex_proof import ReindexProof
from activities.postgres.sql import Sql
from activities.tokens import Tokens
from domain.diagnosis import DamagedIndex, Finding, Look, Verdict
from domain.errors import Refused, VerificationFailed
from domain.order import TargetOrder
from domain.recovery import Judged
from domain.reindexing import Reindexed, ReindexOrder, VerifyReindexedOrder
from tests.hands.postgres.conftest import DATABASE, Server
from tests.hands.postgres.scene import Writer

BY_CHANNEL = "public.messages_by_channel"
KEY = "public.messages_pkey"
RID = "20261122T0500Z-00000000"


@pytest.fixture
def faults(engine: Engine, sql: Sql) -> FileFaults:
    return FileFaults(engine, sql)


@pytest.fixture
def diagnosis(engine: Engine, sql: Sql, state: Path) -> Diagnosis:
    return Diagnosis(engine, sql, state)


class Repair:
    """The two hands with their orders."""

    def __init__(self, server: Server, engine: Engine, sql: Sql, state: Path) -> None:
        self.server = server
        self._reindexing = Reindexing(engine, sql, Tokens(state), state)
        self._proof = ReindexProof(engine, sql, state)

    def rebuild(self, *names: str, attempt: int = 1) -> Reindexed:
        """Rebuild indexes of the stack's own database."""
        order = ReindexOrder(
            recovery_id=RID, target=self.server.target, indexes=self._named(*names), attempt=attempt
        )
        return self._reindexing.ensure_reindexed(order)

    def verify(self, *names: str) -> Judged:
        """Hold them against their tables."""
        return self._proof.verify_reindexed(
            VerifyReindexedOrder(recovery_id=RID, target=self.server.target, indexes=self._named(*names))
        )

    def file_of(self, index: str) -> object:
        """Return the file that an index has now."""
        return self.server.ask(f"SELECT pg_relation_filenode('{index}')")

    def _named(self, *names: str) -> tuple[DamagedIndex, ...]:
        return tuple(DamagedIndex(database=DATABASE, name=name) for name in names)


@pytest.fixture
def repair(server: Server, engine: Engine, sql: Sql, state: Path) -> Repair:
    return Repair(server, engine, sql, state)


def through_index(server: Server) -> int:
    """Count the messages as a query that walks the index by channel would see them."""
    with server.connect() as connection:
        connection.execute("SET enable_seqscan = off; SET enable_sort = off; SET enable_bitmapscan = off")
        query = "SELECT count(*) FROM (SELECT 1 FROM messages ORDER BY channel_id, sent_at OFFSET 0) m"
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return int(str(row[0]))


def lie(server: Server, faults: FileFaults, index: str = BY_CHANNEL) -> None:
    """Have an index of the messages lie."""
    faults.inject_lying_index(LyingIndexOrder(target=server.target, index=index))


def test_a_lying_index_hides_rows_that_the_table_has_and_nothing_else_is_wrong(
    server: Server, faults: FileFaults
) -> None:
    injected = faults.inject_lying_index(LyingIndexOrder(target=server.target))
    assert injected.table == "public.messages"
    assert "20,000 rows in public.messages" in injected.evidence
    assert through_index(server) < 20000
    assert server.ask("SELECT count(m) FROM messages m") == 20000
    again = faults.inject_lying_index(LyingIndexOrder(target=server.target))
    assert again.evidence == injected.evidence


def test_a_lying_index_is_index_damage_and_is_named_with_its_database(
    server: Server, diagnosis: Diagnosis, faults: FileFaults
) -> None:
    lie(server, faults)
    found = diagnosis.assess_corruption(TargetOrder(target=server.target))
    assert found.verdict is Verdict.INDEX_ONLY, found
    assert found.indexes == (DamagedIndex(database=DATABASE, name=BY_CHANNEL),)
    assert found.damaged_tables == ()
    said = {w.look: w.finding for w in found.witnesses}
    assert said[Look.FULL_READ] is Finding.SOUND
    assert said[Look.FILES] is Finding.SOUND


def test_a_rebuilt_index_tells_the_truth_and_the_old_log_is_explained(
    server: Server, diagnosis: Diagnosis, faults: FileFaults, repair: Repair
) -> None:
    lie(server, faults)
    assert not repair.verify(BY_CHANNEL).passed
    diagnosis.assess_corruption(TargetOrder(target=server.target))
    before = repair.file_of(BY_CHANNEL)
    done = repair.rebuild(BY_CHANNEL)
    assert done.rebuilt == (BY_CHANNEL,)
    assert done.locked == ()
    assert repair.file_of(BY_CHANNEL) != before
    assert through_index(server) == 20000
    judged = repair.verify(BY_CHANNEL)
    assert judged.passed, judged
    proofs = {proof.name: proof for proof in judged.proofs}
    assert "20,000 through the index" in proofs[f"index {BY_CHANNEL}"].evidence
    assert {"amcheck", "full read", "heap against index", "foreign keys"} <= set(proofs)
    found = diagnosis.assess_corruption(TargetOrder(target=server.target))
    assert found.verdict is Verdict.SOUND, found


def test_rebuilding_twice_changes_nothing_more_and_a_new_attempt_rebuilds_anew(
    server: Server, faults: FileFaults, repair: Repair
) -> None:
    lie(server, faults)
    first = repair.rebuild(BY_CHANNEL)
    file = repair.file_of(BY_CHANNEL)
    again = repair.rebuild(BY_CHANNEL)
    assert again.rebuilt == first.rebuilt
    assert repair.file_of(BY_CHANNEL) == file
    repair.rebuild(BY_CHANNEL, attempt=2)
    assert repair.file_of(BY_CHANNEL) != file


def test_a_primary_key_is_rebuilt_under_users_who_go_on_writing(
    server: Server, faults: FileFaults, repair: Repair
) -> None:
    lie(server, faults, KEY)
    writer = Writer(server.connect)
    writer.start()
    try:
        writer.wait_for(20)
        done = repair.rebuild(KEY)
        writer.wait_for(len(writer.acknowledged) + 20)
    finally:
        writer.stop()
    assert done.rebuilt == (KEY,)
    judged = repair.verify(KEY)
    assert judged.passed, judged
    assert server.ask("SELECT count(*) FROM messages WHERE id > 1000000") == len(writer.acknowledged)


def interrupted(
    server: Server, index: str, meanwhile: Callable[[psycopg.Connection[tuple[object, ...]]], None]
) -> None:
    """Begin a concurrent rebuild that a transaction holds up, and do something to it."""

    def build() -> None:
        with server.connect() as connection:
            try:
                connection.execute(f"REINDEX INDEX CONCURRENTLY {index}".encode())
            except psycopg.Error:
                return

    with server.connect() as blocker, server.connect() as other:
        with blocker.transaction():
            blocker.execute("DELETE FROM messages WHERE false")
            blocker.execute("SELECT 1 FROM messages LIMIT 1")
            building = threading.Thread(target=build)
            building.start()
            waits = "SELECT count(*) FROM pg_stat_progress_create_index WHERE phase LIKE 'waiting%'"
            for _ in range(200):
                row = other.execute(waits.encode()).fetchone()
                if row is not None and row[0]:
                    break
                other.execute("SELECT pg_sleep(0.05)")
            meanwhile(other)
        building.join(60)
    assert not building.is_alive()


@pytest.mark.long
def test_what_a_killed_rebuild_left_is_dropped_before_the_next(
    server: Server, faults: FileFaults, repair: Repair
) -> None:
    lie(server, faults)

    def kill(connection: psycopg.Connection[tuple[object, ...]]) -> None:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_progress_create_index")

    interrupted(server, BY_CHANNEL, kill)
    left = "SELECT count(*) FROM pg_class WHERE relname ~ '_cc(new|old)'"
    assert server.ask(left) == 1
    done = repair.rebuild(BY_CHANNEL)
    assert done.leftovers_dropped == (f"{BY_CHANNEL}_ccnew",)
    assert done.rebuilt == (BY_CHANNEL,)
    assert server.ask(left) == 0
    assert repair.verify(BY_CHANNEL).passed


@pytest.mark.long
def test_a_rebuild_that_a_killed_worker_began_is_waited_for(
    server: Server, faults: FileFaults, repair: Repair
) -> None:
    lie(server, faults)
    done: list[Reindexed] = []
    working = threading.Thread(target=lambda: done.append(repair.rebuild(BY_CHANNEL)))

    def go_on(connection: psycopg.Connection[tuple[object, ...]]) -> None:
        working.start()
        connection.execute("SELECT pg_sleep(1)")
        assert not done

    interrupted(server, BY_CHANNEL, go_on)
    working.join(60)
    assert done[0].rebuilt == (BY_CHANNEL,)
    assert server.ask("SELECT count(*) FROM pg_class WHERE relname ~ '_cc(new|old)'") == 0
    assert repair.verify(BY_CHANNEL).passed


def test_rows_with_the_same_key_are_named_by_their_columns_and_never_by_their_values(
    server: Server, faults: FileFaults, repair: Repair
) -> None:
    server.do("CREATE TABLE people (email text NOT NULL, n int)")
    server.do("INSERT INTO people SELECT 'secret' || n || '@example.org', n FROM generate_series(1, 5000) n")
    server.do("CREATE UNIQUE INDEX people_email ON people (email)")
    faults.inject_lying_index(LyingIndexOrder(target=server.target, index="people_email", pages=30))
    server.do("INSERT INTO people SELECT email, n FROM people ON CONFLICT DO NOTHING")
    assert server.ask("SELECT count(p) FROM people p") != 5000
    with pytest.raises(VerificationFailed, match="duplicate-rows") as failed:
        repair.rebuild("public.people_email")
    said = f"{failed.value} {failed.value.what} {failed.value.hint}"
    assert "(email)" in said
    assert "@" not in said
    assert server.ask("SELECT count(*) FROM pg_class WHERE relname ~ '_cc(new|old)'") == 0


def test_an_index_whose_file_is_gone_is_rebuilt_without_a_restore(
    server: Server, diagnosis: Diagnosis, faults: FileFaults, repair: Repair
) -> None:
    faults.inject_missing_file(MissingFileOrder(target=server.target, table="messages", part="index"))
    found = diagnosis.assess_corruption(TargetOrder(target=server.target))
    assert found.verdict is Verdict.INDEX_ONLY, found
    assert found.damaged_indexes == (BY_CHANNEL,)
    assert repair.rebuild(*found.damaged_indexes).rebuilt == (BY_CHANNEL,)
    assert repair.verify(BY_CHANNEL).passed
    assert server.ask("SELECT count(*) FROM messages WHERE channel_id > 0") == 20000


def test_an_index_of_another_kind_whose_file_is_gone_is_rebuilt_too(
    server: Server, diagnosis: Diagnosis, repair: Repair
) -> None:
    server.do("CREATE INDEX messages_words ON messages USING gin (to_tsvector('simple', body))")
    server.do("CHECKPOINT")
    (server.volume_path / str(server.ask("SELECT pg_relation_filepath('messages_words')"))).unlink()
    found = diagnosis.assess_corruption(TargetOrder(target=server.target))
    assert found.verdict is Verdict.INDEX_ONLY, found
    assert found.damaged_indexes == ("public.messages_words",)
    assert repair.rebuild("public.messages_words").rebuilt == ("public.messages_words",)
    judged = repair.verify("public.messages_words")
    assert judged.passed, judged
    proof = next(p for p in judged.proofs if p.name == "index public.messages_words")
    assert "no check reads this kind of index" in proof.evidence


def test_an_index_of_another_database_is_rebuilt_there(
    server: Server, diagnosis: Diagnosis, faults: FileFaults, engine: Engine, sql: Sql, state: Path
) -> None:
    server.do("CREATE DATABASE billing")
    with server.connect("billing") as connection:
        connection.execute("CREATE EXTENSION amcheck")
        connection.execute(
            "CREATE TABLE bills AS SELECT n AS id, n % 100 AS who FROM generate_series(1, 9000) n"
        )
        connection.execute("CREATE INDEX bills_by_id ON bills (id)")
    there = server.target.postgres.model_copy(update={"database": "billing"})
    target = server.target.model_copy(update={"postgres": there})
    faults.inject_lying_index(LyingIndexOrder(target=target))
    found = diagnosis.assess_corruption(TargetOrder(target=server.target))
    assert found.verdict is Verdict.INDEX_ONLY, found
    assert found.indexes == (DamagedIndex(database="billing", name="public.bills_by_id"),)
    order = ReindexOrder(recovery_id=RID, target=server.target, indexes=found.indexes)
    assert Reindexing(engine, sql, Tokens(state), state).ensure_reindexed(order).rebuilt
    judged = ReindexProof(engine, sql, state).verify_reindexed(
        VerifyReindexedOrder(recovery_id=RID, target=server.target, indexes=found.indexes)
    )
    assert judged.passed, judged
    proofs = {proof.name: proof.evidence for proof in judged.proofs}
    assert "9,000 through the index" in proofs["index public.bills_by_id"]
    assert {"amcheck", "amcheck billing", "full read billing"} <= set(proofs)


def test_an_index_of_the_catalog_is_rebuilt_with_a_lock(server: Server, repair: Repair) -> None:
    done = repair.rebuild("pg_catalog.pg_attribute_relid_attnam_index", "public.gone")
    assert done.rebuilt == done.locked == ("pg_catalog.pg_attribute_relid_attnam_index",)
    assert done.gone == ("public.gone",)
    assert repair.verify("pg_catalog.pg_attribute_relid_attnam_index").passed
    assert server.ask("SELECT count(*) FROM messages") == 20000


def test_a_damaged_table_behind_a_damaged_index_is_corruption_and_a_rebuild_says_so(
    server: Server, diagnosis: Diagnosis, faults: FileFaults, repair: Repair
) -> None:
    lie(server, faults)
    faults.inject_missing_file(MissingFileOrder(target=server.target, table="messages"))
    found = diagnosis.assess_corruption(TargetOrder(target=server.target))
    assert found.verdict is Verdict.CORRUPT, found
    done = repair.rebuild(BY_CHANNEL)
    assert "could not open file" in done.table_damage
    assert done.rebuilt == ()


def test_every_index_of_a_table_that_disagrees_with_it_speaks_against_the_table(
    server: Server, diagnosis: Diagnosis, faults: FileFaults
) -> None:
    lie(server, faults)
    lie(server, faults, KEY)
    found = diagnosis.assess_corruption(TargetOrder(target=server.target))
    assert found.verdict is Verdict.CORRUPT, found
    assert "every index of messages (2) disagrees with it" in found.because


def test_a_changed_order_of_text_is_named_and_every_index_on_text_is_suspect(
    server: Server, diagnosis: Diagnosis, faults: FileFaults
) -> None:
    actual = server.ask(
        "SELECT pg_database_collation_actual_version(oid) FROM pg_database WHERE datname = current_database()"
    )
    if actual is None:
        server.do('ALTER TABLE users ALTER name TYPE text COLLATE "en-x-icu"')
        server.do("UPDATE pg_collation SET collversion = '1.0' WHERE collname = 'en-x-icu'")
    else:
        server.do("UPDATE pg_database SET datcollversion = '1.0' WHERE datname = current_database()")
    lie(server, faults)
    lie(server, faults, KEY)
    found = diagnosis.assess_corruption(TargetOrder(target=server.target))
    # What changed for all of them at once is the order of text, so nothing speaks against the table.
    assert found.verdict is Verdict.INDEX_ONLY, found
    said = next(w for w in found.witnesses if w.name == f"collations {DATABASE}")
    assert "changed from version 1.0" in said.evidence
    assert "indexes on text are suspect" in said.evidence


@pytest.mark.long
def test_no_room_for_a_rebuild_is_said_before_it_begins(
    server: Server, faults: FileFaults, repair: Repair, monkeypatch: pytest.MonkeyPatch
) -> None:
    lie(server, faults)
    before = repair.file_of(BY_CHANNEL)
    monkeypatch.setattr("activities.postgres.reindex._ROOM_FACTOR", 10**9)
    with pytest.raises(Refused, match="no-room"):
        repair.rebuild(BY_CHANNEL)
    assert repair.file_of(BY_CHANNEL) == before


def test_a_function_in_an_index_is_never_called_by_a_query_of_ours(server: Server, repair: Repair) -> None:
    server.do("CREATE ROLE author")
    server.do("CREATE TABLE notes (id int); ALTER TABLE notes OWNER TO author")
    server.do(
        "CREATE FUNCTION hostile(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS"
        " 'BEGIN IF current_user <> ''author'' THEN RAISE ''called as %'', current_user; END IF;"
        " RETURN $1; END'"
    )
    server.do("INSERT INTO notes SELECT generate_series(1, 100)")
    server.do("CREATE INDEX notes_hostile ON notes (hostile(id)) WHERE hostile(id) > 0")
    assert repair.rebuild("public.notes_hostile").rebuilt == ("public.notes_hostile",)
    judged = repair.verify("public.notes_hostile")
    assert judged.passed, judged
    proof = next(p for p in judged.proofs if p.name == "index public.notes_hostile")
    assert proof.evidence == "every row of its table is in it"
