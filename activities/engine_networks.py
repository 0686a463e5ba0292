"""Networks of our own: without a way out, for throwaway servers that speak TCP alone."""

from collections.abc import Mapping
from typing import Any

import docker
from docker.errors import NotFound

from activities.engine_errors import changing, speaking
from activities.job import operand
from domain.errors import Refused
from domain.names import LABEL_MADE_BY


class Networks:
    """The networks of one Docker engine."""

    _client: docker.DockerClient

    def network(self, name: str) -> Mapping[str, Any] | None:
        """Return what is known of a network, or ``None``."""
        with speaking(operand(name)):
            try:
                found: Mapping[str, Any] = self._client.api.inspect_network(name)
            except NotFound:
                return None
        return found

    def ensure_inner_network(self, name: str, labels: Mapping[str, str]) -> None:
        """Make a network from which nothing leads out; one of another owner is refused."""
        found = self.network(name)
        if found is None:
            with changing(operand(name)):
                self._client.api.create_network(
                    name,
                    driver="bridge",
                    internal=True,
                    check_duplicate=True,
                    labels={LABEL_MADE_BY: "dr", **labels},
                )
            found = self.network(name) or {}
        have = found.get("Labels") or {}
        if not found.get("Internal") or any(have.get(key) != value for key, value in labels.items()):
            raise Refused(f"a network named {name} exists and is not ours", code="name-taken")

    def remove_network(self, name: str) -> None:
        """Remove a network; one that is gone is fine, one in use is refused by Docker."""
        with changing(operand(name)):
            try:
                self._client.api.remove_network(name)
            except NotFound:
                return
