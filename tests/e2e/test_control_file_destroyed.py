"""``pg_control`` is destroyed on a stopped server: nobody is served, so nothing waits to be closed."""

from datetime import datetime

from tests.e2e.stand import Stand
from tests.e2e.witness import Host, Users


def test_a_server_without_its_control_file_is_closed_at_once_and_recovered(
    stand: Stand, host: Host, users: Users
) -> None:
    kept_before = set(host.kept())
    stand.destroy_control_file()
    assert host.services()["postgres"][1] == "exited"
    run_id = stand.recover()
    stand.wait("gate")
    at_the_gate = host.services()
    report = stand.to_the_end(run_id)
    users.end()

    assert report["outcome"] == "recovered", report["rule"]
    # A dead server is closed, and its last WAL brought over, before people are asked.
    assert at_the_gate["hasura"][1] == "exited"
    decided = next(mark["at"] for mark in report["marks"] if mark["name"] == "decided")
    steps = {step["id"]: datetime.fromisoformat(step["started_at"]) for step in report["steps"]}
    assert steps["ensure_fenced"] < steps["verify_copy"] < datetime.fromisoformat(decided)

    loss = report["loss"]["postgres"]
    assert isinstance(loss["markers_lost"], int)
    assert isinstance(loss["seconds"], int | float)
    assert loss["markers_acknowledged"] > 0
    assert isinstance(report["downtime_seconds"], int | float)

    sent = users.ids()
    query = "SELECT count(*) FROM nchat_messages WHERE id = ANY(%s::uuid[])"
    assert stand.sql(query, sent) == [(len(sent),)]
    assert len(set(host.kept()) - kept_before) == 1
    assert host.leftovers() == []
