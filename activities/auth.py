"""Auth: its health endpoint is a constant, so a sign-in is the only proof."""

import json

import httpx

from activities.answers import ask, json_in
from domain.recovery import Proof

_SECONDS = 5.0
_JSON = {"Content-Type": "application/json"}


def probe(name: str, url: str, email: str | None, password: str | None) -> Proof:
    """Return whether the probe account can sign in.

    Without an account the proof has ``passed=None``: ``/healthz`` answers 200 with the database
    down. The tokens of the answer are dropped.
    """
    try:
        with httpx.Client(base_url=url, timeout=_SECONDS, trust_env=False) as client:
            health = ask(client, "GET", "/healthz")
            if health.status_code != httpx.codes.OK:
                return Proof(name=name, passed=False, evidence=f"/healthz: status {health.status_code}")
            if not email or not password:
                return Proof(
                    name=name,
                    passed=None,
                    evidence="/healthz answers; sign-in not tried: no probe account is named",
                )
            said = json.dumps({"email": email, "password": password}).encode()
            answer = ask(client, "POST", "/signin/email-password", headers=_JSON, content=said)
    except httpx.HTTPError as error:
        return Proof(name=name, passed=False, evidence=f"no answer: {type(error).__name__}")
    signed_in = answer.status_code == httpx.codes.OK and '"accessToken"' in answer.text
    return Proof(
        name=name,
        passed=signed_in,
        evidence="the probe account signs in"
        if signed_in
        else f"sign-in: status {answer.status_code}, {_reason(answer)}",
    )


def _reason(answer: httpx.Response) -> str:
    body = json_in(answer)
    return str(body.get("error", "no session")) if isinstance(body, dict) else "no session"
