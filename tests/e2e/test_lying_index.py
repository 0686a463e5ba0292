"""An index hides rows that its table has: it is rebuilt under its users, and nothing is restored."""

import psycopg
import pytest

from activities.faults_files import FileFaults, LyingIndexOrder
from activities.postgres.sql import Sql
from activities.secrets import Secrets
from tests.e2e.stand import Stand, until
from tests.e2e.witness import Host, Users
from tests.faults.record import Seen

RESTORING = {
    "choose_backup",
    "ensure_restored",
    "ensure_writers_stopped",
    "ensure_fenced",
    "ensure_swapped_in",
}


def test_an_index_that_lies_is_rebuilt_under_its_users_and_nothing_is_restored(
    stand: Stand, host: Host, users: Users
) -> None:
    services, volumes, kept = host.services(), host.volumes(), host.kept()
    index, _ = lie(stand)
    before = stand.sql("SELECT pg_relation_filenode(%s::regclass)", index)

    planned = stand.dr("recover", "corruption", "--plan")
    assert planned.code == 0, planned
    assert f"would rebuild {index}" in planned.data["rule"]
    assert stand.sql("SELECT pg_relation_filenode(%s::regclass)", index) == before

    report = stand.to_the_end(stand.recover())
    users.end()

    assert report["outcome"] == "recovered", report["rule"]
    assert "only indexes were rebuilt" in report["rule"]
    steps = [step["id"] for step in report["steps"]]
    assert "ensure_reindexed" in steps
    assert not RESTORING & set(steps)
    checks = {check["name"]: check["passed"] for check in report["checks"]}
    assert checks[f"index {index}"] is True
    assert checks["amcheck"] is True
    assert checks["full read"] is True
    assert False not in checks.values()
    assert stand.sql("SELECT pg_relation_filenode(%s::regclass)", index) != before
    assert faults_of(stand, index) == []

    assert report["kept_aside"] == []
    assert report["loss"]["postgres"]["markers_lost"] == 0
    assert report["loss"]["postgres"]["markers_acknowledged"] > 0
    assert isinstance(report["downtime_seconds"], int | float)
    sent = users.ids()
    query = "SELECT count(*) FROM nchat_messages WHERE id = ANY(%s::uuid[])"
    assert stand.sql(query, sent) == [(len(sent),)]
    # Nothing was stopped, started, made or left.
    assert host.services() == services
    assert host.volumes() == volumes
    assert host.kept() == kept
    assert host.leftovers() == []
    assert stand.sql("SHOW autovacuum") == [("on",)]

    again = stand.dr("recover", "corruption", "--no-plan", "--yes-stack", stand.name)
    assert again.data["outcome"] == "stood_down", again


@pytest.mark.kill
@pytest.mark.fault("A3", at_length=True)
def test_a_worker_killed_while_an_index_is_rebuilt_waits_for_that_rebuild(
    stand: Stand, host: Host, seen: Seen
) -> None:
    """F-A3: the server goes on with what the killed worker began; it is not begun a second time."""
    index, table = lie(stand)
    before = stand.sql("SELECT pg_relation_filenode(%s::regclass)", index)
    builds = "SELECT pid FROM pg_stat_progress_create_index"
    with psycopg.connect(stand.lab.dsn()) as writer:
        # A rebuild waits for everybody who writes to the table, so it is still there when its worker dies.
        writer.execute(f"LOCK TABLE {table} IN ROW EXCLUSIVE MODE".encode())
        run_id = stand.recover()
        (build,) = until(lambda: stand.sql(builds), "the rebuild runs")
        killed = stand.kill_worker()
        until(lambda: stand.worker() not in {0, killed}, "the worker's supervisor starts it again")
        assert stand.sql(builds) == [build]
        seen(f"worker {killed} was killed, and the server's process {build[0]} still rebuilt {index}")
        writer.rollback()
    report = stand.to_the_end(run_id)

    assert report["outcome"] == "recovered", report["rule"]
    (step,) = [step for step in report["steps"] if step["id"] == "ensure_reindexed"]
    assert step["attempts"] >= 2
    assert stand.sql("SELECT pg_relation_filenode(%s::regclass)", index) != before
    assert faults_of(stand, index) == []
    assert report["loss"]["postgres"]["markers_lost"] == 0
    assert stand.sql("SHOW autovacuum") == [("on",)]
    assert host.leftovers() == []


def lie(stand: Stand) -> tuple[str, str]:
    """Have an index of the lab lie; return its name and that of its table."""
    faults = FileFaults(stand.engine, Sql(Secrets(stand.engine, stand.environment)))
    stand.dirty = True
    injected = faults.inject_lying_index(LyingIndexOrder(target=stand.target()))
    return injected.evidence.partition(":")[0], injected.table


def faults_of(stand: Stand, index: str) -> list[str]:
    """Return what amcheck itself says against an index, and what a rebuild left beside it."""
    stand.sql("SELECT bt_index_check(%s::regclass, true)", index)
    left = stand.sql("SELECT relname FROM pg_class WHERE relname ~ '_cc(new|old)[0-9]*$'")
    return [str(name) for (name,) in left]
