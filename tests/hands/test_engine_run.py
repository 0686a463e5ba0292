"""How a program ends that runs in somebody's container."""

import secrets
from typing import Any

import docker
import pytest

from activities.engine import Engine
from worker.tools_image import tools_image


def test_a_program_whose_container_is_gone_before_its_end_is_asked_for_has_failed(
    client: docker.DockerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"dr-test-{secrets.token_hex(4)}"
    asked = client.api.exec_inspect

    def too_late(handle: str) -> Any:
        client.api.remove_container(name, force=True)
        return asked(handle)

    monkeypatch.setattr(client.api, "exec_inspect", too_late)
    client.containers.run(tools_image(client, ""), ["sleep", "60"], name=name, detach=True, entrypoint=[])
    try:
        found = Engine(client).run(name, ("echo", "well"))
        assert (found.exit_code, found.output) == (-1, "well\n")
    finally:
        Engine(client).remove(name, force=True)
