"""A network of its own, without any way out, for throwaway servers that only speak TCP."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import docker
from docker.errors import NotFound

from activities.engine_errors import changing, speaking
from activities.job import operand
from domain.errors import Refused
from domain.names import LABEL_MADE_BY


class Networks:
    """Makes and removes internal networks of one Docker engine."""

    def __init__(self, client: docker.DockerClient) -> None:
        """Speak through ``client``."""
        self._client = client

    def ensure_internal(self, name: str, labels: Mapping[str, str]) -> None:
        """Have an internal network of this name; ``Refused`` where a stranger has it."""
        found = self._find(name)
        if not found:
            with changing(operand(name)):
                self._client.api.create_network(
                    name, driver="bridge", internal=True, labels={LABEL_MADE_BY: "dr", **labels}
                )
            return
        if not all(_is_ours(one, labels) and one.get("Internal") for one in found):
            raise Refused(f"a network named {name} exists and is not ours", code="name-taken")

    def remove_all(self, labels: Mapping[str, str]) -> None:
        """Remove every network of ours with these labels, also what hands made for a dead attempt."""
        wanted = [f"{key}={value}" for key, value in {LABEL_MADE_BY: "dr", **labels}.items()]
        with speaking("list networks"):
            found = self._client.api.networks(filters={"label": wanted})
        for one in found:
            with changing(operand(str(one["Name"]))), suppress(NotFound):
                self._client.api.remove_network(str(one["Id"]))

    def _find(self, name: str) -> list[Mapping[str, Any]]:
        with speaking(operand(name)):
            rows = self._client.api.networks(names=[name])
        # The engine looks for a part of the name.
        return [row for row in rows if row["Name"] == name]


def _is_ours(found: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    have = found.get("Labels") or {}
    return isinstance(have, Mapping) and all(have.get(key) == value for key, value in labels.items())
