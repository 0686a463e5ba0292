"""``python -m infra.lab``: the lab from the command line."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import docker
import typer

from domain.errors import DrError
from infra.images.build import remove_images
from infra.lab.lab import Lab
from infra.lab.seed import SeedCache, remove_seeds
from infra.lab.settings import LabSettings, Scale

# A traceback with the values of its variables could show a secret.
app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
State = Annotated[Path, typer.Option(help="Folder of caches and secrets.")]
Project = Annotated[str, typer.Option(help="Compose project of the lab.")]
Prefix = Annotated[str, typer.Option(help="How container names begin.")]
ScaleOption = Annotated[str, typer.Option(help="Size of the fixture: small or demo.")]
BEGUN = time.monotonic()


def show(line: str, fraction: float | None) -> None:
    """Print one line a step, with the time since the start."""
    share = f" {fraction:4.0%}" if fraction is not None else ""
    typer.echo(f"{time.monotonic() - BEGUN:6.1f} s  {line}{share}")


def lab_of(state: Path, project: str, prefix: str, scale: str = "demo") -> Lab:
    """Return the lab that the options name."""
    return Lab(
        LabSettings.model_validate(
            {"state": state, "project": project, "prefix": prefix, "seed_scale": scale}
        )
    )


@app.command()
def up(
    state: State = Path(".dr"),
    project: Project = "dr-lab",
    prefix: Prefix = "nchat",
    scale: ScaleOption = "demo",
) -> None:
    """Make and start everything."""
    lab_of(state, project, prefix, scale).up(show)


@app.command()
def down(state: State = Path(".dr"), project: Project = "dr-lab", prefix: Prefix = "nchat") -> None:
    """Remove this lab, and nothing else."""
    for name in lab_of(state, project, prefix).down():
        typer.echo(f"removed {name}")


@app.command()
def status(state: State = Path(".dr"), project: Project = "dr-lab", prefix: Prefix = "nchat") -> None:
    """Say how each service is."""
    found = lab_of(state, project, prefix).status()
    for name, words in found.items():
        typer.echo(f"{name:12} {words}")
    if any(words != "running (healthy)" for words in found.values()):
        raise typer.Exit(1)


@app.command()
def seed(state: State = Path(".dr"), scale: ScaleOption = "demo") -> None:
    """Make the cached fixture, without a lab."""
    lab = lab_of(state, "dr-lab", "nchat", scale)
    wanted: Scale = lab.settings.seed_scale
    images = lab.images(show)
    for name in SeedCache(docker.from_env(timeout=600), images, show).ensure(wanted).values():
        typer.echo(name)


@app.command()
def purge() -> None:
    """Remove the cached fixtures and the images that were built."""
    client = docker.from_env(timeout=600)
    for name in [*remove_seeds(client), *remove_images(client)]:
        typer.echo(f"removed {name}")


@app.command()
def traffic(
    state: State = Path(".dr"), project: Project = "dr-lab", rate: Annotated[float, typer.Option()] = 10.0
) -> None:
    """Keep users working until it is interrupted."""
    command = [sys.executable, "-m", "infra.lab.traffic", "--lab-state", str(state), "--project", project]
    raise typer.Exit(subprocess.call([*command, "--rate", str(rate)]))


if __name__ == "__main__":
    try:
        app()
    except DrError as error:
        typer.echo(str(error), err=True)
        sys.exit(1)
