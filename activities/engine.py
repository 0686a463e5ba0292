"""The narrow client to the Docker engine: every effect on containers and volumes goes through it."""

import time
from collections.abc import Callable, Mapping
from typing import Any, cast

import docker
from docker.errors import APIError, NotFound

from activities.engine_errors import CONFLICT, changing, speaking
from activities.engine_files import Files
from activities.engine_networks import Networks
from activities.engine_transport import ask_before_each_change
from activities.job import ContainerState, Executed, Job, image_operand, operand, state_of, what_differs
from activities.scrub import readable, secrets_in, without
from domain.errors import Refused, Unavailable
from domain.names import COMPOSE_PROJECT, COMPOSE_SERVICE, LABEL_MADE_BY

__all__ = ["ContainerState", "Engine", "Executed", "Job"]
_ENDS_SECONDS = 10.0
_LOOK_SECONDS = 0.02


class Engine(Networks, Files):
    """One Docker engine."""

    def __init__(self, client: docker.DockerClient) -> None:
        """Speak through ``client``; its timeout bounds every call."""
        self._client = client
        ask_before_each_change(client)

    def find(self, project: str, service: str | None = None) -> list[ContainerState]:
        """Return the containers of a compose project, running or not, without one-off ones."""
        labels = [f"{COMPOSE_PROJECT}={project}", "com.docker.compose.oneoff=False"]
        if service is not None:
            labels.append(f"{COMPOSE_SERVICE}={service}")
        return self.labelled(*labels)

    def labelled(self, *labels: str) -> list[ContainerState]:
        """Return the containers, running or not, that carry all the labels."""
        with speaking("list containers"):
            rows = self._client.api.containers(all=True, filters={"label": list(labels)})
        return [found for row in rows if (found := self.look(row["Id"])) is not None]

    def running(self) -> list[ContainerState]:
        """Return every container whose process exists: running, paused or restarting."""
        with speaking("list containers"):
            rows = self._client.api.containers()
        return [found for row in rows if (found := self.look(row["Id"])) is not None]

    def look(self, name: str) -> ContainerState | None:
        """Return a container by name or id, or ``None``."""
        with speaking(operand(name)):
            try:
                return state_of(self._client.api.inspect_container(name))
            except NotFound:
                return None

    def root(self) -> str:
        """Return the engine's data directory on the host."""
        return str(self.info()["DockerRootDir"])

    def info(self) -> Mapping[str, Any]:
        """Return what the engine says of itself."""
        with speaking("info"):
            found: Mapping[str, Any] = self._client.info()
        return found

    def image(self, name: str) -> Mapping[str, Any] | None:
        """Return what is known of a local image, or ``None``; nothing is ever pulled."""
        with speaking(image_operand(name)):
            try:
                found: Mapping[str, Any] = self._inspect_image(name)
            except NotFound:
                return None
        return found

    def _inspect_image(self, name: str) -> Mapping[str, Any]:
        inspect: Callable[[str], Mapping[str, Any]] = self._client.api.inspect_image
        return inspect(name)

    # -- containers -----------------------------------------------------------------------------

    def ensure_job(self, job: Job, *, start: bool = True) -> tuple[ContainerState, bool]:
        """Create the job's container or find the one of an earlier attempt.

        Return it and whether it was there already. A container of that name that is not ours is
        refused.
        """
        found = self.look(job.name)
        if found is None:
            found = self._create(job)
            known = False
        else:
            known = True
            self._prove_ours(found, job)
        if start and found.status == "created":
            with changing(job.name):
                self._client.api.start(found.id)
            found = self.look(job.name) or found
        return found, known

    def _prove_ours(self, found: ContainerState, job: Job) -> None:
        """Refuse a container that has the job's name and is not the job (F-B3)."""
        stranger = what_differs(found, job)
        if stranger:
            raise Refused(
                f"a container named {job.name} exists and is not this recovery's: {stranger}",
                where=found.id[:12],
                hint="rename or remove it",
                code="name-taken",
            )

    def _create(self, job: Job) -> ContainerState:
        api = self._client.api
        with changing(job.name):
            host = api.create_host_config(
                binds=[f"{source}:{target}" for source, target in job.binds.items()],
                network_mode=job.network,
                init=job.init,
                shm_size=job.shm_bytes,
                mem_limit=job.memory_bytes,
                restart_policy={"Name": job.restart},
                security_opt=["no-new-privileges"],
                cap_drop=["ALL"],
                cap_add=list(job.capabilities) or None,
                group_add=list(job.group_add) or None,
            )
            try:
                api.create_container(
                    job.image_id,
                    command=list(job.command),
                    entrypoint=list(job.entrypoint) if job.entrypoint is not None else None,
                    name=job.name,
                    user=job.user or None,
                    environment=dict(job.environment),
                    labels={LABEL_MADE_BY: "dr", **job.labels},
                    host_config=host,
                    stop_signal=job.stop_signal,
                )
            except APIError as error:
                if error.status_code != CONFLICT:
                    raise
        created = self.look(job.name)
        if created is None:
            raise Unavailable("the container vanished", where=job.name, code="docker-failed")
        return created

    def start(self, name: str) -> None:
        """Start a container; one that runs stays as it is."""
        with changing(operand(name)):
            self._client.api.start(name)

    def stop(self, name: str, timeout_seconds: int) -> None:
        """Stop a container by its stop signal, and by SIGKILL after the timeout."""
        with changing(operand(name)):
            self._client.api.stop(name, timeout=timeout_seconds)

    def kill(self, name: str, signal: str = "SIGKILL") -> None:
        """Send a signal; a container that does not run is left alone."""
        found = self.look(name)
        if found is not None and found.status in {"running", "paused", "restarting"}:
            with changing(operand(name)):
                self._client.api.kill(found.id, signal)

    def remove(self, name: str, *, force: bool = False) -> None:
        """Remove a container with the nameless volumes of its image; named ones stay; gone is fine."""
        with changing(operand(name)):
            try:
                self._client.api.remove_container(name, force=force, v=True)
            except NotFound:
                return
            except APIError as error:
                # Another attempt removes it at this moment.
                if error.status_code != CONFLICT or "already in progress" not in str(error):
                    raise

    def set_restart(self, name: str, policy: str) -> None:
        """Set the restart policy."""
        with changing(operand(name)):
            self._client.api.update_container(name, restart_policy=cast("Any", {"Name": policy}))

    def logs(
        self, name: str, *, tail: int | str = 50, since: int | None = None, timestamps: bool = False
    ) -> str:
        """Return the last lines of both streams, without the secrets of the container's environment.

        Endless lines are cut, and of an endless log the end is read. ``since`` is a Unix time in seconds.
        """
        with speaking(operand(name)):
            try:
                shown = {"since": since, "timestamps": timestamps, "stream": True, "follow": False}
                stream = self._client.api.logs(name, tail=cast("Any", tail), **cast("Any", shown))
                said = readable(cast("Any", stream))
            except NotFound:
                raise Unavailable("the container is gone", where=name, code="job-gone") from None
        found = self.look(name)
        known = () if found is None else found.raw["Config"].get("Env") or ()
        return without(said, secrets_in(known))

    def run(
        self,
        name: str,
        command: tuple[str, ...],
        *,
        user: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> Executed:
        """Run a program in a running container and wait for it; argv, never a shell line."""
        api = self._client.api
        with changing(f"{operand(name)}: {command[0]}"):
            made = api.exec_create(name, list(command), user=user, environment=dict(environment or {}))
            handle = made["Id"]
            out, err = api.exec_start(handle, demux=True)
            # On a busy host the streams end a moment before the program does, which has no status then.
            deadline = time.monotonic() + _ENDS_SECONDS
            try:
                while (ended := api.exec_inspect(handle))["Running"] and time.monotonic() < deadline:
                    time.sleep(_LOOK_SECONDS)
                code = ended["ExitCode"]
            except NotFound:
                # Docker forgets what ran in a container that ended meanwhile.
                code = None
        return Executed(
            exit_code=-1 if code is None else int(code),
            output=(out or b"").decode(errors="replace"),
            errors=(err or b"").decode(errors="replace"),
        )

    def follow(
        self,
        job: Job,
        beat: Callable[[str], None],
        *,
        limit_seconds: float,
        every_seconds: float = 0.25,
    ) -> tuple[ContainerState, str, bool]:
        """Run a job to its end: create or re-attach, watch, and return state, log, re-attached.

        ``beat`` gets the job's last log line. The container is left for the caller to remove
        once its outcome is recorded.
        """
        state, known = self.ensure_job(job)
        deadline = time.monotonic() + limit_seconds
        while state.status not in {"exited", "dead"}:
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"the job {job.name} did not end within {limit_seconds:.0f} s",
                    where=job.name,
                    code="job-slow",
                )
            beat(self.logs(job.name, tail=1).strip())
            time.sleep(every_seconds)
            found = self.look(job.name)
            if found is None:
                raise Unavailable("the job's container was removed", where=job.name, code="job-gone")
            state = found
        return state, self.logs(job.name, tail=400), known

    # -- volumes --------------------------------------------------------------------------------

    def volume(self, name: str) -> Mapping[str, Any] | None:
        """Return what is known of a volume, or ``None``."""
        with speaking(operand(name)):
            try:
                found: Mapping[str, Any] = self._client.api.inspect_volume(name)
            except NotFound:
                return None
        return found

    def ensure_volume(self, name: str, labels: Mapping[str, str]) -> Mapping[str, Any]:
        """Create a local volume with these labels, or return the one that has them."""
        found = self.volume(name)
        if found is None:
            with changing(operand(name)):
                self._client.api.create_volume(name, driver="local", labels={LABEL_MADE_BY: "dr", **labels})
            found = self.volume(name)
        have = (found or {}).get("Labels") or {}
        if found is None or any(have.get(key) != value for key, value in labels.items()):
            raise Refused(f"a volume named {name} exists and is not this recovery's", code="name-taken")
        return found

    def volumes(self, *labels: str) -> list[Mapping[str, Any]]:
        """Return the volumes that carry all the labels."""
        with speaking("list volumes"):
            found = self._client.api.volumes(filters={"label": list(labels)})
        return list(found.get("Volumes") or [])

    def remove_volume(self, name: str) -> None:
        """Remove a volume; one that is gone is fine, one in use is refused by Docker."""
        with changing(operand(name)):
            try:
                self._client.api.remove_volume(name)
            except NotFound:
                return
