"""An object store on a volume and a network of its own, made to restore a copy into, and removed again."""

import hashlib
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from activities import plain_files
from activities.engine import Engine, Job
from activities.objects_side import ObjectsSide
from activities.objects_store import ObjectStore
from activities.pulse import beat
from domain.errors import Unavailable
from domain.names import LABEL_ROLE, LABEL_STACK
from domain.order import ServiceTarget

ROLE = "objects-check"
_DATA = "/dr-data"
_KEYS = "/dr-keys"
_USER = "throwaway"
_PORT = 9000
_START_SECONDS = 60.0
_POLL_SECONDS = 0.1
_MEMORY_BYTES = 768 << 20


class Throwaway:
    """One throwaway store; its name says for what it was made, so that what is left of it is found."""

    def __init__(self, side: ObjectsSide, state: Path, stack: str, what: str) -> None:
        """``state`` is DR_STATE, ``what`` the id of the copy that it is made for."""
        self._side = side
        self._engine: Engine = side.engine
        self.name = f"dr-{stack}-check-{what}"
        self.labels = {LABEL_STACK: stack, LABEL_ROLE: ROLE}
        short = hashlib.sha256(self.name.encode()).hexdigest()[:8]
        self._keys = state.resolve() / "sockets" / short

    @contextmanager
    def running(self, like: ServiceTarget) -> Iterator[ObjectStore]:
        """Give out a store of the same image once it answers; it is removed afterwards, whatever happened.

        What an earlier attempt left is removed first. Raises ``Unavailable`` when it does not start.
        """
        self.remove()
        try:
            yield self._started(like)
        finally:
            self.remove()

    def remove(self) -> None:
        """Remove all of it; nothing there is fine, and a stranger of its name is left alone."""
        found = self._engine.look(self.name)
        if found is not None and self._is_ours(found.labels):
            self._engine.remove(found.id, force=True)
        volume = self._engine.volume(self.name)
        if volume is not None and self._is_ours(volume.get("Labels") or {}):
            self._engine.remove_volume(self.name)
        network = self._engine.network(self.name)
        if network is not None and self._is_ours(network.get("Labels") or {}):
            self._engine.remove_network(self.name)
        if self._keys.is_dir() and not self._keys.is_symlink():
            shutil.rmtree(self._keys)

    def _is_ours(self, labels: Mapping[str, str]) -> bool:
        return all(labels.get(key) == value for key, value in self.labels.items())

    def _started(self, like: ServiceTarget) -> ObjectStore:
        # By file: what stands in a container's environment is shown to everybody who may inspect it.
        password = secrets.token_urlsafe(24)
        self._keys.parent.mkdir(parents=True, exist_ok=True)
        plain_files.own(self._keys, 0, 0)
        for name, text in {"user": _USER, "password": password}.items():
            plain_files.replace(self._keys / name, text.encode(), mode=0o400)
        self._engine.ensure_volume(self.name, self.labels)
        self._engine.ensure_inner_network(self.name, self.labels)
        job = Job(
            name=self.name,
            image_id=like.image_id,
            entrypoint=("minio",),
            command=("server", _DATA, "--address", f":{_PORT}"),
            # Root without rights of its own: the new volume and the key files are its.
            user="0:0",
            binds={self.name: f"{_DATA}:rw", str(self._keys): f"{_KEYS}:ro"},
            environment={
                "MINIO_ROOT_USER_FILE": f"{_KEYS}/user",
                "MINIO_ROOT_PASSWORD_FILE": f"{_KEYS}/password",
                "MINIO_BROWSER": "off",
                "MINIO_UPDATE": "off",
                "HOME": "/tmp",  # noqa: S108 - inside the container
            },
            labels=self.labels,
            network=self.name,
            memory_bytes=_MEMORY_BYTES,
        )
        self._engine.ensure_job(job)
        return self._answering(password)

    def _answering(self, password: str) -> ObjectStore:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            state = self._engine.look(self.name)
            if state is None or state.status in {"exited", "dead"}:
                raise self._failed()
            address = state.raw["NetworkSettings"]["Networks"].get(self.name, {}).get("IPAddress")
            if address and _is_live(f"http://{address}:{_PORT}"):
                return self._side.at(f"http://{address}:{_PORT}", _USER, password, name="the throwaway store")
            if time.monotonic() > deadline:
                raise self._failed()
            beat("the throwaway store starts")
            time.sleep(_POLL_SECONDS)

    def _failed(self) -> Unavailable:
        found = self._engine.look(self.name)
        said = self._engine.logs(self.name, tail=3).strip() if found is not None else ""
        return Unavailable(
            f"the throwaway store does not start: {said[-300:] or 'it does not say why'}",
            where=self.name,
            code="check-server",
        )


def _is_live(url: str) -> bool:
    try:
        answer = httpx.get(f"{url}/minio/health/cluster", timeout=2.0, trust_env=False)
    except httpx.HTTPError:
        return False
    return answer.status_code == httpx.codes.OK
