"""Images of the lab that the tests of the hands run; without them those tests are skipped, by name."""

from functools import cache

import docker
import pytest

from infra.images.recipes import RECIPES, digest, repository


def lab_image(client: docker.DockerClient, name: str) -> str:
    """Return the id of the image that this very tree makes of ``name``; without it, the newest there is."""
    found = client.images.list(_reference(name)) or client.images.list(repository(name))
    if not found:
        pytest.skip(f"no image {repository(name)}: build the lab's images first")
    return str(max(found, key=lambda one: str(one.attrs["Created"])).id)


@cache
def _reference(name: str) -> str:
    above = RECIPES[name].base
    return f"{repository(name)}:{digest(name, _reference(above) if above else '')}"
