"""Acts as a user does, through the door that users have, and keeps the evidence of each call."""

import json
import re
import time
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx
from temporalio import activity

from activities.address import http_url
from activities.answers import ask, json_in
from activities.engine import Engine
from activities.pulse import beat
from activities.secrets import Secrets
from domain.errors import Refused, VerificationFailed
from domain.order import Target, TargetOrder
from domain.recovery import Judged, Proof
from domain.stack import Call, UserJourney

__all__ = ["JourneyOrder", "Traffic"]

_CALL_SECONDS = 5.0
_AGAIN_AFTER_SECONDS = 0.5
_PLACE = re.compile(r"\{(secret:)?([a-z][a-z0-9_]*)\}")


class JourneyOrder(TargetOrder):
    """Walk through the stack as a user does."""

    journey: UserJourney


class Traffic:
    """Walks the user journey of the stack file."""

    def __init__(self, engine: Engine, secrets: Secrets) -> None:
        """Find the entrance through ``engine`` and reveal passwords through ``secrets``."""
        self._engine = engine
        self._secrets = secrets

    @activity.defn(no_thread_cancel_exception=True)
    def verify_user_journey(self, order: JourneyOrder) -> Judged:
        """Make each call until it is right or its time is over; one proof each.

        Raises ``VerificationFailed`` with code ``journey-failed`` naming the first call that never
        became right. Captured values and secrets are in no proof.
        """
        journey = order.journey
        texts = _Texts(
            {name: self._secrets.reveal(ref, order.target.project) for name, ref in journey.secrets.items()}
        )
        began, proofs = time.monotonic(), []
        url = self._entrance(order.target, journey)
        with httpx.Client(base_url=url, timeout=_CALL_SECONDS, trust_env=False) as client:
            for call in journey.calls:
                proof = _repeat(client, call, texts)
                proofs.append(proof)
                if not proof.passed:
                    done = ", ".join(earlier.name for earlier in proofs[:-1]) or "nothing"
                    raise VerificationFailed(
                        f"a user cannot {call.name}: {proof.evidence}; worked before it: {done}",
                        where=f"{call.method} {call.path} at {journey.entrance}",
                        hint="look at the log of the service behind that path, then retry",
                        code="journey-failed",
                    )
        if not proofs:
            return Judged(passed=False, sentence="The stack file states no user journey; nothing was tried")
        names = ", ".join(call.name for call in journey.calls)
        return Judged(
            passed=True,
            proofs=tuple(proofs),
            sentence=f"A user can {names} ({time.monotonic() - began:.1f} s in all)",
        )

    def _entrance(self, target: Target, journey: UserJourney) -> str:
        try:
            service = target.service(journey.entrance)
        except KeyError:
            raise Refused(
                f"the entrance {journey.entrance} is no service of the stack",
                where="journey.entrance",
                code="stack-file",
            ) from None
        return http_url(self._engine, service, journey.port)


class _Texts:
    """Fills ``{name}``, ``{nonce}`` and ``{secret:name}`` in; anything else in braces is left alone."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._secrets = secrets
        self._known: dict[str, str] = {"nonce": uuid.uuid4().hex}

    def keep(self, captured: Mapping[str, str]) -> None:
        """Remember captured values for later calls."""
        self._known.update(captured)

    def fill(self, value: object) -> Any:  # noqa: ANN401 - as deep as JSON goes
        """Return the value with its texts filled in."""
        if isinstance(value, str):
            return _PLACE.sub(self._one, value)
        if isinstance(value, dict):
            return {key: self.fill(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.fill(inner) for inner in value]
        return value

    def fill_path(self, path: str) -> str:
        """Return a path with its places filled in; what a service answered stays one part of it."""
        return _PLACE.sub(lambda place: quote(self._one(place), safe="{}"), path)

    def _one(self, place: re.Match[str]) -> str:
        known = self._secrets if place[1] else self._known
        if place[1] and place[2] not in known:
            raise Refused(
                f"the journey uses the secret {place[2]}, which is not named",
                where="journey.secrets",
                code="secret-missing",
            )
        # GraphQL has braces of its own.
        return known.get(place[2], place[0])


def _repeat(client: httpx.Client, call: Call, texts: _Texts) -> Proof:
    began = time.monotonic()
    limit = call.within.total_seconds()
    tries = 0
    while True:
        beat(f"acting as a user: {call.name}")
        tries += 1
        try:
            trouble, status = _once(client, call, texts)
        except httpx.HTTPError as error:
            trouble, status = f"no answer ({type(error).__name__})", "no status"
        took = time.monotonic() - began
        again = f", try {tries}" if tries > 1 else ""
        if trouble is None:
            return Proof(name=call.name, passed=True, evidence=f"{status} after {took:.2f} s{again}")
        if took > limit:
            return Proof(name=call.name, passed=False, evidence=f"{trouble} for {took:.0f} s{again}")
        time.sleep(_AGAIN_AFTER_SECONDS)


def _once(client: httpx.Client, call: Call, texts: _Texts) -> tuple[str | None, str]:
    """Return what is wrong with the answer, or ``None`` after keeping its captures."""
    headers = texts.fill(call.headers)
    content: bytes | None = None
    if call.upload is not None:
        content = str(texts.fill(call.upload)).encode()
        headers.setdefault("Content-Type", "text/plain")
    elif call.body is not None:
        content = json.dumps(texts.fill(call.body)).encode()
        headers.setdefault("Content-Type", "application/json")
    answer = ask(client, call.method, texts.fill_path(call.path), headers=headers, content=content)
    status = f"status {answer.status_code}"
    if answer.status_code != call.expect_status:
        return f"{status} instead of {call.expect_status}", status
    if call.expect_text is not None and str(texts.fill(call.expect_text)) not in answer.text:
        return f"{status}, but the answer does not hold what was expected", status
    captured = {}
    for name, path in call.capture.items():
        value = _at(answer, path)
        if value is None:
            return f"{status}, but the answer has no {path}", status
        captured[name] = value
    texts.keep(captured)
    return None, status


def _at(answer: httpx.Response, path: str) -> str | None:
    value: Any = json_in(answer)
    for part in path.split("."):
        if not isinstance(value, dict) or part not in value:
            return None
        value = value[part]
    return value if isinstance(value, str) else json.dumps(value)
