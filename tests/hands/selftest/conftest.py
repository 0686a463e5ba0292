"""A protected server whose backups are copied for the self-test; what the hands of PostgreSQL use."""

from tests.hands.postgres.conftest import (  # noqa: F401 - fixtures of that folder, given on
    clusters,
    engine,
    image_id,
    server,
    sql,
    state,
    target,
    tokens,
)
