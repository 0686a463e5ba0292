"""A database whose contents and checks were written by somebody else."""

from pathlib import Path

import psycopg
import pytest
from psycopg import sql as compose

from activities.engine import Engine
from activities.postgres.assess import Diagnosis
from activities.postgres.contents import read_contents
from activities.postgres.integrity_scans import Place, amcheck, full_read
from activities.postgres.integrity_sql import check_objects, stack_checks
from activities.postgres.sql import Sql
from domain.diagnosis import Finding, Verdict
from domain.order import TargetOrder
from domain.stack import Check
from tests.faults.record import Seen
from tests.hands.postgres.conftest import Server

pytestmark = pytest.mark.timeout(300)

IDENTIFIERS = [
    'users"; DROP TABLE users; --',
    "%s %(x)s %%",
    "a'b",
    "-- x",
    "$(touch /tmp/dr-pwned)",
    "\x1b[31mred",
    "UPPER.lower",
    "x" * 63,
]
DATABASES = [
    "host=203.0.113.9 port=1 user=thief",
    "postgresql://thief@203.0.113.9/x",
    "-d other",
    "quo'te\\d",
    "UPPER case.dot",
]
STATEMENTS = [
    "SELECT 0; DROP TABLE users",
    "SELECT 0; COMMIT; DELETE FROM drafts; SELECT 0",
    "WITH gone AS (DELETE FROM drafts RETURNING 1) SELECT count(*) FROM gone",
    "SELECT 1 INTO stolen",
    "SELECT 0) TO PROGRAM 'touch /tmp/dr-pwned' --",
    "SELECT nextval('counter')",
    "SELECT id FROM users FOR UPDATE",
    "DELETE FROM drafts",
    "SELECT 'S3cret-row'::int",
    "",
]


def state_of(server: Server) -> dict[str, object]:
    """Return what a hostile statement could have changed."""
    return {
        "users": server.ask("SELECT count(*) FROM users"),
        "drafts": server.ask("SELECT count(*) FROM drafts"),
        "counter": server.ask("SELECT last_value FROM counter"),
        "tables": server.ask(
            "SELECT string_agg(relname, ',' ORDER BY relname) FROM pg_class WHERE relkind='r'"
        ),
        "file": server.ask("SELECT count(*) FROM pg_ls_dir('/tmp') f WHERE f = 'dr-pwned'"),
    }


@pytest.mark.fault("K5")
def test_a_check_is_one_query_that_reads_whatever_it_says(server: Server, seen: Seen) -> None:
    """F-K5: a second statement, a writing one and COPY to a program in the checks of the stack file."""
    server.do("CREATE SEQUENCE counter; INSERT INTO drafts VALUES (1, 'kept'), (2, 'kept')")
    before = state_of(server)
    checks = tuple(
        Check.model_construct(name=f"check {n}", sql=text, expect="zero", because="")
        for n, text in enumerate(STATEMENTS)
    )
    with server.connect() as connection:
        proofs = stack_checks(connection, checks)
        sound = stack_checks(
            connection,
            (
                Check(name="a", sql="SELECT count(*) FROM users WHERE name LIKE '%x' -- 100 %"),
                Check(
                    name="b",
                    sql="WITH w AS (SELECT count(*) n FROM users) SELECT n FROM w;",
                    expect="positive",
                ),
            ),
        )
    assert [proof.passed for proof in proofs] == [None] * len(STATEMENTS)
    assert [proof.passed for proof in sound] == [True, True]
    assert "S3cret-row" not in "".join(proof.evidence for proof in proofs)
    assert state_of(server) == before
    seen("; ".join(proof.evidence for proof in proofs)[:300])


@pytest.mark.fault("K5")
@pytest.mark.fault("K3")
def test_names_in_the_database_are_names_to_every_query_and_program(
    server: Server, engine: Engine, sql: Sql, tmp_path: Path, seen: Seen
) -> None:
    """F-K5, F-K3: tables, columns, schemas and constraints called like statements, options and commands."""
    with server.connect() as connection:
        for name in IDENTIFIERS:
            one = compose.Identifier(name)
            connection.execute(compose.SQL("CREATE SCHEMA {}").format(one))
            connection.execute(compose.SQL("CREATE TABLE {}.{} ({} int PRIMARY KEY)").format(one, one, one))
            connection.execute(compose.SQL("INSERT INTO {}.{} VALUES (1)").format(one, one))
            connection.execute(
                compose.SQL(
                    "CREATE TABLE {}.child (id int PRIMARY KEY, up int CONSTRAINT {} REFERENCES {}.{})"
                ).format(one, one, one, one)
            )
        users = server.ask("SELECT count(*) FROM users")
        contents = read_contents(connection)
        proofs = check_objects(connection, contents, ())
    names = {table.name for table in contents.tables}
    assert {f"{name}.{name}" for name in IDENTIFIERS} <= names
    assert [proof.name for proof in proofs if proof.passed is False] == []
    found = Diagnosis(engine, sql, tmp_path).assess_corruption(TargetOrder(target=server.target))
    assert found.verdict is Verdict.SOUND, found.because
    assert found.sentence.isprintable()
    assert server.ask("SELECT count(*) FROM users") == users
    assert server.ask("SELECT count(*) FROM pg_ls_dir('/tmp') f WHERE f = 'dr-pwned'") == 0
    seen(f"{len(IDENTIFIERS)} schemas read, counted and checked: {found.sentence}")


@pytest.mark.fault("K5")
@pytest.mark.parametrize("name", DATABASES)
def test_a_database_called_like_an_address_is_read_where_it_is(
    server: Server, engine: Engine, sql: Sql, name: str, seen: Seen
) -> None:
    """F-K5: a database whose name libpq takes for a connection string, to go there with the password."""
    with server.connect() as connection:
        connection.execute(compose.SQL("CREATE DATABASE {}").format(compose.Identifier(name)))
    with psycopg.connect(
        host="127.0.0.1",
        port=server.target.postgres.host_port,
        user="postgres",
        password=sql.password(server.target.project, server.target.postgres),
        dbname=name,
        autocommit=True,
    ) as inside:
        inside.execute("CREATE EXTENSION amcheck; CREATE TABLE here AS SELECT 1 AS n")
    place = Place(
        container=server.target.postgres.container_id,
        owner="999:999",
        user="postgres",
        database=name,
        environment={"PGCONNECT_TIMEOUT": "3"},
    )
    scans = amcheck(engine, place, limit_seconds=60), full_read(engine, place, limit_seconds=60)
    assert [scan.finding for scan in scans] == [Finding.SOUND, Finding.SOUND], scans
    with sql.live(server.target, database=name) as connection:
        assert connection.execute("SELECT current_database()").fetchone() == (name,)
    seen(f"{scans[0].evidence}; {scans[1].evidence}")
