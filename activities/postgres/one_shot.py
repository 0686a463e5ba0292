"""Short jobs on PostgreSQL's files: a script of ours in a container of the server's own image."""

import time
from collections.abc import Mapping
from dataclasses import replace
from importlib.resources import files

from activities.engine import ContainerState, Engine, Job
from activities.pulse import beat
from domain.errors import Refused, Unavailable
from domain.names import COMPOSE_PROJECT, COMPOSE_SERVICE, LABEL_RECOVERY, LABEL_ROLE, LABEL_STACK
from domain.order import PostgresTarget, Target, TargetOrder

VOLUME = "/volume"
SALVAGE = "/salvage"
_POLL_SECONDS = 0.1


def script(name: str) -> str:
    """Return the text of a script that ships with this package."""
    return files("activities.postgres").joinpath("scripts", name).read_text()


def labels(order: TargetOrder, role: str) -> dict[str, str]:
    """Return the labels of what a recovery makes."""
    return {LABEL_RECOVERY: order.recovery_id, LABEL_STACK: order.target.stack, LABEL_ROLE: role}


def below(server: PostgresTarget, root: str) -> str:
    """Return where PGDATA lies when the server's volume is mounted at ``root``."""
    inside = server.pgdata.removeprefix(server.mount_path.rstrip("/")).strip("/")
    return f"{root}/{inside}" if inside else root


def prove(engine: Engine, target: Target) -> ContainerState:
    """Return the server's container when it is the one that was resolved; else ``Refused``.

    The id, the labels, the image and the mounted volume must all agree: a name proves nothing.
    """
    server = target.postgres
    found = engine.look(server.container_id)
    reason = None if found is None else _foreign(found, target)
    if found is None or reason is not None:
        raise Refused(
            f"{server.container_name} is not the container that was resolved: {reason or 'it is gone'}",
            where=server.container_id[:12],
            hint="start the recovery again so that it resolves its targets anew",
            code="target-changed",
        )
    return found


def _foreign(found: ContainerState, target: Target) -> str | None:
    server = target.postgres
    if found.labels.get(COMPOSE_PROJECT) != target.project:
        return f"its project is {found.labels.get(COMPOSE_PROJECT)!r}"
    if found.labels.get(COMPOSE_SERVICE) != server.service:
        return f"its service is {found.labels.get(COMPOSE_SERVICE)!r}"
    if found.image_id != server.image_id:
        return "it has another image"
    mounted = {mount.get("Name"): mount["Destination"] for mount in found.raw["Mounts"]}
    if mounted.get(server.volume) != server.mount_path:
        return f"it does not mount {server.volume} at {server.mount_path}"
    return None


def shell(
    server: PostgresTarget,
    name: str,
    text: str,
    *arguments: str,
    binds: Mapping[str, str],
    labelled: Mapping[str, str],
) -> Job:
    """Return a job that runs a shell script as the server's user, without network."""
    return Job(
        name=name,
        image_id=server.image_id,
        entrypoint=("sh",),
        command=("-c", text, "dr", *arguments),
        user=f"{server.uid}:{server.gid}",
        binds=binds,
        labels=labelled,
    )


def run(engine: Engine, job: Job, *, limit_seconds: float = 60) -> tuple[int, str]:
    """Run a job that is over in a moment; return its exit code and both its streams.

    A finished container of an earlier attempt is removed first: its answer may be stale.
    """
    old = engine.look(job.name)
    if old is not None and old.status in {"created", "exited", "dead"}:
        engine.remove(job.name, force=True)
    state, _ = engine.ensure_job(job)
    deadline = time.monotonic() + limit_seconds
    while state.status not in {"exited", "dead"}:
        if time.monotonic() > deadline:
            raise Unavailable(f"{job.name} did not end in time", where=job.name, code="job-slow")
        beat(f"{job.name} runs")
        time.sleep(_POLL_SECONDS)
        found = engine.look(job.name)
        if found is None:
            raise Unavailable("the job's container was removed", where=job.name, code="job-gone")
        state = found
    text = engine.logs(job.name, tail="all")
    engine.remove(job.name, force=True)
    return state.exit_code or 0, text


def as_root(job: Job, *capabilities: str) -> Job:
    """Return the job run as root with these capabilities and no others."""
    return replace(job, user="0:0", capabilities=capabilities)


def facts(text: str) -> dict[str, str]:
    """Return the ``key=value`` lines of a script's output."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {key.strip(): value.strip() for key, _, value in pairs}


def control(text: str) -> dict[str, str]:
    """Return what ``pg_controldata`` printed as a mapping of its own names.

    It prints a destroyed file all the same, with a warning: of that nothing is believed.
    """
    if "CRC" in text or "WARNING" in text or "corrupt" in text:
        return {}
    pairs = (line.partition(":") for line in text.splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, _, value in pairs}


def settings_of(arguments: tuple[str, ...]) -> dict[str, str]:
    """Return the settings among a server's arguments: ``-c name=value`` and ``--name=value``."""
    found: dict[str, str] = {}
    wanted = list(arguments)
    while wanted:
        word = wanted.pop(0)
        if word == "-c" and wanted:
            word = wanted.pop(0)
        elif word.startswith(("-c", "--")):
            word = word[2:]
        else:
            continue
        key, _, value = word.partition("=")
        found[key.strip().replace("-", "_").lower()] = value.strip()
    return found
