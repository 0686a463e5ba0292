"""The file of the messages' table is deleted under the running server."""

from activities.faults_files import FileFaults, MissingFileOrder
from activities.postgres.sql import Sql
from activities.secrets import Secrets
from tests.e2e.stand import Stand
from tests.e2e.witness import Host, Users


def test_a_table_whose_file_is_gone_is_restored_with_all_that_was_acknowledged(
    stand: Stand, host: Host, users: Users
) -> None:
    kept = set(host.kept())
    faults = FileFaults(stand.engine, Sql(Secrets(stand.engine, stand.environment)))
    stand.dirty = True
    injected = faults.inject_missing_file(MissingFileOrder(target=stand.target()))
    assert "could not open file" in injected.evidence

    report = stand.to_the_end(stand.recover())
    users.end()

    assert report["outcome"] == "recovered", report["rule"]
    assert "is missing" in report["facts"]["diagnosis"]
    assert injected.table in report["facts"]["diagnosis"]
    assert report["loss"]["postgres"]["markers_lost"] == 0
    assert report["loss"]["postgres"]["markers_acknowledged"] > 0
    sent = users.ids()
    query = "SELECT count(*) FROM nchat_messages WHERE id = ANY(%s::uuid[])"
    assert stand.sql(query, sent) == [(len(sent),)]
    rows = stand.sql(f"SELECT count(t) FROM {injected.table} t")[0][0]  # noqa: S608 - a name of our own
    assert rows > len(sent)
    assert len(set(host.kept()) - kept) == 1
    assert host.leftovers() == []
