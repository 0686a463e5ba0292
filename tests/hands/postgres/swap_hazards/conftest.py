"""Each hazard has a protected server with a backup of its own: what bites, damages."""

from collections.abc import Iterator

import pytest

from activities.postgres.sql import Sql
from domain.names import LABEL_STACK
from tests.hands.postgres.conftest import Server
from tests.hands.postgres.scene import Scene, recovery


@pytest.fixture
def scene(server: Server, sql: Sql) -> Iterator[Scene]:
    with recovery(server, sql) as made:
        made.protect()
        try:
            yield made
        finally:
            for stray in made.engine.labelled(f"{LABEL_STACK}={made.target.stack}"):
                made.engine.remove(stray.id, force=True)
