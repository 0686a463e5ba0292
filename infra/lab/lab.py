"""Brings a lab up and takes it down again, leaving nothing behind."""

from __future__ import annotations

import time
from typing import Any

import docker
import httpx
import psycopg
from docker.errors import APIError, NotFound
from minio import Minio

from domain.errors import Unavailable
from domain.names import COMPOSE_PROJECT, COMPOSE_SERVICE
from infra.images.build import Images, Progress, silent
from infra.lab import metadata
from infra.lab.compose import compose
from infra.lab.objects import put_seeded_objects
from infra.lab.seed import SeedCache, copy_volume
from infra.lab.settings import SERVICES, LabSettings, ensure_env, read_env

Filters = dict[str, str | list[str] | bool]
LABEL_LAB = "dr.lab"
EVERYTHING_BUT_OBJECTS = tuple(name for name in SERVICES if name != "minio")
# Passwords are set when a lab starts, so that the cached fixture holds none. psql reads them from the
# environment: they are in no argument list.
PASSWORDS = r"""psql -qX -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "$POSTGRES_DB" <<'SQL'
\set server `printf %s "$POSTGRES_PASSWORD"`
\set account `printf %s "$LAB_USER_PASSWORD"`
\set user `printf %s "$POSTGRES_USER"`
ALTER ROLE :"user" PASSWORD :'server';
UPDATE auth.users SET password_hash = (SELECT crypt(:'account', gen_salt('bf', 10)))
    WHERE email LIKE '%@nself.org' AND password_hash IS NULL;
SQL"""


class Lab:
    """One lab on the local Docker engine.

    ``up`` may be called again at any time: what runs is left alone, what is missing is added.
    """

    def __init__(self, settings: LabSettings, client: docker.DockerClient | None = None) -> None:
        self.settings = settings
        self._client = client or docker.from_env(timeout=600)

    def images(self, progress: Progress = silent) -> Images:
        """Return the images of this lab's engine."""
        return Images(self._client, self.settings.cache, progress)

    def up(self, progress: Progress = silent, images: Images | None = None) -> None:
        """Make images, fixture and containers, and wait until every service is healthy.

        The object store, whose image takes longest, comes last; everything else serves before it.
        Raises ``Refused`` when the machine lacks something and ``Unavailable`` when a part fails.
        """
        images = images or self.images(progress)
        images.start()
        ensure_env(self.settings, {name: images.reference(name) for name in SERVICES})
        self._fill_volumes(images, progress)
        for name in EVERYTHING_BUT_OBJECTS:
            images.ensure(name)
        progress("starting the services", None)
        compose(
            self.settings, "up", "--detach", "--wait", "--no-recreate", "postgres", "redis", "meilisearch"
        )
        self._set_passwords()
        compose(self.settings, "up", "--detach", "--wait", "--no-recreate", *EVERYTHING_BUT_OBJECTS)
        metadata.track(self.url("hasura"), self.environment()["HASURA_ADMIN_SECRET"])
        if not images.present("minio"):
            progress("waiting for the object store's image", None)
        images.ensure("minio")
        compose(self.settings, "up", "--detach", "--wait", "--no-recreate")
        put_seeded_objects(self.objects(), self.dsn(), progress)
        progress("the lab is up", 1.0)

    def down(self) -> list[str]:
        """Remove this lab's containers, network, volumes and secrets, nothing else; returns their names."""
        gone: list[str] = []
        mine: Filters = {"label": [f"{COMPOSE_PROJECT}={self.settings.project}", f"{LABEL_LAB}=true"]}
        for container in self._client.containers.list(all=True, filters=mine):
            container.remove(force=True, v=True)
            gone.append(str(container.name))
        for network in self._client.networks.list(filters=mine):
            network.reload()
            for guest in network.attrs.get("Containers") or {}:
                network.disconnect(guest, force=True)
            network.remove()
            gone.append(str(network.name))
        for volume in self._client.volumes.list(filters=mine):
            try:
                volume.remove()
            except APIError as error:
                raise Unavailable(
                    f"volume {volume.name} is still in use",
                    hint=f"docker ps -a --filter volume={volume.name}",
                    code="volume-in-use",
                ) from error
            gone.append(str(volume.name))
        for file in self.settings.folder.glob("*") if self.settings.folder.is_dir() else ():
            if file.name in {"env", "traffic.json", "traffic.jsonl"}:
                file.unlink()
        if self.settings.folder.is_dir() and not any(self.settings.folder.iterdir()):
            self.settings.folder.rmdir()
        return gone

    def status(self) -> dict[str, str]:
        """Return the state of each service: ``absent``, or what Docker says (``running (healthy)`` ...)."""
        found = dict.fromkeys(SERVICES, "absent")
        labels: Filters = {"label": f"{COMPOSE_PROJECT}={self.settings.project}"}
        for container in self._client.containers.list(all=True, filters=labels):
            state = container.attrs["State"]
            health = state.get("Health", {}).get("Status")
            words = f"{state['Status']} ({health})" if health else str(state["Status"])
            found[str(container.labels.get(COMPOSE_SERVICE))] = words
        return found

    def seeded(self) -> bool:
        """Say whether the database holds the fixture."""
        try:
            with psycopg.connect(self.dsn(), connect_timeout=2) as connection:
                row = connection.execute("SELECT count(*) FROM nchat_users").fetchone()
        except psycopg.Error:
            return False
        return bool(row and row[0])

    def environment(self) -> dict[str, str]:
        """Return the lab's secrets and ports, as its containers get them; empty when it was never up."""
        return read_env(self.settings.env_file)

    def url(self, service: str) -> str:
        """Return the loopback address of a service that speaks HTTP; ``proxy`` is the public entrance."""
        return f"http://127.0.0.1:{self.settings.ports[service]}"

    def dsn(self) -> str:
        """Return the connection string of the database, password included: never log it."""
        kept = self.environment()
        return (
            f"postgresql://{kept['POSTGRES_USER']}:{kept['POSTGRES_PASSWORD']}"
            f"@127.0.0.1:{self.settings.ports['postgres']}/{kept['POSTGRES_DB']}"
        )

    def objects(self) -> Minio:
        """Return a client of the object store."""
        kept = self.environment()
        return Minio(
            f"127.0.0.1:{self.settings.ports['minio']}",
            access_key=kept["MINIO_ROOT_USER"],
            secret_key=kept["MINIO_ROOT_PASSWORD"],
            secure=False,
        )

    def container(self, service: str) -> Any:  # noqa: ANN401 - the engine's own class is untyped here
        """Return the container of a service; raises ``Unavailable`` when there is none."""
        mine = [f"{COMPOSE_PROJECT}={self.settings.project}", f"{COMPOSE_SERVICE}={service}"]
        found = self._client.containers.list(all=True, filters={"label": mine})
        if not found:
            raise Unavailable(
                f"the lab has no container {service}", where=self.settings.project, code="lab-absent"
            )
        return found[0]

    def volume(self, service: str) -> str:
        """Return the name of the volume that holds a service's data."""
        return f"{self.settings.project}_{service}_data"

    def _fill_volumes(self, images: Images, progress: Progress) -> None:
        if self._volumes_exist():
            return
        tools = images.future("tools")
        seeds = SeedCache(self._client, images, progress).ensure(self.settings.seed_scale)
        for name in ("postgres", "meilisearch"):
            images.ensure(name)  # a cached fixture is there before the images of changed sources are
        compose(self.settings, "create", "--no-recreate", "postgres", "meilisearch")
        progress("copying the seeded volumes", None)
        for part, service in (("search", "meilisearch"), ("postgres", "postgres")):
            copy_volume(self._client, tools.result(), seeds[part], self.volume(service))

    def _volumes_exist(self) -> bool:
        # The containers were started once: whatever is in the volumes now is theirs.
        try:
            container = self.container("postgres")
            self._client.volumes.get(self.volume("postgres"))
        except (Unavailable, NotFound):
            return False
        return bool(container.attrs["State"]["Status"] != "created")

    def _set_passwords(self) -> None:
        account = {"LAB_USER_PASSWORD": self.environment()["LAB_USER_PASSWORD"]}
        done = self.container("postgres").exec_run(["sh", "-c", PASSWORDS], environment=account)
        if done.exit_code != 0:
            raise Unavailable(
                "the lab's passwords could not be set", where=done.output.decode()[-300:], code="lab-failed"
            )


def wait_for(url: str, seconds: float = 30) -> None:
    """Wait until an address answers with success; raises ``Unavailable`` when it does not in time."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if httpx.get(url, timeout=2).is_success:
                return
        except httpx.HTTPError:
            pass
        if time.monotonic() > deadline:
            raise Unavailable(f"{url} does not answer", code="lab-unavailable")
        time.sleep(0.2)
