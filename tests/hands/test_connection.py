"""Which Temporal server a process of ours speaks to."""

from pathlib import Path

import pytest
from temporalio.client import Client

from domain.errors import Unavailable
from worker.connection import connect

pytestmark = pytest.mark.unit


async def test_a_state_directory_without_a_server_never_speaks_to_what_listens_on_the_usual_port(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def forbidden(*_: object, **__: object) -> Client:
        pytest.fail("it spoke to somebody else's server")

    for name in ("TEMPORAL_ADDRESS", "TEMPORAL_NAMESPACE", "TEMPORAL_PROFILE", "TEMPORAL_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(Client, "connect", forbidden)
    with pytest.raises(Unavailable, match="Temporal does not answer") as caught:
        await connect("test", tmp_path)
    assert caught.value.code == "temporal-unavailable"
    assert str(tmp_path) in caught.value.where
