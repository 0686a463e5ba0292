"""What an error of the Docker client means to a hand."""

from collections.abc import Iterator
from contextlib import contextmanager

import requests
from docker.errors import APIError, DockerException, NotFound

from activities.tokens import require_admitted
from domain.errors import Refused, Unavailable

CONFLICT = 409
CONTAINER_DOWN = "container-down"


@contextmanager
def speaking(where: str) -> Iterator[None]:
    """Turn the library's errors into ours; ``NotFound`` stays what it is."""
    try:
        yield
    except NotFound:
        raise
    except APIError as error:
        if error.status_code == CONFLICT and "removal" in str(error.explanation):
            raise Unavailable(
                "another attempt removes the container at this moment", where=where, code="docker-busy"
            ) from error
        if error.status_code == CONFLICT and "is not running" in str(error.explanation):
            # As after a restart of the daemon: its restart policy may be about to start it.
            raise Unavailable("the container does not run", where=where, code=CONTAINER_DOWN) from error
        if error.status_code is not None and error.status_code < 500:  # noqa: PLR2004 - HTTP
            raise Refused(
                f"Docker refused: {error.explanation}", where=where, code="docker-refused"
            ) from error
        raise Unavailable(f"Docker failed: {error.explanation}", where=where, code="docker-failed") from error
    except (DockerException, requests.RequestException) as error:
        raise Unavailable(
            "the Docker engine does not answer",
            where=where,
            hint="is dockerd running, and may this user talk to it?",
            code="docker-unavailable",
        ) from error


@contextmanager
def changing(where: str) -> Iterator[None]:
    """Speak to change something: only while the hand that speaks was not overtaken (F-A4)."""
    require_admitted()
    with speaking(where):
        yield
