"""Which image the tools of the product are run from."""

import docker

from domain.names import LABEL_MADE_BY, LABEL_ROLE


def tools_image(client: docker.DockerClient, named: str) -> str:
    """Return the id of the tools image: the named one, else the newest local ``dr-tools`` of ours."""
    filters: dict[str, str | list[str] | bool] = {
        "reference": "dr-tools",
        "label": [f"{LABEL_ROLE}=tools", f"{LABEL_MADE_BY}=dr"],
    }
    found = client.images.list(named or None, filters={} if named else filters)
    newest = max(found, key=lambda image: str(image.attrs["Created"]), default=None)
    return str(newest.id) if newest is not None else ""
