"""Dumps of a real server: whole, at one snapshot, and refused or begun anew when anything is not right."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from psycopg import sql as compose

from activities import entries
from activities.engine import Engine
from activities.ledger_journal import LedgerFiles, put_flag
from activities.postgres.dump import Dumps
from domain.backups import Level
from domain.contents import TableState
from domain.dumps import GLOBALS, DumpKind
from domain.entries import ENTRY, RECORD, Entry
from domain.errors import Refused, Unavailable
from tests.faults.record import Seen
from tests.hands.faults_at_hands.test_disk import mounted
from tests.hands.postgres.conftest import PASSWORD, Server
from tests.hands.postgres.dumped import database, directory_of, ours, table, wanted

pytestmark = pytest.mark.hand

DATABASE = "we\"ird; DROP TABLE users; --'=$(id) postgresql://evil"
TABLE = 'users; DROP TABLE "x" %s ü\n\''
THE_HAND_ALONE = """
import sys
from pathlib import Path
import docker
from activities.engine import Engine
from activities.postgres.dump import Dumps
from activities.postgres.sql import Sql
from activities.secrets import Secrets
from activities.tokens import Tokens
from domain.dumps import DumpOrder
state = Path(sys.argv[1])
engine = Engine(docker.from_env(timeout=60))
order = DumpOrder.model_validate_json(sys.stdin.read())
Dumps(engine, Sql(Secrets(engine)), Tokens(state), state).ensure_dump(order)
"""


def test_a_dump_holds_every_database_and_the_globals_with_what_they_held(
    server: Server, dumps: Dumps, engine: Engine
) -> None:
    server.do("CREATE ROLE app LOGIN PASSWORD 'not-a-secret'; GRANT SELECT ON users TO app")
    server.do("CREATE ROLE readers; GRANT readers TO app; CREATE UNLOGGED TABLE scratch (n int)")
    server.do("CREATE SEQUENCE tickets; SELECT nextval('tickets') FROM generate_series(1, 7)")
    made = dumps.ensure_dump(wanted(server, reason="test", scheduled_for=datetime(2026, 11, 22, tzinfo=UTC)))
    assert (made.store, made.kind, made.verified) == ("postgres", "daily", Level.MANIFEST)
    assert made.scheduled_for == datetime(2026, 11, 22, tzinfo=UTC)
    assert [file.path for file in made.files] == ["chat.dump", RECORD, GLOBALS, "postgres.dump"]
    assert made.source.system_identifier == str(
        server.ask("SELECT system_identifier FROM pg_control_system()")
    )
    held = database(made)
    assert {one.name: one.rows for one in held.tables} == {
        "public.channels": 50,
        "public.drafts": 0,
        "public.messages": 20_000,
        "public.users": 200,
    }
    assert all(one.digest.startswith("sum64:") for one in held.tables)
    assert "public.scratch is not compared: it is unlogged" in held.left_out
    assert "dr.marker is not compared: it is the ledger's" in held.left_out
    assert next(one.last_value for one in held.sequences if one.name == "public.tickets") == 7
    assert (held.objects["policies"], held.objects["triggers"]) == (1, 1)
    assert any(extension.startswith("amcheck ") for extension in held.extensions)
    assert {"app", "readers", "postgres"} <= set(made.contents.roles)
    assert "app in readers" in made.contents.memberships
    assert made.contents.bootstrap == "postgres"
    assert entries.read_entries(Path(server.target.shelf)) == ([made], [])
    assert ours(engine, server) == []


def test_only_the_owner_reads_a_dump_and_no_password_is_in_its_entry(server: Server, dumps: Dumps) -> None:
    made = dumps.ensure_dump(wanted(server))
    directory = directory_of(server, made)
    for path in directory.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600, path
        assert path.stat().st_uid == server.target.postgres.uid
    assert directory.stat().st_mode & 0o777 == 0o700
    # The passwords' verifiers are in the globals, where they belong, and nowhere else.
    assert "SCRAM-SHA-256" in (directory / GLOBALS).read_text()
    said = (directory / ENTRY).read_text()
    assert "SCRAM-SHA-256" not in said
    assert PASSWORD not in said


def test_a_second_call_with_the_label_returns_the_first_dump_and_kinds_are_apart(
    server: Server, dumps: Dumps
) -> None:
    first = dumps.ensure_dump(wanted(server))
    assert dumps.ensure_dump(wanted(server)) == first
    weekly = dumps.ensure_dump(wanted(server, kind=DumpKind.WEEKLY))
    assert weekly.path.startswith("postgres/weekly/")
    found = entries.read_entries(Path(server.target.shelf))[0]
    assert [entry.id for entry in found] == [weekly.id, first.id]


def test_the_digest_knows_no_order_and_sees_a_row_that_was_altered(server: Server, dumps: Dumps) -> None:
    first = dumps.ensure_dump(wanted(server, label="1"))
    server.do("CREATE TABLE again AS SELECT * FROM users ORDER BY id DESC; TRUNCATE users CASCADE")
    server.do("INSERT INTO users SELECT * FROM again; DROP TABLE again")
    second = dumps.ensure_dump(wanted(server, label="2"))
    assert table(second, "public.users") == table(first, "public.users")
    server.do("UPDATE users SET name = 'somebody else' WHERE id = 7")
    third = dumps.ensure_dump(wanted(server, label="3"))
    assert table(third, "public.users").rows == 200
    assert table(third, "public.users").digest != table(first, "public.users").digest


def test_a_digest_for_which_there_was_no_time_is_named_and_the_rows_are_counted(
    server: Server, dumps: Dumps
) -> None:
    made = dumps.ensure_dump(wanted(server, digest_seconds=0))
    assert {one.digest for one in database(made).tables} == {""}
    assert table(made, "public.messages").rows == 20_000
    assert any("public.messages" in said and "no time" in said for said in database(made).left_out)
    assert "no time for the digests of 4 tables" in made.sentence


def test_a_digest_that_runs_out_of_time_does_not_end_the_snapshot(server: Server, dumps: Dumps) -> None:
    server.do(
        "CREATE TABLE wide AS SELECT n, repeat(md5(n::text), 50) AS text FROM generate_series(1, 60000) n"
    )
    made = dumps.ensure_dump(wanted(server, digest_seconds=0.02))
    assert table(made, "public.wide") == TableState(name="public.wide", rows=60_000)
    assert any("public.wide" in said for said in database(made).left_out)


@pytest.mark.fault("C15")
def test_what_is_recorded_is_what_the_dump_holds_although_writers_write(
    server: Server, dumps: Dumps, seen: Seen
) -> None:
    """F-C15: row counts compared with a moving production: recorded is the snapshot that is dumped."""
    ended = threading.Event()
    written = [0]

    def write() -> None:
        with server.connect() as connection:
            while not ended.is_set():
                connection.execute("INSERT INTO drafts SELECT coalesce(max(id), 0) + 1, 'x' FROM drafts")
                connection.execute("DELETE FROM messages WHERE id = (SELECT max(id) FROM messages)")
                written[0] += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        made = dumps.ensure_dump(wanted(server))
        in_between = written[0]
        # It must not be luck that nothing moved: the writer goes on after the snapshot.
        deadline = time.monotonic() + 30
        while written[0] < in_between + 10:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        ended.set()
        writer.join()
    rows = {one.name: one.rows for one in database(made).tables}
    assert rows["public.messages"] > int(str(server.ask("SELECT count(*) FROM messages")))
    dumped = lines_of(server, made, "drafts"), lines_of(server, made, "messages")
    assert dumped == (rows["public.drafts"], rows["public.messages"])
    seen(f"{written[0]} rows moved; recorded and dumped: {dumped[0]} drafts, {dumped[1]} messages")


def lines_of(server: Server, entry: Entry, name: str) -> int:
    """Return how many rows of a table are in a dump, as ``pg_restore`` writes them."""
    said = server.client.containers.run(
        server.target.postgres.image_id,
        ["--data-only", f"--table={name}", "--file=-", "/dumps/chat.dump"],
        entrypoint="pg_restore",
        network_mode="none",
        remove=True,
        volumes={str(directory_of(server, entry)): {"bind": "/dumps", "mode": "ro"}},
    ).decode()
    rows = said.partition(" FROM stdin;\n")[2].partition("\\.\n")[0]
    return len(rows.splitlines())


def test_a_hand_killed_in_the_middle_leaves_nothing_that_counts_and_the_next_call_begins_anew(
    server: Server, dumps: Dumps, engine: Engine, state: Path
) -> None:
    order = wanted(server)
    # A table that another session holds makes the job wait, so that the kill comes in its middle.
    server.do("CREATE UNLOGGED TABLE passing (id int)")
    with server.connect() as holder, holder.transaction():
        holder.execute("LOCK TABLE passing IN ACCESS EXCLUSIVE MODE")
        with subprocess.Popen(
            [sys.executable, "-c", THE_HAND_ALONE, str(state)],
            stdin=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": "."},
            start_new_session=True,
        ) as hand:
            assert hand.stdin is not None
            hand.stdin.write(order.model_dump_json().encode())
            hand.stdin.close()
            until(lambda: any(job.running for job in ours(engine, server)), hand)
            hand.send_signal(signal.SIGKILL)
    left = ours(engine, server)
    assert [job.labels["dr.role"] for job in left] == ["dump"]
    found, strangers = entries.read_entries(Path(server.target.shelf))
    assert (found, [one.reason for one in strangers]) == ([], ["an unfinished backup"])
    made = dumps.ensure_dump(order)
    assert made.started_at > datetime.fromisoformat(left[0].raw["State"]["StartedAt"])
    assert entries.read_entries(Path(server.target.shelf)) == ([made], [])
    assert ours(engine, server) == []


def until(found: Callable[[], bool], hand: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 30
    while not found():
        assert hand.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_job_that_was_killed_is_reported_and_leaves_nothing(
    server: Server, dumps: Dumps, engine: Engine
) -> None:
    def kill() -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            for job in ours(engine, server):
                if job.running:
                    engine.kill(job.id)
                    return
            time.sleep(0.02)

    server.do("CREATE UNLOGGED TABLE passing (id int)")
    with server.connect() as holder, holder.transaction():
        # What the hand itself looks at is not locked: only the job waits.
        holder.execute("LOCK TABLE passing IN ACCESS EXCLUSIVE MODE")
        killer = threading.Thread(target=kill)
        killer.start()
        with pytest.raises(Unavailable) as failed:
            dumps.ensure_dump(wanted(server))
        killer.join()
    assert failed.value.code == "dump-failed"
    assert entries.read_entries(Path(server.target.shelf)) == ([], [])
    assert ours(engine, server) == []


@pytest.mark.fault("K5")
def test_names_with_quotes_blanks_and_connection_strings_are_dumped_and_nothing_else(
    server: Server, dumps: Dumps, seen: Seen
) -> None:
    """F-K5: a database and a table whose names are SQL, options and addresses."""
    with server.connect() as connection:
        connection.execute(compose.SQL("CREATE DATABASE {}").format(compose.Identifier(DATABASE)))
    with server.connect(DATABASE) as connection:
        connection.execute(
            compose.SQL("CREATE TABLE {} (dr_row int, c text)").format(compose.Identifier(TABLE))
        )
        connection.execute(
            compose.SQL("INSERT INTO {} VALUES (1, 'a'), (2, NULL)").format(compose.Identifier(TABLE))
        )
    made = dumps.ensure_dump(wanted(server))
    held = database(made, DATABASE)
    (only,) = held.tables
    assert only.rows == 2
    assert only.digest not in {"", "sum64:0"}
    assert held.file.startswith("oid-")
    assert {file.path for file in made.files} == {"chat.dump", GLOBALS, RECORD, "postgres.dump", held.file}
    assert int(str(server.ask("SELECT count(*) FROM users"))) == 200
    seen(f"{held.name!r} was dumped into {held.file}")


@pytest.mark.long
def test_a_cast_that_somebody_made_for_a_table_is_not_called_with_our_rights(
    server: Server, dumps: Dumps
) -> None:
    server.do("CREATE TABLE caught (who text)")
    server.do(
        "CREATE FUNCTION spy(users) RETURNS text LANGUAGE plpgsql AS"
        " 'BEGIN INSERT INTO caught VALUES (current_user); RETURN 1; END'"
    )
    server.do("CREATE CAST (users AS text) WITH FUNCTION spy(users)")
    made = dumps.ensure_dump(wanted(server))
    assert table(made, "public.users").digest != ""
    assert server.ask("SELECT count(*) FROM caught") == 0


def test_rows_that_a_policy_hides_are_dumped_and_an_account_that_would_miss_them_is_refused(
    server: Server, dumps: Dumps
) -> None:
    server.do("ALTER TABLE users ENABLE ROW LEVEL SECURITY; ALTER TABLE users FORCE ROW LEVEL SECURITY")
    assert table(dumps.ensure_dump(wanted(server)), "public.users").rows == 200
    server.do("CREATE ROLE weak LOGIN PASSWORD 'not-a-secret'; GRANT pg_read_all_data TO weak")
    weak = server.target.postgres.model_copy(update={"user": "weak", "password": "env:WEAK"})
    target = server.target.model_copy(update={"postgres": weak})
    dumps._sql._secrets._environment["WEAK"] = "not-a-secret"
    with pytest.raises(Refused) as refused:
        dumps.ensure_dump(wanted(server, target=target, label="weak"))
    assert refused.value.code == "account-too-weak"


@pytest.mark.long
def test_a_database_without_a_single_table_is_dumped_as_such(bare_server: Server, dumps: Dumps) -> None:
    bare_server.do("CREATE DATABASE spare")
    made = dumps.ensure_dump(wanted(bare_server))
    assert database(made, "spare").tables == ()
    assert database(made, "spare").objects["schemas"] == 1
    assert "spare.dump" in {file.path for file in made.files}


@pytest.mark.fault("B5")
def test_a_shelf_without_room_is_refused_before_anything_is_made(
    server: Server, dumps: Dumps, monkeypatch: pytest.MonkeyPatch, seen: Seen
) -> None:
    """F-B5: the shelf's filesystem has less room than the databases take."""
    there = os.statvfs(server.target.shelf if Path(server.target.shelf).exists() else "/")
    small = os.statvfs_result([*there[:3], 1, 1, *there[5:]])
    monkeypatch.setattr("activities.room.os.statvfs", lambda _: small)
    with pytest.raises(Refused) as refused:
        dumps.ensure_dump(wanted(server))
    assert refused.value.code == "no-room"
    assert list((Path(server.target.shelf) / "postgres" / "daily").iterdir()) == []
    seen(refused.value.what)


@pytest.mark.fault("B5")
def test_a_disk_that_runs_full_in_the_middle_of_a_dump_is_refused_by_name_and_keeps_nothing(
    server: Server, dumps: Dumps, engine: Engine, monkeypatch: pytest.MonkeyPatch, seen: Seen
) -> None:
    """F-B5: the shelf's disk fills while a dump is written."""
    shelf = Path(server.target.shelf)
    shelf.mkdir()
    roomy = os.statvfs("/")
    with mounted(shelf, "size=300k,mode=0700"):
        monkeypatch.setattr("activities.room.os.statvfs", lambda _: roomy)
        with pytest.raises(Refused) as refused:
            dumps.ensure_dump(wanted(server))
        assert refused.value.code == "no-room"
        assert "disk is full" in refused.value.what
        assert list((shelf / "postgres" / "daily").iterdir()) == []
        assert ours(engine, server) == []
        seen(refused.value.what)
    assert dumps.ensure_dump(wanted(server)).verified is Level.MANIFEST


def test_while_a_recovery_is_open_nothing_is_dumped(server: Server, dumps: Dumps, state: Path) -> None:
    put_flag(LedgerFiles(state, server.target.stack).recovery_open, "20261122T0430Z-0a1b2c3d")
    with pytest.raises(Refused) as refused:
        dumps.ensure_dump(wanted(server))
    assert refused.value.code == "recovery-open"
    assert not Path(server.target.shelf).exists()


def test_a_stopped_server_gives_no_dump_and_leaves_nothing(
    server: Server, dumps: Dumps, engine: Engine
) -> None:
    engine.stop(server.target.postgres.container_id, 20)
    with pytest.raises(Unavailable):
        dumps.ensure_dump(wanted(server))
    assert entries.read_entries(Path(server.target.shelf)) == ([], [])
    assert ours(engine, server) == []


@pytest.mark.long
def test_a_dump_is_taken_over_an_encrypted_password(server: Server, dumps: Dumps) -> None:
    """The server asks for SCRAM on every connection, of the jobs too."""
    server.do("ALTER SYSTEM SET password_encryption = 'scram-sha-256'")
    server.do(f"ALTER ROLE postgres PASSWORD '{PASSWORD.replace(chr(39), chr(39) * 2)}'")
    made = server.client.containers.get(server.target.postgres.container_id)
    rules = "local all all trust\\nhost all all all scram-sha-256\\n"
    code, _ = made.exec_run(
        ["sh", "-c", f"printf '{rules}' > {server.target.postgres.pgdata}/pg_hba.conf"], user="postgres"
    )
    assert code == 0
    server.do("SELECT pg_reload_conf()")
    assert dumps.ensure_dump(wanted(server)).verified is Level.MANIFEST
    wrong = server.target.postgres.model_copy(update={"password": "env:WRONG"})
    dumps._sql._secrets._environment["WRONG"] = "wrong"
    target = server.target.model_copy(update={"postgres": wrong})
    with pytest.raises(Unavailable):
        dumps.ensure_dump(wanted(server, target=target, label="wrong"))


@pytest.mark.long
def test_a_dump_leaves_no_session_in_the_server(server: Server, dumps: Dumps) -> None:
    dumps.ensure_dump(wanted(server))
    query = "SELECT count(*) FROM pg_stat_activity WHERE application_name IN ('dr', 'pg_dump', 'pg_dumpall')"
    assert server.ask(query) == 0
