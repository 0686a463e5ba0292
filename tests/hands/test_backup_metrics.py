"""What ``/metrics`` says of backups: read from shelf, archive and journal each time, absent when unknown."""

import json
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from activities import catalogue, entries
from activities.engine import ContainerState, Engine
from domain.backups import Backup, Level
from domain.ledger import JournalLine, MarkerState
from tests.hands.shelved import AT, DAILY, shelved
from worker.backup_metrics import BackupMetrics
from worker.metrics_page import MetricsPage, free_address

pytestmark = pytest.mark.hand

NOW = AT + timedelta(hours=4)
SEGMENT = "000000010000000000000004"
SEGMENT_BYTES = 1 << 20
STACK = """\
stack: shop
project: shop
services:
  db: {kind: postgres}
  cache: {kind: redis}
backup:
  schedules: {stack: null, postgres-weekly: null}
"""


class Receiver:
    """An engine that knows one container, and what it has said."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.there = True
        self.exit_code: int | None = None

    def look(self, name: str) -> ContainerState | None:
        if not self.there:
            return None
        raw = {"State": {"FinishedAt": "2026-11-22T05:00:00Z"}}
        return ContainerState("c1", name, "i", "running", self.exit_code, {}, raw)

    def logs(self, _: str, *, tail: str, since: int | None, timestamps: bool) -> str:
        assert (tail, timestamps) == ("all", True)
        bound = datetime.fromtimestamp(since or 0, UTC)
        return "\n".join(one for one in self.lines if datetime.fromisoformat(one.split()[0]) >= bound)


class Seen:
    """A host with one stack, whose page is read as Prometheus does."""

    def __init__(self, directory: Path) -> None:
        self.state = directory
        self.shelf = directory / "shelf"
        self.receiver = Receiver()
        self.now = NOW
        self.file = directory / "shop.yaml"
        self.file.write_text(STACK)

    def read(self) -> dict[str, float]:
        """Return every series as ``name{labels}``, labels sorted by their names."""
        engine = cast("Engine", self.receiver)
        collector = BackupMetrics({"shop": self.file}, self.state, engine, lambda: self.now)
        page = MetricsPage("127.0.0.1:0", free_address(), collector)
        try:
            text = httpx.get(f"http://{page.address}/metrics", trust_env=False).text
        finally:
            page.close()
        return {
            f"{sample.name} {' '.join(sample.labels[key] for key in sorted(sample.labels))}": sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if not sample.name.endswith("_created")
        }

    def received(self, name: str, at: datetime, size: int = SEGMENT_BYTES) -> None:
        directory = self.shelf / "postgres" / "wal" / "dr_recv_1"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(b"x" * size)
        os.utime(directory / name, (at.timestamp(), at.timestamp()))

    def marked(self, *lines: tuple[int, MarkerState, datetime]) -> None:
        journal = self.state / "ledger" / "shop" / "postgres.jsonl"
        journal.parent.mkdir(parents=True, exist_ok=True)
        said = [JournalLine(n=n, state=state, at=at).model_dump_json() for n, state, at in lines]
        journal.write_text("{}\n" + "\n".join(said) + "\n")

    def base(self, **other: Any) -> None:
        name = "20261122T010000Z-base"
        values: dict[str, Any] = {
            "id": name,
            "path": f"postgres/base/{name}/data",
            "started_at": AT - timedelta(hours=1),
            "ended_at": AT - timedelta(minutes=50),
            "bytes": 1,
            "system_identifier": "1",
            "server_version": "17",
            "image_id": "i",
            "timeline": 1,
            "start_lsn": "0/400028",
            "stop_lsn": "0/400100",
            "start_segment": SEGMENT,
            "wal_segment_bytes": SEGMENT_BYTES,
            "verified": Level.MANIFEST,
        }
        directory = self.shelf / "postgres" / "base" / name
        (directory / "data").mkdir(parents=True, exist_ok=True)
        catalogue.write_entry(directory, Backup.model_validate(values | other))


@pytest.fixture
def seen(tmp_path: Path) -> Seen:
    return Seen(tmp_path)


def test_a_host_with_nothing_has_no_series_but_what_is_expected(seen: Seen) -> None:
    seen.receiver.there = False
    found = seen.read()
    expected = {"dr_backup_expected_seconds", "dr_backup_verification_expected_seconds"}
    assert {name.split()[0] for name in found} == expected
    assert found["dr_backup_verification_expected_seconds shop"] == 24 * 3600 + 6 * 3600 + 660
    assert found["dr_backup_expected_seconds daily shop postgres"] == 24 * 3600 + 6 * 3600 + 660
    assert "dr_backup_expected_seconds rdb shop redis" in found
    assert not [name for name in found if "weekly" in name], "the stack file has no such schedule"


def test_a_stack_whose_backups_nobody_is_to_verify_has_no_series_of_it(seen: Seen) -> None:
    seen.file.write_text(STACK.replace("stack: null,", "stack: null, verification: null,"))
    assert "dr_backup_verification_expected_seconds shop" not in seen.read()


def test_the_age_of_a_backup_and_of_its_proof_grow_with_the_clock(seen: Seen) -> None:
    made = shelved(seen.shelf)
    assert seen.read()["dr_backup_age_seconds daily shop postgres"] == 4 * 3600
    assert "dr_backup_verified_age_seconds daily shop postgres" not in seen.read()
    entries.record_verified(seen.shelf, made, Level.MANIFEST, AT, "read")
    assert "dr_backup_verified_age_seconds daily shop postgres" not in seen.read(), "it was only read"
    entries.record_verified(seen.shelf, made, Level.RESTORED, AT + timedelta(hours=3), "restored")
    assert seen.read()["dr_backup_verified_age_seconds daily shop postgres"] == 3600
    seen.now += timedelta(days=9)
    assert seen.read()["dr_backup_verified_age_seconds daily shop postgres"] == 3600 + 9 * 86400


def test_a_shelf_that_cannot_be_read_takes_the_series_with_it(seen: Seen) -> None:
    shelved(seen.shelf)
    seen.file.write_text("stack: [")
    assert seen.read() == {}
    seen.file.write_text(STACK)
    (seen.shelf / "postgres" / "daily" / DAILY / "dr.json").write_text("{}")
    assert "dr_backup_age_seconds daily shop postgres" not in seen.read()


def test_the_archive_is_as_far_behind_as_the_servers_last_write_is_younger(seen: Seen) -> None:
    seen.received(SEGMENT, NOW - timedelta(seconds=50))
    assert seen.read()["dr_wal_archive_lag_seconds db shop"] == 50, "nobody watches the server"
    tried, taken = MarkerState.ATTEMPTED, MarkerState.ACKNOWLEDGED
    seen.marked((1, tried, NOW), (1, taken, NOW - timedelta(seconds=20)))
    assert seen.read()["dr_wal_archive_lag_seconds db shop"] == 30
    seen.marked((1, tried, NOW - timedelta(hours=1)), (1, taken, NOW - timedelta(hours=1)))
    assert seen.read()["dr_wal_archive_lag_seconds db shop"] == 50, "the ledger itself stands still"
    refused = MarkerState.REFUSED
    seen.marked((1, taken, NOW - timedelta(hours=2)), (2, tried, NOW), (2, refused, NOW))
    assert seen.read()["dr_wal_archive_lag_seconds db shop"] == 0, "the server takes nothing: nothing is late"


def test_what_would_be_lost_reaches_back_to_the_backup_when_the_wal_has_a_gap(seen: Seen) -> None:
    seen.received(SEGMENT, NOW - timedelta(seconds=40))
    assert "dr_rpo_current_seconds db shop" not in seen.read(), "without a base backup nothing is known"
    seen.base(verified=Level.NONE)
    assert "dr_rpo_current_seconds db shop" not in seen.read()
    seen.base()
    assert seen.read()["dr_rpo_current_seconds db shop"] == 40
    seen.received("000000010000000000000006", NOW)
    assert seen.read()["dr_rpo_current_seconds db shop"] == 4 * 3600 + 50 * 60


def test_the_loss_of_another_store_is_the_age_of_its_newest_backup(seen: Seen) -> None:
    assert "dr_rpo_current_seconds cache shop" not in seen.read()
    whole = {"started_at": AT + timedelta(hours=1), "verified": Level.MANIFEST}
    made = shelved(seen.shelf, "20261122T030000Z-rdb", "redis", **whole)
    assert seen.read()["dr_rpo_current_seconds cache shop"] == 3 * 3600
    later = {**whole, "started_at": AT + timedelta(hours=2)}
    damaged = shelved(seen.shelf, "20261122T040000Z-rdb", "redis", **later)
    assert seen.read()["dr_rpo_current_seconds cache shop"] == 2 * 3600
    entries.record_verified(seen.shelf, damaged, Level.NONE, NOW, "found to be damaged")
    assert seen.read()["dr_rpo_current_seconds cache shop"] == 3 * 3600
    entries.record_verified(seen.shelf, made, Level.NONE, NOW, "found to be damaged")
    assert "dr_rpo_current_seconds cache shop" not in seen.read()


def test_what_a_clock_that_was_ahead_has_dated_makes_nothing_look_fresh(seen: Seen) -> None:
    year = timedelta(days=365)
    shelved(seen.shelf, "20261122T030000Z-rdb", "redis", started_at=NOW + year, verified=Level.MANIFEST)
    made = shelved(seen.shelf, started_at=AT)
    entries.record_verified(seen.shelf, made, Level.RESTORED, NOW + year, "restored")
    seen.received(SEGMENT, NOW - timedelta(seconds=40))
    seen.received("000000010000000000000005", NOW + year)
    seen.base()
    found = seen.read()
    assert found["dr_backup_age_seconds daily shop postgres"] == 4 * 3600
    assert found["dr_wal_archive_lag_seconds db shop"] == 40
    unknown = ("dr_backup_age_seconds rdb", "dr_backup_verified_age_seconds daily", "dr_rpo_current_seconds")
    assert [name for name in found if name.startswith(unknown)] == []


def test_each_error_of_the_receiver_is_counted_once_across_workers(seen: Seen) -> None:
    assert seen.read()["dr_wal_archive_failed_total db shop"] == 0
    seen.receiver.lines = [
        "2026-11-22T04:00:00.1Z pg_receivewal: error: could not write 8192 bytes: No space left on device",
        "2026-11-22T04:00:00.2Z pg_receivewal: disconnected; waiting 5 seconds to try again",
        "2026-11-22T04:00:05.3Z pg_receivewal: error: could not write 8192 bytes: No space left on device",
    ]
    assert [seen.read()["dr_wal_archive_failed_total db shop"] for _ in range(2)] == [2, 2]
    seen.receiver.exit_code = 1
    assert [seen.read()["dr_wal_archive_failed_total db shop"] for _ in range(2)] == [3, 3]
    seen.receiver.there = False
    assert "dr_wal_archive_failed_total db shop" not in seen.read()
    record = json.loads((seen.state / "receiver-failures" / "shop.json").read_text())
    assert record["count"] == 3


@pytest.fixture
def of_the_sdk() -> Iterator[str]:
    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"temporal_long_request 1\n")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Answering)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_one_page_holds_what_the_sdk_measured_and_what_is_read_now(seen: Seen, of_the_sdk: str) -> None:
    shelved(seen.shelf)
    collector = BackupMetrics({"shop": seen.file}, seen.state, cast("Engine", seen.receiver), lambda: NOW)
    page = MetricsPage("127.0.0.1:0", of_the_sdk, collector)
    try:
        answer = httpx.get(f"http://{page.address}/metrics", trust_env=False)
        elsewhere = httpx.get(f"http://{page.address}/etc/passwd", trust_env=False)
    finally:
        page.close()
    assert answer.text.startswith("temporal_long_request 1\n")
    assert 'dr_backup_age_seconds{kind="daily",stack="shop",store="postgres"} 14400.0' in answer.text
    assert elsewhere.status_code == 404
