"""Damage that makes no error, or one that looks like something else: rows and databases that vanish."""

import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from activities import catalogue
from activities.engine import Engine
from activities.postgres.assess import Diagnosis
from activities.postgres.sql import Sql
from activities.postgres.witnesses import read_control
from domain.diagnosis import Assessment, DamagedIndex, Finding, Look, Trouble, Verdict
from domain.order import TargetOrder
from tests.hands.hostile.planted import entry
from tests.hands.postgres.conftest import DATABASE, Server

PAGE = 8192


@pytest.fixture
def diagnosis(engine: Engine, sql: Sql, state: Path) -> Diagnosis:
    return Diagnosis(engine, sql, state)


def assessed(server: Server, diagnosis: Diagnosis) -> Assessment:
    return diagnosis.assess_corruption(TargetOrder(target=server.target))


def damaged(found: Assessment) -> dict[Look, str]:
    return {w.look: w.evidence for w in found.witnesses if w.finding is Finding.DAMAGED}


def again(server: Server, engine: Engine) -> None:
    """Start the stopped server."""
    engine.start(server.target.postgres.container_id)


def ask(server: Server, database: str, query: str) -> str:
    with server.connect(database) as connection:
        row = connection.execute(query.encode()).fetchone()
    return "" if row is None else str(row[0])


def directory(server: Server, database: str) -> Path:
    oid = server.ask(f"SELECT oid FROM pg_database WHERE datname = '{database}'")  # noqa: S608 - a test's
    return server.volume_path / "base" / str(oid)


def fill(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


@pytest.fixture
def other(server: Server) -> str:
    """Have a second database that the stack file does not name, without any extension."""
    server.do("CREATE DATABASE other")
    with server.connect("other") as connection:
        connection.execute("CREATE TABLE orders (id int PRIMARY KEY, body text)")
        connection.execute(
            "INSERT INTO orders SELECT n, md5(n::text) || md5(n::text) FROM generate_series(1, 20000) n"
        )
        connection.execute("VACUUM ANALYZE orders")
    return "other"


def test_a_transaction_status_of_zeros_is_not_called_healthy_nor_replayed_though_all_tables_read_well(
    server: Server, diagnosis: Diagnosis, engine: Engine
) -> None:
    engine.stop(server.target.postgres.container_id, 20)
    status = server.volume_path / "pg_xact" / "0000"
    fill(status, 0, bytes(status.stat().st_size))
    again(server, engine)
    server.wait()
    with pytest.raises((psycopg.errors.UndefinedTable, psycopg.errors.InternalError_)):
        server.ask("SELECT count(*) FROM users")
    found = assessed(server, diagnosis)
    assert found.verdict is Verdict.UNKNOWN, found
    assert "pg_xact/0000" in damaged(found)[Look.STATUS]
    assert "stop it now" in found.because
    assert Look.FULL_READ not in damaged(found)


def test_a_second_database_whose_directory_is_gone_is_not_passed_over(
    server: Server, diagnosis: Diagnosis, engine: Engine, other: str
) -> None:
    where = directory(server, other)
    engine.stop(server.target.postgres.container_id, 20)
    shutil.rmtree(where)
    again(server, engine)
    server.wait()
    found = assessed(server, diagnosis)
    assert found.verdict is Verdict.CORRUPT, found
    assert f"database {other}: its directory base/{where.name} is missing" in damaged(found)[Look.FILES]


def test_a_database_that_was_half_dropped_is_no_damage(
    server: Server, diagnosis: Diagnosis, engine: Engine, other: str
) -> None:
    where = directory(server, other)
    server.do(f"UPDATE pg_database SET datconnlimit = -2 WHERE datname = '{other}'")  # noqa: S608 - a test's
    engine.stop(server.target.postgres.container_id, 20)
    shutil.rmtree(where)
    again(server, engine)
    server.wait()
    assert assessed(server, diagnosis).verdict is Verdict.SOUND


def test_the_stacks_own_database_without_its_directory_is_corruption(
    server: Server, diagnosis: Diagnosis, engine: Engine
) -> None:
    where = directory(server, DATABASE)
    engine.stop(server.target.postgres.container_id, 20)
    shutil.rmtree(where)
    again(server, engine)
    deadline = time.monotonic() + 60
    while "ready to accept" not in engine.logs(server.target.postgres.container_id, tail=3):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    found = assessed(server, diagnosis)
    assert found.verdict is Verdict.CORRUPT, found
    assert not found.answers
    assert f"database {DATABASE}: its directory" in damaged(found)[Look.FILES]


def test_pages_of_zeros_in_a_second_database_are_seen_by_counting(
    server: Server, diagnosis: Diagnosis, engine: Engine, other: str
) -> None:
    path = server.volume_path / ask(server, other, "SELECT pg_relation_filepath('orders')")
    engine.stop(server.target.postgres.container_id, 20)
    fill(path, 3 * PAGE, bytes(5 * PAGE))
    again(server, engine)
    server.wait()
    found = assessed(server, diagnosis)
    assert found.verdict is Verdict.CORRUPT, found
    assert "rows in the heap" in damaged(found)[Look.COUNTS]


def test_an_index_that_only_counting_found_damaged_is_named_so_that_it_can_be_rebuilt(
    server: Server, diagnosis: Diagnosis, engine: Engine, other: str
) -> None:
    path = server.volume_path / ask(server, other, "SELECT pg_relation_filepath('orders_pkey')")
    engine.stop(server.target.postgres.container_id, 20)
    fill(path, 3 * PAGE, os.urandom(PAGE))
    again(server, engine)
    server.wait()
    found = assessed(server, diagnosis)
    assert found.verdict is Verdict.INDEX_ONLY, found
    assert found.indexes == (DamagedIndex(database=other, name="public.orders_pkey"),)


def test_a_database_that_lets_nobody_in_is_said_to_be_unread(
    server: Server, diagnosis: Diagnosis, other: str
) -> None:
    server.do(f"ALTER DATABASE {other} ALLOW_CONNECTIONS false")
    found = assessed(server, diagnosis)
    (closed,) = [w for w in found.witnesses if w.name == "closed databases"]
    assert closed.finding is Finding.NOT_MEASURED
    assert other in closed.evidence


def test_a_directory_without_its_version_is_damaged_though_the_image_only_speaks_of_initialising(
    server: Server, diagnosis: Diagnosis, engine: Engine
) -> None:
    engine.stop(server.target.postgres.container_id, 20)
    (server.volume_path / "PG_VERSION").unlink()
    again(server, engine)
    deadline = time.monotonic() + 60
    while "initdb: error" not in engine.logs(server.target.postgres.container_id, tail=50):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    found = assessed(server, diagnosis)
    assert found.verdict is Verdict.CORRUPT, found
    assert "no PG_VERSION" in found.because
    assert found.system_identifier, "the control file is right and says whose it is"


def test_a_control_file_that_may_not_be_read_is_a_wrong_setting_and_no_corruption(
    server: Server, diagnosis: Diagnosis, engine: Engine
) -> None:
    container = server.target.postgres.container_id
    engine.set_restart(container, "no")
    engine.kill(container)
    engine.stop(container, 5)
    os.chown(server.volume_path / "global" / "pg_control", 0, 0)
    found = assessed(server, diagnosis)
    assert found.verdict is Verdict.OTHER_TROUBLE, found
    assert "Permission denied" in found.because
    seen = read_control('pg_controldata: error: could not open file "pg_control": Permission denied')
    assert (seen.witness.finding, seen.witness.trouble) == (Finding.NOT_MEASURED, Trouble.SETTINGS)


def test_a_map_without_data_that_the_server_made_anew_is_not_corruption(
    server: Server, diagnosis: Diagnosis, engine: Engine
) -> None:
    server.do("VACUUM messages")
    path = server.volume_path / str(server.ask("SELECT pg_relation_filepath('messages')"))
    engine.stop(server.target.postgres.container_id, 20)
    fill(path.with_name(f"{path.name}_vm"), 0, os.urandom(PAGE))
    again(server, engine)
    server.wait()
    assert server.ask("SELECT count(*) FROM messages") == 20000
    found = assessed(server, diagnosis)
    assert found.verdict is Verdict.SOUND, found
    (log,) = [w for w in found.witnesses if w.look is Look.LOG]
    assert "made a map anew" in log.evidence


def test_settings_that_hide_damage_are_not_on_for_the_checks(
    server: Server, diagnosis: Diagnosis, engine: Engine
) -> None:
    server.do("CREATE TABLE log AS SELECT n, md5(n::text) AS said FROM generate_series(1, 20000) n")
    server.do("VACUUM ANALYZE log")
    path = server.volume_path / str(server.ask("SELECT pg_relation_filepath('log')"))
    server.do("ALTER SYSTEM SET zero_damaged_pages = on")
    server.do("ALTER ROLE postgres SET statement_timeout = '1ms'")
    engine.stop(server.target.postgres.container_id, 20)
    fill(path, 3 * PAGE, os.urandom(PAGE))
    again(server, engine)
    server.wait()
    found = assessed(server, diagnosis)
    assert found.verdict is Verdict.CORRUPT, found
    assert {Look.AMCHECK, Look.FULL_READ} <= set(damaged(found))


def test_a_library_that_the_image_lacks_is_a_wrong_setting_and_no_damaged_index(
    server: Server, diagnosis: Diagnosis, engine: Engine
) -> None:
    server.do("CREATE EXTENSION citext")
    server.do("CREATE TABLE people (name citext PRIMARY KEY)")
    server.do("INSERT INTO people SELECT 'Name ' || n FROM generate_series(1, 500) n")
    container = server.target.postgres.container_id
    find = "rm $(pg_config --pkglibdir 2>/dev/null || echo /usr/lib/postgresql/17/lib)/citext.so"
    assert engine.run(container, ("sh", "-c", find), user="0:0").exit_code == 0
    found = assessed(server, diagnosis)
    assert found.verdict is Verdict.OTHER_TROUBLE, found
    assert "$libdir/citext" in found.because
    assert found.damaged_indexes == ()


def test_pages_of_an_index_that_no_check_reads_are_looked_at_and_the_index_is_named(
    server: Server, diagnosis: Diagnosis, engine: Engine
) -> None:
    server.do("CREATE INDEX words ON messages USING gin (to_tsvector('simple', body))")
    server.do("CREATE INDEX times ON messages USING brin (sent_at)")
    path = server.volume_path / str(server.ask("SELECT pg_relation_filepath('words')"))
    sound = assessed(server, diagnosis)
    assert sound.verdict is Verdict.SOUND, sound
    assert any("2 indexes that amcheck does not read" in w.evidence for w in sound.witnesses)
    engine.stop(server.target.postgres.container_id, 20)
    fill(path, 5 * PAGE, os.urandom(PAGE))
    again(server, engine)
    server.wait()
    found = assessed(server, diagnosis)
    assert found.verdict is Verdict.INDEX_ONLY, found
    assert found.indexes == (DamagedIndex(database=DATABASE, name="public.words"),)
    assert "page 5" in found.because


def test_a_dead_server_that_logged_to_files_of_its_own_is_heard(
    server: Server, diagnosis: Diagnosis, engine: Engine
) -> None:
    container = server.target.postgres.container_id
    server.do("ALTER SYSTEM SET logging_collector = on")
    engine.stop(container, 20)
    again(server, engine)
    server.wait()
    engine.set_restart(container, "no")
    engine.stop(container, 20)
    for file in (server.volume_path / "pg_wal").iterdir():
        if file.is_file():
            file.unlink()
    again(server, engine)
    deadline = time.monotonic() + 60
    while True:
        state = engine.look(container)
        if state is not None and not state.running:
            break
        assert time.monotonic() < deadline
        time.sleep(0.2)
    found = assessed(server, diagnosis)
    assert found.verdict is Verdict.CORRUPT, found
    assert "checkpoint record" in damaged(found)[Look.LOG]


def test_a_server_whose_socket_and_names_are_unusual_is_read_and_its_index_is_named(
    server: Server, diagnosis: Diagnosis, engine: Engine
) -> None:
    server.do("ALTER SYSTEM SET unix_socket_directories = '/tmp'")
    server.do('CREATE TABLE "we\n""ird.table" (id int PRIMARY KEY, body text)')
    server.do('INSERT INTO "we\n""ird.table" SELECT n, md5(n::text) FROM generate_series(1, 5000) n')
    name = 'we\n"ird.table_pkey'
    quoted = name.replace('"', '""')
    path = server.volume_path / str(server.ask(f"SELECT pg_relation_filepath('\"{quoted}\"')"))
    engine.stop(server.target.postgres.container_id, 20)
    fill(path, 2 * PAGE, os.urandom(PAGE))
    again(server, engine)
    server.wait()
    found = assessed(server, diagnosis)
    assert found.verdict is Verdict.INDEX_ONLY, found
    assert found.indexes == (DamagedIndex(database=DATABASE, name=f"public.{name}"),)


def test_a_volume_that_was_initialised_anew_is_not_called_healthy(
    server: Server, diagnosis: Diagnosis, tmp_path: Path
) -> None:
    name = "20261122T020000.000000Z-base"
    directory = tmp_path / "shelf" / catalogue.BASE / name
    (directory / catalogue.DATA).mkdir(parents=True)
    catalogue.write_entry(directory, entry(name, system_identifier="7000000000000000001"))
    found = assessed(server, diagnosis)
    assert found.verdict is Verdict.UNKNOWN, found
    assert f"the newest backup {name} is of 7000000000000000001" in found.because


def test_a_server_without_a_free_connection_says_so(server: Server, diagnosis: Diagnosis) -> None:
    held: list[psycopg.Connection[tuple[object, ...]]] = []
    try:
        with suppress(psycopg.OperationalError):
            while len(held) < 100:
                held.append(server.connect())
        found = assessed(server, diagnosis)
    finally:
        for connection in held:
            connection.close()
    assert found.verdict is Verdict.UNKNOWN, found
    assert "too many clients" in found.because
