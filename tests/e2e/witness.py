"""What a test sees from outside: what users were acknowledged, and what Docker has and did."""

import hashlib
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Self

import docker
import httpx
from docker.errors import DockerException

from domain.names import COMPOSE_PROJECT, COMPOSE_SERVICE, LABEL_ROLE, LABEL_STACK
from infra.lab.lab import Lab

CHANNEL = "11111111-1111-1111-1111-111111111111"
STAYING = {"keeper", "receiver"}
"""Roles of the containers of ours that may outlive a recovery."""


class Users(threading.Thread):
    """Sends messages through the proxy and keeps what was acknowledged: id and time."""

    def __init__(self, lab: Lab) -> None:
        """Work on this lab; nothing is sent before the start."""
        super().__init__(daemon=True, name="users")
        self.acknowledged: list[tuple[str, datetime]] = []
        self._lab = lab
        self._over = threading.Event()

    def __enter__(self) -> Self:
        """Begin, and return once the first message was acknowledged."""
        self.start()
        deadline = time.monotonic() + 60
        while not self.acknowledged:
            assert time.monotonic() < deadline, "no message is acknowledged"
            time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        """End after the message in hand."""
        self.end()

    def end(self) -> None:
        """Send no more."""
        self._over.set()
        self.join(30)

    def between(self, start: datetime, end: datetime) -> int:
        """Return how many messages were acknowledged in an interval."""
        return sum(start < at < end for _, at in self.acknowledged)

    def ids(self) -> list[str]:
        """Return the ids of all acknowledged messages."""
        return [name for name, _ in self.acknowledged]

    def run(self) -> None:
        """Send a few messages a second; an outage makes them fail and nothing else."""
        token = ""
        with httpx.Client(base_url=self._lab.url("proxy"), timeout=5, trust_env=False) as client:
            while not self._over.wait(0.2):
                try:
                    token = token or self._sign_in(client)
                    said = client.post(
                        "/functions/message-send",
                        json={"channel_id": CHANNEL, "content": f"sent at {datetime.now(UTC)}"},
                        headers={"Authorization": f"Bearer {token}"},
                    )
                    if said.status_code == httpx.codes.UNAUTHORIZED:
                        token = ""
                    if said.is_success:
                        self.acknowledged.append((str(said.json()["id"]), datetime.now(UTC)))
                except (httpx.HTTPError, ValueError, KeyError):
                    continue

    def _sign_in(self, client: httpx.Client) -> str:
        account = {"email": "user@nself.org", "password": self._lab.environment()["LAB_USER_PASSWORD"]}
        said = client.post("/v1/auth/signin/email-password", json=account)
        said.raise_for_status()
        return str(said.json()["session"]["accessToken"])


class Events(threading.Thread):
    """Records the life of all containers with one label; Docker itself forgets it soon."""

    def __init__(self, client: docker.DockerClient, label: str) -> None:
        """Listen for containers with ``label``, once started."""
        super().__init__(daemon=True, name="events")
        self.seen: list[dict[str, Any]] = []
        self._stream = client.events(decode=True, filters={"type": "container", "label": label})

    def run(self) -> None:
        """Record until the stream is closed."""
        try:
            self.seen.extend(self._stream)
        except (DockerException, OSError, ValueError, AttributeError):
            return

    def stop(self) -> None:
        """Close the stream."""
        self._stream.close()
        if self.is_alive():
            self.join(10)

    def of(self, action: str, role: str, recovery: str = "") -> list[str]:
        """Return the ids of the containers of a role that an action befell, in order."""
        return [
            str(event["Actor"]["ID"])
            for event in list(self.seen)
            if event["Action"] == action
            and event["Actor"]["Attributes"].get(LABEL_ROLE) == role
            and recovery in event["Actor"]["Attributes"].get("name", "")
        ]


class Host:
    """What Docker has of a stack, for comparison before and after."""

    def __init__(self, client: docker.DockerClient, lab: Lab, stack: str) -> None:
        """Look at the lab's containers and at those of ours for ``stack``."""
        self._client = client
        self._lab = lab
        self._stack = stack

    def services(self) -> dict[str, tuple[str, ...]]:
        """Return what must not change of each service: container, start, policy, mounts."""
        mine: dict[str, str | list[str] | bool] = {"label": f"{COMPOSE_PROJECT}={self._lab.settings.project}"}
        found: dict[str, tuple[str, ...]] = {}
        for container in self._client.containers.list(all=True, filters=mine):
            raw = container.attrs
            found[str(container.labels[COMPOSE_SERVICE])] = (
                str(container.id),
                str(raw["State"]["Status"]),
                str(raw["State"]["StartedAt"]),
                str(raw["RestartCount"]),
                str(raw["HostConfig"]["RestartPolicy"]),
                str(sorted(mount["Name"] for mount in raw["Mounts"] if "Name" in mount)),
            )
        return found

    def ours(self) -> dict[str, str]:
        """Return the containers that were made for the stack, by name, with their roles."""
        mine: dict[str, str | list[str] | bool] = {"label": f"{LABEL_STACK}={self._stack}"}
        found = self._client.containers.list(all=True, filters=mine)
        return {str(container.name): str(container.labels.get(LABEL_ROLE)) for container in found}

    def leftovers(self) -> list[str]:
        """Return the containers of ours that should be gone once no recovery is open."""
        return [name for name, role in self.ours().items() if role not in STAYING]

    def volumes(self) -> list[str]:
        """Return the volumes of the stack and those made for it."""
        labels = (f"{COMPOSE_PROJECT}={self._lab.settings.project}", f"{LABEL_STACK}={self._stack}")
        found: set[str] = set()
        for label in labels:
            found |= {str(volume.name) for volume in self._client.volumes.list(filters={"label": label})}
        return sorted(found)

    def kept(self) -> list[str]:
        """Return the volumes that recoveries of the stack left."""
        return [name for name in self.volumes() if name.startswith("dr-2")]


def settings_of(sql: Callable[..., list[tuple[Any, ...]]]) -> dict[str, str]:
    """Return a server's settings, and what its configuration files hold, as digests."""
    found = {str(name): str(value) for name, value in sql("SELECT name, setting FROM pg_settings")}
    found["roles"] = str(sql("SELECT setdatabase, setrole, setconfig FROM pg_db_role_setting ORDER BY 1, 2"))
    for name in ("postgresql.auto.conf", "pg_hba.conf"):
        text = sql("SELECT pg_read_file(%s)", name)[0][0]
        found[name] = hashlib.sha256(str(text).encode()).hexdigest()
    return found
