"""A server with a protected shelf, and files that somebody else put there."""

from tests.hands.postgres.protected import *  # noqa: F403 - fixtures
