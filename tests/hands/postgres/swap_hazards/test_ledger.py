"""The ledger in a recovery: a moving table that must neither spoil a comparison nor invent a loss."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from activities.ledger import Ledger
from activities.ledger_journal import LedgerFiles
from activities.ledger_places import Place
from activities.ledger_postgres import PostgresMarkers
from activities.postgres.contents import read_contents
from activities.postgres.integrity_sql import compare
from activities.secrets import Secrets
from domain.errors import Unavailable
from domain.ledger import LossOrder, Store
from domain.order import TargetOrder
from tests.hands.postgres.conftest import PASSWORD
from tests.hands.postgres.scene import Scene
from tests.hands.postgres.swap_hazards.naive import copy_on, on_copy, until
from worker.ledger import MarkerWriter

OLD = range(1, 71)
COUNT = "SELECT count(*) FROM dr.marker"


class Markers:
    """The ledger's writer on the server of the scene; markers of yesterday are there already."""

    def __init__(self, scene: Scene) -> None:
        self.files = LedgerFiles(scene.state, scene.target.stack)
        self.hand = Ledger(scene.engine, Secrets(scene.engine), scene.sql, scene.state)
        self.order = TargetOrder(recovery_id=scene.rid, target=scene.target)
        server = scene.target.postgres
        place = Place(
            "127.0.0.1", server.host_port or 0, server.user, server.database, {"password": PASSWORD}
        )
        self.files.directory.mkdir(parents=True, exist_ok=True)
        at = (datetime.now(UTC) - timedelta(hours=25)).isoformat()
        lines = [{"n": n, "state": state, "at": at} for n in OLD for state in ("attempted", "acknowledged")]
        self.files.journal(Store.POSTGRES).write_text("".join(json.dumps(line) + "\n" for line in lines))
        scene.server.do("INSERT INTO dr.marker SELECT generate_series(1, 70)")
        self.writer = MarkerWriter(
            Store.POSTGRES,
            self.files,
            lambda *, may_create: PostgresMarkers(place, may_create=may_create),
        )

    def acknowledged(self) -> set[int]:
        return set(self.files.known(Store.POSTGRES).acknowledged) - set(OLD)


@pytest.fixture
def markers(scene: Scene) -> Iterator[Markers]:
    made = Markers(scene)
    yield made
    made.writer.close()


@pytest.mark.swap_hazard(18, at_length=True)
def test_markers_are_only_inserted_while_a_recovery_is_open(scene: Scene, markers: Markers) -> None:
    """Row 18 of what bites in a swap: pruned markers cause conflicts of replay on the copy."""
    markers.hand.ensure_recovery_flagged(markers.order)
    markers.writer.turn(101)
    assert scene.server.ask(COUNT) == 71
    scene.archive_all()
    plain = copy_on(scene, scene.restore(1).volume, max_standby_archive_delay="200ms").wait()
    until(lambda: plain.ask(COUNT) == 71, "the copy lags behind")
    with plain.connect() as session:
        session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        session.execute(COUNT.encode())
        markers.hand.ensure_recovery_cleared(markers.order)
        markers.writer.turn(102)
        assert scene.server.ask(COUNT) == 2
        scene.server.do("VACUUM dr.marker")
        scene.archive_all()

        def cancelled() -> bool:
            try:
                session.execute(COUNT.encode())
            except psycopg.Error as error:
                return "conflict with recovery" in str(error)
            return False

        until(cancelled, "replay cancelled nothing")


@pytest.mark.swap_hazard(18)
def test_the_ledger_neither_spoils_the_comparison_nor_counts_the_fence_as_loss(
    scene: Scene, markers: Markers
) -> None:
    """Row 18 of what bites in a swap: counts of markers never equal the backup's; refusals look like loss."""
    with scene.sql.live(scene.target) as connection:
        baseline = read_contents(connection)
    at_the_backup = scene.server.ask(COUNT)
    markers.hand.ensure_recovery_flagged(markers.order)
    for number in (101, 102, 103):
        markers.writer.turn(number)
    scene.archive_all()
    scene.restore(1)
    copy = scene.follow(1)
    assert on_copy(scene, copy, COUNT) != at_the_backup
    with scene.sql.copy(copy) as connection:
        now = read_contents(connection)
    assert not [table.name for table in now.tables if table.name.startswith("dr.")]
    assert now.tables == baseline.tables
    assert compare(baseline, now).passed is True

    markers.hand.ensure_markers_paused(markers.order)
    scene.fence()
    with pytest.raises(psycopg.OperationalError, match="reject"):
        scene.server.mark(999)
    with pytest.raises(Unavailable):
        # Naive: who goes on writing into the closed server is refused, marker after marker.
        markers.writer._connect(may_create=False)
    for number in (104, 105):
        markers.writer.turn(number)
    assert markers.acknowledged() == {101, 102, 103}
    assert set(markers.files.known(Store.POSTGRES).attempted) - set(OLD) == {101, 102, 103}
    scene.drain(copy, answers=True)
    measured = markers.hand.measure_loss(LossOrder(target=scene.target, socket_dir=copy.socket_dir))
    assert measured.loss.postgres.markers_lost == 0
    assert measured.unexpected_numbers == {}
