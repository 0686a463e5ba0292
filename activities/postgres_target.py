"""Describes the PostgreSQL server of a stack closely enough to make a copy that is alike."""

import itertools
import posixpath
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from docker.errors import NotFound
from pydantic import TypeAdapter, ValidationError

from activities.engine import ContainerState, Engine, Job
from domain.errors import DrError, Refused
from domain.names import LABEL_RECOVERY, LABEL_ROLE, container_name
from domain.order import PostgresTarget, ServiceTarget, VolumeMount
from domain.recognition import ACCOUNT_NAMES, DATABASE_NAMES
from domain.stack import Account, Service

_USUAL_PGDATA = "/var/lib/postgresql/data"
_USUAL_PORT = 5432
_ACCOUNT: TypeAdapter[str] = TypeAdapter(Account)


def postgres_target(
    engine: Engine,
    recovery_id: str,
    service: ServiceTarget,
    facts: Service,
    container: ContainerState,
) -> PostgresTarget:
    """Return the server as its container states it; PGDATA must lie in a named volume.

    Raises ``Refused`` with code ``pgdata-not-in-volume`` or ``pgdata-owner``.
    """
    environment = _environment(container.raw)
    arguments = _arguments(container.raw)
    pgdata = _data_directory(arguments) or environment.get("PGDATA") or _USUAL_PGDATA
    mount = _mount_of(pgdata, service)
    uid, gid = _Owner(engine, recovery_id, container, mount, pgdata).find()
    user = facts.user or _account(environment) or "postgres"
    password = facts.password
    if password is None and environment.get("POSTGRES_PASSWORD"):
        password = f"container:{service.name}:POSTGRES_PASSWORD"
    port = facts.port or _USUAL_PORT
    return PostgresTarget(
        service=service.name,
        container_id=container.id,
        container_name=container.name,
        image_id=container.image_id,
        volume=mount.volume,
        mount_path=mount.path,
        pgdata=pgdata,
        uid=uid,
        gid=gid,
        port=port,
        host_port=service.published.get(str(port)),
        network=service.networks[0] if service.networks else "",
        user=user,
        database=facts.database or _database(environment) or user,
        password=password or "",
        arguments=arguments,
        volumes_root=f"{engine.root()}/volumes",
    )


def _environment(raw: Mapping[str, Any]) -> dict[str, str]:
    pairs = (entry.partition("=") for entry in raw["Config"].get("Env") or [])
    return {key: value for key, _, value in pairs}


def _account(environment: Mapping[str, str]) -> str | None:
    """Return the name that a container's environment gives; one that no account should have is refused.

    It stands in arguments and in lines of ``pg_hba.conf``, where a quote or a new line would say more.
    A name that stands in a file is refused too: that of everybody else's server is not it.
    """
    given = next((name for name in ACCOUNT_NAMES if environment.get(name)), None)
    file = next((f"{name}_FILE" for name in ACCOUNT_NAMES if environment.get(f"{name}_FILE")), None)
    if given is None and file is None:
        return None
    try:
        return _ACCOUNT.validate_python(environment[given] if given else None)
    except ValidationError:
        raise Refused(
            "the server's container names no usable account",
            where=given or file or "",
            hint="name the account as user in the stack file",
            code="account-unusable",
        ) from None


def _database(environment: Mapping[str, str]) -> str | None:
    return next((environment[name] for name in DATABASE_NAMES if environment.get(name)), None)


def _arguments(raw: Mapping[str, Any]) -> tuple[str, ...]:
    command = tuple(raw["Config"].get("Cmd") or ())
    # The images' default command starts with the program, which the entrypoint takes off again.
    return command[1:] if command and posixpath.basename(command[0]) == "postgres" else command


def _data_directory(arguments: tuple[str, ...]) -> str | None:
    for flag, value in itertools.pairwise(arguments):
        if flag == "-D":
            return value
        if flag == "-c" and value.startswith("data_directory="):
            return value.partition("=")[2]
    return None


def _mount_of(pgdata: str, service: ServiceTarget) -> VolumeMount:
    # With a .. in it the path only begins like one inside the volume.
    inside = posixpath.normpath(pgdata) == pgdata.rstrip("/") and posixpath.isabs(pgdata)
    holding = [
        mount
        for mount in service.volumes
        if inside and (pgdata == mount.path or pgdata.startswith(mount.path.rstrip("/") + "/"))
    ]
    if not holding:
        raise Refused(
            f"the data directory {pgdata} is in no named volume",
            where=service.container_name,
            hint="only data in a named volume can be exchanged for a restored one",
            code="pgdata-not-in-volume",
        )
    return max(holding, key=lambda mount: len(mount.path))


class _Owner:
    """Finds who owns the data by number: names differ between images (70 or 999)."""

    def __init__(
        self,
        engine: Engine,
        recovery_id: str,
        container: ContainerState,
        mount: VolumeMount,
        pgdata: str,
    ) -> None:
        self._engine = engine
        self._recovery_id = recovery_id or f"look-{container.id[:12]}"
        self._container = container
        self._mount = mount
        self._pgdata = pgdata

    def find(self) -> tuple[int, int]:
        """Return uid and gid: configured, else of the data, else of the image's own user."""
        configured = str(self._container.raw["Config"].get("User") or "")
        uid, _, gid = configured.partition(":")
        if uid.isdigit() and gid.isdigit():
            return int(uid), int(gid)
        questions = (("stat", "-c", "%u %g", self._pgdata), ("sh", "-c", "id -u postgres; id -g postgres"))
        for ask, question in itertools.product((self._inside, self._beside), questions):
            answer = ask(question).split()
            # Root never owns a data directory: the server refuses to run as root.
            if [part.isdigit() for part in answer] == [True, True] and answer[0] != "0":
                return int(answer[0]), int(answer[1])
        raise Refused(
            f"nobody can be shown to own {self._pgdata}",
            where=self._container.name,
            code="pgdata-owner",
        )

    def _inside(self, question: tuple[str, ...]) -> str:
        """Ask in the container; one in a restart loop counts as running and is gone at any moment."""
        if self._container.running:
            with suppress(DrError, NotFound):
                return self._engine.run(self._container.id, question).output
        return ""

    def _beside(self, question: tuple[str, ...]) -> str:
        job = Job(
            name=container_name(self._recovery_id, "owner"),
            image_id=self._container.image_id,
            entrypoint=question[:1],
            command=question[1:],
            user="0:0",
            binds={self._mount.volume: f"{self._mount.path}:ro"},
            labels={LABEL_RECOVERY: self._recovery_id, LABEL_ROLE: "owner"},
            capabilities=("DAC_READ_SEARCH",),
        )
        try:
            _, log, _ = self._engine.follow(job, lambda _: None, limit_seconds=30)
        finally:
            self._engine.remove(job.name, force=True)
        return log
