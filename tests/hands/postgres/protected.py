"""A server with a protected shelf and the hands of one recovery, for folders beside this one."""

from collections.abc import Iterator

import pytest

from activities.postgres.sql import Sql
from tests.hands.postgres.conftest import (  # noqa: F401 - fixtures of this folder, given on
    Server,
    clusters,
    engine,
    image_id,
    server,
    sql,
    state,
    target,
    tokens,
)
from tests.hands.postgres.scene import Scene, recovery


@pytest.fixture
def scene(server: Server, sql: Sql) -> Iterator[Scene]:  # noqa: F811 - as pytest wants it
    """Give out a protected server with a backup on its shelf, and the hands of one recovery."""
    with recovery(server, sql) as made:
        made.protect()
        yield made
