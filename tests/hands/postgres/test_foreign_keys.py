"""Foreign keys are followed by their own operators, wherever those live and whatever they call equal."""

from activities.postgres.integrity_counts import check_foreign_keys
from tests.hands.postgres.conftest import Server


def test_a_key_that_ignores_case_is_followed_as_the_server_follows_it(server: Server) -> None:
    server.do("CREATE SCHEMA extensions")
    server.do("CREATE EXTENSION citext SCHEMA extensions")
    server.do('CREATE TABLE "Tén%ants" (name extensions.citext PRIMARY KEY, "no" int)')
    server.do('CREATE TABLE seats ("of" extensions.citext REFERENCES "Tén%ants")')
    server.do("INSERT INTO \"Tén%ants\" VALUES ('alice', 1)")
    server.do("INSERT INTO seats VALUES ('ALICE'), (NULL)")
    with server.connect() as connection:
        found = check_foreign_keys(connection)
        assert found.passed, found
        connection.execute("SET session_replication_role = replica")
        connection.execute("INSERT INTO seats VALUES ('bob')")
        found = check_foreign_keys(connection)
    assert found.passed is False
    assert "seats_of_fkey: 1 rows" in found.evidence
