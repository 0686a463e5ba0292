"""A protected server, the hands that verify its backups, and a far store on this machine."""

from tests.hands.offsite.conftest import moto_port  # noqa: F401 - a fixture, given on
from tests.hands.postgres.protected import *  # noqa: F403 - fixtures
