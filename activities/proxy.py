"""The proxy and other services whose health is one plain HTTP answer."""

import httpx

from activities.answers import ask
from domain.recovery import Proof

_SECONDS = 3.0


def probe(name: str, url: str, path: str, *, may_lack_it: bool = False) -> Proof:
    """Return whether ``GET path`` is answered with 200.

    ``may_lack_it``: a 404 says that the program has no such path, which proves nothing (``passed=None``).
    """
    try:
        with httpx.Client(base_url=url, timeout=_SECONDS, trust_env=False) as client:
            answer = ask(client, "GET", path)
    except httpx.HTTPError as error:
        return Proof(name=name, passed=False, evidence=f"{path}: {type(error).__name__}")
    if may_lack_it and answer.status_code == httpx.codes.NOT_FOUND:
        return Proof(name=name, passed=None, evidence=f"it answers HTTP, but has no {path}")
    return Proof(
        name=name,
        passed=answer.status_code == httpx.codes.OK,
        evidence=f"{path}: status {answer.status_code}",
    )
