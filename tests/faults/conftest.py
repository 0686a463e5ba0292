"""The decorated stand of the kill tests: the one that the end-to-end tests of the same run use too."""

from collections.abc import Iterator

import pytest

from tests.faults.harness.stand import FaultStand


@pytest.fixture(scope="session")
def fault_stand(lab_stand: FaultStand) -> FaultStand:
    lab_stand.pause_schedules()
    return lab_stand


@pytest.fixture
def stand(fault_stand: FaultStand) -> Iterator[FaultStand]:
    """Hand out the stand with a sound database, no run open and no fault set."""
    fault_stand.end_open_run()
    if fault_stand.dirty:
        fault_stand.to_the_end(fault_stand.recover())
    yield fault_stand
    fault_stand.folder.disarm()
    fault_stand.end_open_run()
