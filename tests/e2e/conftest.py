"""One stand for all scenarios; each test finds it sound and leaves it to be put right."""

from collections.abc import Iterator

import pytest

from tests.e2e.session import sound
from tests.e2e.stand import Stand
from tests.e2e.witness import Host, Users
from tests.faults.harness.stand import FaultStand

# Room for a machine that is busy with other things; an undisturbed recovery takes half a minute.
LIMIT_SECONDS = 900


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test here the time that a whole recovery may take on a busy machine."""
    for item in items:
        if item.path.parent.name == "e2e":
            item.add_marker(pytest.mark.timeout(LIMIT_SECONDS))


@pytest.fixture
def stand(lab_stand: FaultStand) -> Iterator[Stand]:
    with sound(lab_stand) as stand:
        yield stand


@pytest.fixture
def damaged(lab_stand: Stand) -> Iterator[Stand]:
    """Hand out the stand with damaged pages; damage that an earlier test left serves as well."""
    lab_stand.end_open_run()
    if not lab_stand.dirty:
        lab_stand.damage_pages()
    yield lab_stand
    lab_stand.end_open_run()


@pytest.fixture
def host(lab_stand: Stand) -> Host:
    return Host(lab_stand.client, lab_stand.lab, lab_stand.name)


@pytest.fixture
def users(stand: Stand) -> Iterator[Users]:
    with Users(stand.lab) as working:
        yield working
