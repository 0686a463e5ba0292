"""One stack of another shape for all tests here."""

from collections.abc import Iterator

import pytest

from tests.e2e.session import standing
from tests.other.shop_stand import ShopStand

LIMIT_SECONDS = 600


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test here the time that a whole recovery may take on a busy machine."""
    for item in items:
        if item.path.parent.name == "other":
            item.add_marker(pytest.mark.timeout(LIMIT_SECONDS))


@pytest.fixture(scope="session")
def shop() -> Iterator[ShopStand]:
    with standing(ShopStand) as stand:
        yield stand
