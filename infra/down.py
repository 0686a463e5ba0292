"""Take down what was started, and nothing else: ``python -m infra.down`` is ``make down``."""

import shutil
import sys
from collections.abc import Callable

import docker
from docker.errors import DockerException

from domain.errors import DrError
from domain.names import LABEL_STACK
from infra import daemons
from infra.images.build import remove_images
from infra.lab.seed import remove_seeds
from infra.setup import engine
from infra.temporal import server
from infra.up import run_directory
from worker.settings import Settings

Say = Callable[[str], None]


def take_down(say: Say, *, everything: bool = False) -> dict[str, list[str]]:
    """Stop our processes; with ``everything`` remove lab, containers, volumes, images and state of ours."""
    settings = Settings()
    directory = run_directory(settings.state)
    stopped = [name for name in daemons.names(directory) if daemons.stop(directory, name)]
    if server.stop(server.TemporalSettings(state=settings.state)):
        stopped.append("temporal")
    say(f"stopped: {', '.join(stopped) or 'nothing ran'}")
    removed: list[str] = []
    if everything:
        removed = _remove_lab(settings, say)
        removed += _remove_docker_things(settings, say)
        if engine.stop_ours(settings.state):
            removed.append("the Docker engine that was started here")
        shutil.rmtree(settings.state, ignore_errors=True)
        say(f"removed: {', '.join(removed) or 'nothing'} and {settings.state}")
    return {"stopped": stopped, "removed": removed}


def _remove_lab(settings: Settings, say: Say) -> list[str]:
    from infra.lab.lab import Lab  # noqa: PLC0415 - only where there is a lab
    from infra.lab.settings import LabSettings  # noqa: PLC0415 - the same

    try:
        Lab(LabSettings(state=settings.state)).down()
    except DrError as error:
        say(f"the lab was not taken down: {error}")
        return []
    return ["lab"]


def _remove_docker_things(settings: Settings, say: Say) -> list[str]:
    """Remove what recoveries of our stacks left, the cached fixtures, and our images."""
    removed: list[str] = []
    try:
        client = docker.from_env()
        for stack in settings.stacks():
            mine: dict[str, str | list[str] | bool] = {"label": f"{LABEL_STACK}={stack}"}
            for container in client.containers.list(all=True, filters=mine):
                container.remove(force=True)
                removed.append(str(container.name))
            for volume in client.volumes.list(filters=mine):
                volume.remove(force=True)
                removed.append(str(volume.name))
        removed += remove_seeds(client)
        removed += remove_images(client)
    except (DockerException, DrError) as error:
        say(f"not everything of Docker could be removed: {error}")
    return removed


def main() -> int:
    """Take everything down."""
    take_down(lambda line: print(line, flush=True), everything=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
