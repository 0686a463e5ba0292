"""F-B10: clocks that stand an hour apart, or are moved while a run is open."""

import dataclasses
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import docker
import pytest
from pydantic import ValidationError
from temporalio.testing import ActivityEnvironment

from activities.clocks import Clocks, Skew, judge, told
from activities.engine import Engine
from activities.host import Host
from activities.ledger import Ledger
from activities.ledger_journal import LedgerFiles
from activities.postgres.sql import Sql
from activities.secrets import Secrets
from domain.backups import ChooseOrder
from domain.ledger import DowntimeOrder
from domain.order import TargetOrder
from tests.faults.record import Seen
from tests.hands.postgres.conftest import UID, Server, running_server

HOUR = 3600.0
INSIDE = "/usr/local/lib/libfaketime.so.1"
THE_HAND_ALONE = """
import json
import sys
from pathlib import Path
import docker
from activities.engine import Engine
from activities.host import Host
from domain.order import TargetOrder
order = TargetOrder.model_validate_json(sys.stdin.read())
engine = Engine(docker.from_env(timeout=60))
found = Host(engine, Path(sys.argv[1]), "").observe_host(order)
(clocks,) = [proof for proof in found.proofs if proof.name == "clocks"]
print(clocks.model_dump_json())
"""


@pytest.fixture(scope="module")
def library() -> Path:
    """Return the library of Debian's package ``libfaketime``."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found:
        pytest.skip("libfaketime is not installed: apt-get install faketime")
    return found[0]


@pytest.fixture
def ahead(client: docker.DockerClient, image_id: str, library: Path, tmp_path: Path) -> Iterator[Server]:
    """Start a server whose clock is an hour ahead."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        archive.add(library, INSIDE.lstrip("/"), filter=lambda entry: entry.replace(mode=0o755))
    working = client.containers.create(image_id)
    try:
        working.put_archive("/", held.getvalue())
        # Its processes share a semaphore, so that all of them must be of one user.
        environment = f"ENV LD_PRELOAD={INSIDE} FAKETIME=+1h DONT_FAKE_MONOTONIC=1"
        made = working.commit(changes=f"{environment}\nUSER {UID}:{UID}")
    finally:
        working.remove(v=True)
    try:
        with running_server(client, str(made.id), tmp_path / "shelf") as server:
            yield server
    finally:
        client.images.remove(str(made.id), force=True)


@pytest.mark.fault("B10")
def test_a_database_an_hour_ahead_is_measured_and_stated(
    ahead: Server, engine: Engine, sql: Sql, state: Path, seen: Seen
) -> None:
    """F-B10: clock skew of an hour between worker and database."""
    skews = {skew.clock: skew for skew in Clocks(engine, sql).measure(ahead.target)}
    assert skews["the database"].seconds is not None
    assert abs(skews["the database"].seconds - HOUR) < HOUR / 60
    seen(told(tuple(skews.values())))
    assert not skews["the Docker engine"].apart
    found = Host(engine, state, "").observe_host(TargetOrder(target=ahead.target))
    (clocks,) = [proof for proof in found.proofs if proof.name == "clocks"]
    assert clocks.passed is False
    assert "the database is 3600." in clocks.evidence or "the database is 3599." in clocks.evidence
    assert "ahead of this worker" in clocks.evidence
    assert "within a second of this worker: the Docker engine" in clocks.evidence
    assert "clocks" in found.sentence


@pytest.mark.fault("B10", at_length=True)
@pytest.mark.parametrize(("shift", "said"), [("+1h", "behind"), ("-1h", "ahead of")])
def test_a_worker_whose_clock_is_an_hour_off_says_so_of_itself(
    server: Server, library: Path, tmp_path: Path, shift: str, said: str, seen: Seen
) -> None:
    """F-B10: clock skew of an hour between the worker and everything else."""
    environment = {
        **os.environ,
        "PYTHONPATH": ".",
        "LD_PRELOAD": str(library),
        "FAKETIME": shift,
        "DONT_FAKE_MONOTONIC": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", THE_HAND_ALONE, str(tmp_path)],
        input=TargetOrder(target=server.target).model_dump_json(),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    clocks = json.loads(done.stdout)
    seen(clocks["evidence"])
    assert clocks["passed"] is False
    for clock in ("the database", "the Docker engine"):
        assert clock in clocks["evidence"]
    assert clocks["evidence"].count(f"{said} this worker") == 2


@pytest.mark.unit
@pytest.mark.fault("B10")
@pytest.mark.parametrize(
    ("seconds", "uncertain", "stated"),
    [(0.0, 0.0, False), (0.9, 0.0, False), (-0.9, 0.0, False), (1.1, 0.0, True), (-1.1, 0.0, True),
     (1.4, 0.5, False), (-3600.0, 0.5, True)],
)  # fmt: skip
def test_a_skew_is_stated_once_it_surely_exceeds_a_second(
    *, seconds: float, uncertain: float, stated: bool, seen: Seen
) -> None:
    """F-B10: skew measured, and stated when it is more than a second."""
    skews = (Skew("the database", seconds, uncertain),)
    seen(f"{seconds} s, known to {uncertain} s")
    assert judge(skews).passed is not stated
    assert ("ahead of" in told(skews) or "behind" in told(skews)) is stated


@pytest.mark.unit
def test_a_clock_that_could_not_be_read_is_not_called_right() -> None:
    skews = (Skew("the database", None, why="it does not answer"), Skew("Temporal", 0.1))
    assert judge(skews).passed is None
    assert "the database not read: it does not answer" in told(skews)


@pytest.mark.unit
@pytest.mark.fault("B10")
@pytest.mark.parametrize("moment", ["2026-10-25T02:30:00", "2026-03-29T02:30:00"])
def test_an_instant_without_a_zone_is_refused_where_a_backup_is_chosen_by_time(
    moment: str, seen: Seen
) -> None:
    """F-B10: daylight saving: an hour that exists twice or never; an instant must carry its zone."""
    assert datetime.fromisoformat(moment).tzinfo is None
    with pytest.raises(ValidationError, match="timezone") as refused:
        ChooseOrder.model_validate({"before": moment, "target": {}})
    seen(str(refused.value).splitlines()[2].strip())


@pytest.mark.unit
@pytest.mark.fault("B10")
@pytest.mark.parametrize("hours", [-1, 0, 1])
def test_the_downtime_is_that_of_the_run_though_temporal_and_the_host_are_an_hour_apart(
    tmp_path: Path, hours: int, seen: Seen
) -> None:
    """F-B10: durations are of workflow time: the journal of the host is read at the instants of the run."""
    skew = timedelta(hours=hours)
    declared = datetime.now(UTC) - timedelta(seconds=60)  # as Temporal's server says
    journal = LedgerFiles(tmp_path, "lab").probe
    journal.parent.mkdir(parents=True)
    # On the host's clock: users were served once a second, but for the seconds 20 to 29 of the run.
    host = [declared - skew + timedelta(seconds=number) for number in range(-30, 90)]
    lines = [
        {"at": at.isoformat(), "seconds": 0.0, "ok": not 20 <= number < 30}
        for number, at in zip(range(-30, 90), host, strict=True)
    ]
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    order = DowntimeOrder(stack="lab", declared_at=declared, verified_at=declared + timedelta(seconds=60))
    running = ActivityEnvironment()
    running.info = dataclasses.replace(running.info, started_time=datetime.now(UTC) + skew)
    engine = cast("Engine", None)
    ledger = Ledger(engine, Secrets(engine), Sql(Secrets(engine)), tmp_path)
    found = running.run(ledger.measure_downtime, order)
    seen(f"Temporal is {hours} h ahead of the host: {found.sentence}")
    assert found.seconds == pytest.approx(11, abs=0.5)
    assert found.longest_from is not None
    assert abs(found.longest_from - (declared + timedelta(seconds=19))) < timedelta(seconds=1)
    # The same without knowing of the skew finds no action at all in the window.
    blind = ledger.measure_downtime(order).seconds
    assert blind == pytest.approx(11, abs=0.5) if hours == 0 else blind is None
