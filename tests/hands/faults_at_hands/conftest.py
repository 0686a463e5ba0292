"""What the fault rows share that fit into no folder of one system."""

from tests.hands.postgres.protected import *  # noqa: F403 - fixtures
