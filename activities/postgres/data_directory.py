"""Looks into the data directory of a server, running or not, with the programs of its own image."""

from docker.errors import NotFound

from activities.engine import ContainerState, Engine, Job
from activities.pulse import beat
from domain.errors import DrError
from domain.names import LABEL_ROLE, LABEL_STACK
from domain.order import TargetOrder

_ENGLISH = {"LC_ALL": "C", "TZ": "UTC"}


def look_into(engine: Engine, order: TargetOrder, state: ContainerState, text: str, role: str) -> str:
    """Run a script that only reads, with the directory as its argument; return all that it says.

    It runs in the container when that runs, else in one of ours with the volume mounted read-only.
    """
    server = order.target.postgres
    owner = f"{server.uid}:{server.gid}"
    if state.running:
        command = ("sh", "-c", text, "dr", server.pgdata)
        try:
            done = engine.run(state.id, command, user=owner, environment=_ENGLISH)
        except (DrError, NotFound):
            pass  # it stopped meanwhile, as a container in a restart loop does
        else:
            return done.errors + done.output
    name = f"dr-{order.recovery_id or order.target.stack}-{role}"
    engine.remove(name, force=True)
    job = Job(
        name=name,
        image_id=server.image_id,
        command=("-c", text, "dr", server.pgdata),
        entrypoint=("sh",),
        user=owner,
        binds={server.volume: f"{server.mount_path}:ro"},
        environment=_ENGLISH,
        labels={LABEL_STACK: order.target.stack, LABEL_ROLE: role},
    )
    try:
        _, log, _ = engine.follow(job, beat, limit_seconds=20)
    finally:
        engine.remove(name, force=True)
    return log
