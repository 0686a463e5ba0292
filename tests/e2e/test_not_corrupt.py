"""Trouble that is not corruption: the run stands down with the evidence and changes nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from domain.diagnosis import Finding
from tests.e2e.stand import Stand
from tests.e2e.witness import Host, settings_of
from tests.faults.record import Seen

ROLE = "e2e_without_privilege"


def evidence_of(report: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the check of a report whose name begins so."""
    found: dict[str, Any] = next(check for check in report["checks"] if check["name"].startswith(name))
    return found


def schema_dump(stand: Stand, *options: str) -> tuple[int, str]:
    """Run ``pg_dump --schema-only`` in the server's own container."""
    dump = ["pg_dump", "--schema-only", "--file=/dev/null", "--dbname=nchat", *options]
    done = stand.lab.container("postgres").exec_run(dump, environment={"LC_ALL": "C"}, user="postgres")
    return int(done.exit_code), done.output.decode()


@contextmanager
def locked(stand: Stand, table: str) -> Iterator[None]:
    """Hold the strongest lock on a table in a session of its own."""
    with psycopg.connect(stand.lab.dsn()) as session:
        session.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
        yield
        session.rollback()


def test_a_healthy_database_is_stood_down_with_the_evidence_and_nothing_is_changed(
    stand: Stand, host: Host
) -> None:
    services, volumes, ours = host.services(), host.volumes(), host.ours()
    settings = settings_of(stand.sql)
    said = stand.dr("recover", "corruption", "--no-plan", "--yes-stack", stand.name)
    assert said.code == 3, said
    assert said.data["outcome"] == "stood_down"
    report = stand.report(said.data["recovery_id"])
    assert report["outcome"] == "stood_down"
    assert "Nothing was changed" in report["rule"]
    assert evidence_of(report, "pg_amcheck nchat")["passed"] is True
    assert evidence_of(report, "full read nchat")["passed"] is True
    assert "nothing wrong" in evidence_of(report, "pg_amcheck nchat")["evidence"]
    assert report["kept_aside"] == []
    assert report["loss"]["postgres"]["markers_lost"] is None
    assert host.services() == services
    assert host.volumes() == volumes
    assert host.ours() == ours
    assert settings_of(stand.sql) == settings


def test_a_plan_of_a_healthy_database_stands_down_too(stand: Stand) -> None:
    said = stand.dr("recover", "corruption", "--plan")
    assert said.code == 3, said
    assert said.data["outcome"] == "stood_down"


@pytest.mark.fault("H1", at_length=True)
def test_a_schema_dump_without_the_privilege_is_not_corruption(stand: Stand, host: Host, seen: Seen) -> None:
    """F-H1: healthy service misdiagnosed: a probe that is wrong; a failing schema dump alone is nothing."""
    stand.sql(f"DROP ROLE IF EXISTS {ROLE}")
    stand.sql(f"CREATE ROLE {ROLE} LOGIN")
    services = host.services()
    try:
        code, complaint = schema_dump(stand, f"--username={ROLE}")
        assert code != 0
        assert "permission denied" in complaint
        seen(complaint)
        said = stand.dr("recover", "corruption", "--no-plan", "--yes-stack", stand.name)
    finally:
        stand.sql(f"DROP ROLE {ROLE}")
    assert said.code == 3, said
    assert said.data["outcome"] == "stood_down"
    assert host.services() == services


@pytest.mark.fault("H1")
def test_a_witness_that_cannot_look_alone_is_not_corruption_and_the_others_decide(
    stand: Stand, host: Host, seen: Seen
) -> None:
    """F-H1: healthy service misdiagnosed: one witness is broken, the others stand down with evidence."""
    services, volumes = host.services(), host.volumes()
    stand.sql("DROP EXTENSION amcheck")
    try:
        said = stand.dr("recover", "corruption", "--no-plan", "--yes-stack", stand.name)
    finally:
        stand.sql("CREATE EXTENSION amcheck")
    assert said.code == 3, said
    report = stand.report(said.data["recovery_id"])
    broken = evidence_of(report, "pg_amcheck nchat")
    seen(broken["evidence"])
    assert broken["passed"] is None, "what could not look says neither"
    assert evidence_of(report, "full read nchat")["passed"] is True
    sound = [check["name"] for check in report["checks"] if check["passed"] is True]
    assert len(sound) >= 2
    assert not [check for check in report["checks"] if check["passed"] is False]
    assert "Nothing was changed" in report["rule"]
    assert host.services() == services
    assert host.volumes() == volumes


@pytest.mark.fault("H1")
def test_a_schema_dump_that_waits_for_a_lock_is_not_corruption(stand: Stand, host: Host, seen: Seen) -> None:
    """F-H1: healthy service misdiagnosed: a probe that is slow, and checks that cannot get through."""
    services = host.services()
    with locked(stand, "nchat_messages"):
        code, complaint = schema_dump(stand, "--username=postgres", "--lock-wait-timeout=500")
        assert code != 0
        assert "canceling statement due to" in complaint
        seen(complaint)
        run_id = stand.recover()
        # What cannot be read is not measured: people are told so, and asked, before anything is done.
        view = stand.wait("needs_human")
        assert view.parked_step == "assess_corruption"
        assert view.parked_code == "assessment-unknown"
    assert stand.dr("retry", "--by", "test").code == 0
    report = stand.to_the_end(run_id)
    assert report["outcome"] == "stood_down", report["rule"]
    assert "Nothing was changed" in report["rule"]
    assert not [check for check in report["checks"] if check["passed"] is False]
    assert Finding.DAMAGED not in report["rule"]
    assert host.services() == services
