"""The whole local shelf is lost and the database is damaged: the run itself recovers from off-site."""

import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.stand import Stand, until
from tests.e2e.witness import Host, Users
from tests.faults.harness.plan import Folder, Plan
from tests.faults.record import Seen
from tests.hands.offsite.place import KEYS, Place
from tests.hands.offsite.test_minio import minio_port  # noqa: F401 - the fixture

OFFSITE = """
offsite:
  endpoint: http://127.0.0.1:{port}
  bucket: {bucket}
  prefix: copies
  access_key: env:FAR_ACCESS
  secret_key: env:FAR_SECRET
  storage_class: STANDARD
  sse: none
"""


@pytest.fixture
def protected_afar(stand: Stand, minio_port: int, tmp_path: Path) -> Iterator[Stand]:  # noqa: F811 - the fixture
    """Hand out the stand with a second MinIO as its far side, and everything finished copied there."""
    bucket = f"copies-{secrets.token_hex(6)}"
    Place(tmp_path, f"http://127.0.0.1:{minio_port}", bucket).client.create_bucket(Bucket=bucket)
    text = stand.stack_file.read_text()
    stand.stack_file.write_text(text + OFFSITE.format(port=minio_port, bucket=bucket))
    stand.restart_worker(**KEYS)
    assert stand.dr("keys", "backup", "new").code == 0
    copied = stand.dr("offsite", "copy")
    assert copied.code == 0, copied
    try:
        yield stand
    finally:
        stand.end_open_run()
        stand.stack_file.write_text(text)
        stand.restart_worker()


def lose_the_shelf(stand: Stand) -> Path:
    shelf = Path(stand.target().shelf)
    shutil.rmtree(shelf)
    assert not shelf.exists()
    return shelf


def recovered(stand: Stand, run_id: str) -> dict[str, Any]:
    report = stand.to_the_end(run_id)
    assert report["outcome"] == "recovered", report["rule"]
    return report


def assert_told(report: dict[str, Any], gone: list[dict[str, Any]]) -> str:
    """Assert that the report says what was missing, what was fetched and what that cost; return its words."""
    steps = {step["id"]: step for step in report["steps"]}
    assert steps["ensure_recalled"]["outcome"] == "done"
    assert "back on the shelf" in steps["ensure_recalled"]["sentence"]
    said, fetched = str(report["facts"]["off-site"]), report["facts"]["backup"].split(",")[0]
    assert fetched in said
    for name in {row["id"] for row in gone if row["kind"] == "base"} - {fetched}:
        assert any(line.startswith(f"{name}: it is missing") for line in report["passed_over"])
    assert report["loss"]["postgres"]["seconds"] is not None
    return said


def missing(stand: Stand, ids: list[str]) -> set[str]:
    """Return the acknowledged messages that the database does not have."""
    return set(ids) - {str(row[0]) for row in stand.sql("SELECT id::text FROM nchat_messages")}


@pytest.mark.fault("C1", at_length=True)
def test_a_living_server_whose_shelf_is_lost_is_recovered_from_off_site_alone(
    protected_afar: Stand, host: Host, users: Users, seen: Seen
) -> None:
    """F-C1: the latest backup is missing, and all others; the worker is killed when it has fetched one."""
    stand, gone = protected_afar, protected_afar.backups()
    lost = lose_the_shelf(stand)
    stand.damage_pages()
    folder = Folder(stand.state / "faults")
    folder.arm(Plan("ensure_recalled", "step", "hand", 1, "after", "kill"))
    try:
        run_id = stand.recover()
        view = stand.wait("gate")
        users.end()
        assert any("came from off-site" in fact for fact in view.brief), view.brief
        assert folder.unfired() == []
        report = recovered(stand, run_id)
    finally:
        folder.disarm()
    seen(f"{lost} was gone; {assert_told(report, gone)}")
    absent = missing(stand, users.ids())
    loss = report["loss"]["postgres"]
    # What its own WAL still had was replayed; where that did not follow, the loss is measured and stated.
    assert not absent or loss["markers_lost"] > 0
    assert host.leftovers() == []
    assert not list(lost.rglob("*.fetching"))
    assert len(stand.backups()) == 2
    assert until(lambda: stand.dr("doctor").data["proofs"], "the doctor's answer")


@pytest.mark.fault("C1", at_length=True)
def test_a_dead_server_whose_shelf_is_lost_is_recovered_from_off_site_alone(
    protected_afar: Stand, host: Host, seen: Seen
) -> None:
    """F-C1: the latest backup is missing, and every other one; the server cannot serve either."""
    stand, gone = protected_afar, protected_afar.backups()
    lost = lose_the_shelf(stand)
    stand.destroy_control_file()
    report = recovered(stand, stand.recover())
    seen(f"{lost} was gone; {assert_told(report, gone)}")
    assert host.leftovers() == []
    assert len(stand.backups()) == 2


@pytest.mark.fault("C12", at_length=True)
def test_with_a_far_store_that_lets_nobody_in_the_run_parks_with_nothing_stopped(
    protected_afar: Stand, host: Host, seen: Seen
) -> None:
    """F-C12: expired credentials, when the shelf is lost: parked with what is missing."""
    stand, shelf = protected_afar, Path(protected_afar.target().shelf)
    stand.restart_worker(**KEYS | {"FAR_SECRET": "another-password-of-a-test"})
    away = shelf.with_name("shelf-away")
    stand.damage_pages()
    services, volumes = host.services(), host.volumes()
    shelf.rename(away)
    try:
        said = stand.dr("recover", "corruption", "--no-plan", "--yes-stack", stand.name)
        assert said.code == 4, said
        assert said.data["parked_step"] == "choose_backup"
        assert "offsite-denied" in said.data["parked_reason"]
        assert "another-password" not in said.out
        seen(said.data["parked_reason"])
        assert host.services() == services
        assert host.volumes() == volumes
        assert stand.sql("SELECT 1") == [(1,)]
    finally:
        if shelf.exists():
            shutil.rmtree(shelf)
        away.rename(shelf)
    # What people brought back is found by the same run.
    assert stand.dr("retry", "--by", "operator").code == 0
    report = recovered(stand, said.data["recovery_id"])
    assert "off-site" not in report["facts"]
