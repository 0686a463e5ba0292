"""Files of a table that are gone: seen although the server has them open, or makes hollow ones instead."""

from dataclasses import replace
from pathlib import Path

import pytest

from activities.engine import ContainerState, Engine
from activities.faults_files import FileFaults, MissingFileOrder
from activities.postgres.assess import Diagnosis
from activities.postgres.sql import Sql
from domain.diagnosis import Assessment, Finding, Look, Verdict
from domain.errors import Refused
from domain.order import TargetOrder
from tests.hands.postgres.conftest import Server


@pytest.fixture
def faults(engine: Engine, sql: Sql) -> FileFaults:
    return FileFaults(engine, sql)


@pytest.fixture
def diagnosis(engine: Engine, sql: Sql, state: Path) -> Diagnosis:
    return Diagnosis(engine, sql, state)


def assessed(server: Server, diagnosis: Diagnosis) -> Assessment:
    return diagnosis.assess_corruption(TargetOrder(target=server.target))


def seen_in(found: Assessment, look: Look) -> str:
    """Return what a look that saw damage said."""
    return next(w.evidence for w in found.witnesses if w.look is look and w.finding is Finding.DAMAGED)


def test_a_file_deleted_under_a_running_server_is_missed_though_an_old_session_still_reads_it(
    server: Server, diagnosis: Diagnosis, faults: FileFaults
) -> None:
    with server.connect() as old:
        old.execute("SELECT count(m) FROM messages m")
        injected = faults.inject_missing_file(MissingFileOrder(target=server.target, table="messages"))
        assert "could not open file" in injected.evidence
        assert old.execute("SELECT count(m) FROM messages m").fetchone() == (20000,)
        found = assessed(server, diagnosis)
    assert found.verdict is Verdict.CORRUPT, found
    assert found.answers
    assert "is missing" in seen_in(found, Look.FILES)
    assert "public.messages" in found.damaged_tables
    assert found.damaged_indexes == ()


def test_a_file_deleted_while_the_server_was_stopped_is_missed_after_its_start(
    server: Server, diagnosis: Diagnosis, faults: FileFaults
) -> None:
    faults.inject_missing_file(MissingFileOrder(target=server.target, table="messages", stopped=True))
    found = assessed(server, diagnosis)
    assert found.verdict is Verdict.CORRUPT, found
    assert "public.messages" in found.damaged_tables


def test_an_empty_file_in_its_place_is_not_taken_for_an_empty_table(
    server: Server, diagnosis: Diagnosis, faults: FileFaults
) -> None:
    server.do("VACUUM ANALYZE messages")
    faults.inject_missing_file(
        MissingFileOrder(target=server.target, table="messages", stopped=True, hollow=True)
    )
    assert server.ask("SELECT count(m) FROM messages m") == 0
    found = assessed(server, diagnosis)
    assert found.verdict is Verdict.CORRUPT, found
    assert "has 0 pages, the catalog counted" in seen_in(found, Look.FILES)
    assert "public.messages" in found.damaged_tables


def test_an_empty_file_that_the_catalog_knows_nothing_of_is_seen_by_counting(
    server: Server, diagnosis: Diagnosis, faults: FileFaults
) -> None:
    server.do("CREATE TABLE fresh (id int PRIMARY KEY) WITH (autovacuum_enabled = off)")
    server.do("INSERT INTO fresh SELECT generate_series(1, 3000)")
    faults.inject_missing_file(
        MissingFileOrder(target=server.target, table="fresh", stopped=True, hollow=True)
    )
    found = assessed(server, diagnosis)
    assert found.verdict is Verdict.CORRUPT, found
    assert "public.fresh" in seen_in(found, Look.COUNTS)


def test_a_server_that_replays_its_wal_over_a_missing_file_is_corrupt_whatever_it_makes_of_it(
    server: Server, diagnosis: Diagnosis, engine: Engine
) -> None:
    server.do("VACUUM ANALYZE messages")
    path = server.volume_path / str(server.ask("SELECT pg_relation_filepath('messages')"))
    server.do("CHECKPOINT")
    server.do("UPDATE messages SET body = 'changed' WHERE id = 15000")
    engine.kill(server.target.postgres.container_id)
    path.unlink()
    engine.set_restart(server.target.postgres.container_id, "no")
    engine.start(server.target.postgres.container_id)
    found = assessed(server, diagnosis)
    assert found.verdict is Verdict.CORRUPT, found
    if found.answers:
        # Replay made a hollow file of the pages that it knew.
        assert "public.messages" in found.damaged_tables


def test_a_missing_toast_table_is_corruption_of_the_table_that_needs_it(
    server: Server, diagnosis: Diagnosis, faults: FileFaults
) -> None:
    server.do("CREATE TABLE letters (id int PRIMARY KEY, body text)")
    server.do("ALTER TABLE letters ALTER body SET STORAGE EXTERNAL")
    server.do("INSERT INTO letters SELECT n, repeat(md5(n::text), 200) FROM generate_series(1, 50) n")
    injected = faults.inject_missing_file(
        MissingFileOrder(target=server.target, table="letters", part="toast")
    )
    assert "what is cached still reads" in injected.evidence
    found = assessed(server, diagnosis)
    assert found.verdict is Verdict.CORRUPT, found
    assert "the TOAST table of letters" in seen_in(found, Look.FILES)


@pytest.mark.parametrize("fork", ["fsm", "vm"])
@pytest.mark.long
def test_a_map_that_postgresql_makes_anew_is_no_corruption(
    server: Server, diagnosis: Diagnosis, engine: Engine, fork: str
) -> None:
    server.do("VACUUM ANALYZE messages")
    main = server.ask("SELECT pg_relation_filepath('messages')")
    path = server.volume_path / f"{main}_{fork}"
    engine.stop(server.target.postgres.container_id, 60)
    path.unlink()
    engine.start(server.target.postgres.container_id)
    server.wait()
    assert assessed(server, diagnosis).verdict is Verdict.SOUND


@pytest.mark.long
def test_a_table_that_is_dropped_or_emptied_meanwhile_is_not_missed(
    server: Server, diagnosis: Diagnosis
) -> None:
    server.do("VACUUM ANALYZE messages")
    server.do("TRUNCATE messages CASCADE; DROP TABLE drafts")
    server.do("INSERT INTO messages (id, channel_id, author_id, body) VALUES (1, 1, 1, 'one')")
    assert assessed(server, diagnosis).verdict is Verdict.SOUND


@pytest.mark.long
def test_empty_pages_that_were_never_written_are_not_missed(server: Server, diagnosis: Diagnosis) -> None:
    # As on a copy that replayed the WAL: the catalog counted pages which the server had added in advance.
    server.do("VACUUM ANALYZE messages")
    pages = "UPDATE pg_class SET relpages = relpages + 512 WHERE relname IN ('messages', 'messages_pkey')"
    server.do(pages)
    assert assessed(server, diagnosis).verdict is Verdict.SOUND


def test_a_file_cut_off_by_many_pages_is_damaged(server: Server, diagnosis: Diagnosis) -> None:
    server.do("UPDATE pg_class SET relpages = relpages + 5000 WHERE relname = 'messages'")
    found = assessed(server, diagnosis)
    assert found.verdict is Verdict.CORRUPT, found
    assert "public.messages" in seen_in(found, Look.FILES)


def test_who_may_not_look_at_files_has_measured_nothing(server: Server, diagnosis: Diagnosis) -> None:
    server.do("CREATE ROLE reader LOGIN PASSWORD 'not-a-secret: a\\test'")
    weak = server.target.postgres.model_copy(update={"user": "reader"})
    target = server.target.model_copy(update={"postgres": weak})
    found = diagnosis.assess_corruption(TargetOrder(target=target))
    files = next(w for w in found.witnesses if w.look is Look.FILES)
    assert files.finding is Finding.NOT_MEASURED
    assert found.verdict is not Verdict.CORRUPT


def test_no_file_outside_the_lab_is_touched(server: Server, engine: Engine, sql: Sql) -> None:
    class Stranger(Engine):
        """The same engine, whose containers carry no label of the lab."""

        def look(self, name: str) -> ContainerState | None:
            found = super().look(name)
            return found and replace(found, labels={k: v for k, v in found.labels.items() if k != "dr.lab"})

    faults = FileFaults(Stranger(server.client), sql)
    with pytest.raises(Refused, match="not-the-lab"):
        faults.inject_missing_file(MissingFileOrder(target=server.target))
    assert server.ask("SELECT count(m) FROM messages m") == 20000
