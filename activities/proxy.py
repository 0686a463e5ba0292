"""The proxy and other services whose health is one plain HTTP answer."""

import httpx

from activities.answers import ask
from domain.recovery import Proof

_SECONDS = 3.0


def probe(name: str, url: str, path: str) -> Proof:
    """Return whether ``GET path`` is answered with 200."""
    try:
        with httpx.Client(base_url=url, timeout=_SECONDS, trust_env=False) as client:
            answer = ask(client, "GET", path)
    except httpx.HTTPError as error:
        return Proof(name=name, passed=False, evidence=f"{path}: {type(error).__name__}")
    return Proof(
        name=name,
        passed=answer.status_code == httpx.codes.OK,
        evidence=f"{path}: status {answer.status_code}",
    )
