"""``python -m infra.images``: make or find every image of the lab, and the tools image."""

from __future__ import annotations

import sys
import time

import docker

from domain.errors import DrError
from infra.images.build import Images
from infra.images.recipes import LAB_IMAGES
from worker.settings import Settings


def main() -> int:
    """Build what is missing, one line a step; 1 when one cannot be made."""
    begun = time.monotonic()

    def show(line: str, fraction: float | None) -> None:
        share = f" {fraction:4.0%}" if fraction is not None else ""
        sys.stdout.write(f"{time.monotonic() - begun:6.1f} s  {line}{share}\n")
        sys.stdout.flush()

    images = Images(docker.from_env(timeout=600), Settings().state.absolute() / "cache", show)
    try:
        images.start()
        for name in LAB_IMAGES:
            images.ensure(name)
    except DrError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
