"""The base image of everything that is built: a minimal Debian, bootstrapped on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import docker

from domain.errors import Refused, Unavailable
from domain.names import LABEL_MADE_BY
from infra.images.recipes import SUITE

STRIPPED = (
    "var/cache/apt",
    "var/lib/apt/lists",
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "var/log",
)


def import_base(client: docker.DockerClient, reference: str, cache: Path) -> None:
    """Bootstrap a minimal Debian with its default package source and import it as ``reference``.

    Raises ``Refused`` where the machine cannot bootstrap and ``Unavailable`` when the bootstrap fails.
    """
    program = shutil.which("debootstrap")
    if program is None or os.geteuid() != 0:
        raise Refused(
            "the lab's images must be built, which needs root and debootstrap",
            where="no image registry answered",
            hint="apt-get install debootstrap, and run as root; or give the machine access to a registry",
            code="images-not-buildable",
        )
    with tempfile.TemporaryDirectory(dir=cache, prefix="base-") as scratch:
        root = Path(scratch) / "root"
        done = subprocess.run(
            [program, "--variant=minbase", SUITE, str(root)], check=False, capture_output=True, text=True
        )
        if done.returncode != 0:
            raise Unavailable(
                "bootstrapping the base image failed",
                where="; ".join(done.stdout.strip().splitlines()[-3:]),
                hint="is the package archive reachable?",
                code="base-image-failed",
            )
        for folder in STRIPPED:
            for entry in (root / folder).iterdir() if (root / folder).is_dir() else ():
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        (root / "var/log/apt").mkdir(exist_ok=True)
        archive = Path(scratch) / "root.tar"
        subprocess.run(["tar", "--numeric-owner", "-C", str(root), "-cf", str(archive), "."], check=True)
        repository, _, tag = reference.partition(":")
        client.api.import_image(
            src=str(archive), repository=repository, tag=tag, changes=[f"LABEL {LABEL_MADE_BY}=dr"]
        )
