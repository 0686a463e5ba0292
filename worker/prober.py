"""The prober: one user action after the other through the door users come in by, for the downtime.

Downtime is the longest time without an acknowledged action (decision V4).
"""

import json
import re
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import docker.errors
import httpx
import structlog

from activities.engine import Engine
from activities.ledger_journal import LedgerFiles
from activities.ledger_places import entrance_of_stack, find_place
from activities.secrets import Secrets
from domain.errors import DrError
from domain.stack import Call, Stack

TIMEOUT_SECONDS = 1.0
SIGN_IN_TIMEOUT_SECONDS = 5.0
"""A password is checked slowly on purpose; a busy machine must not keep the prober out for ever."""
RENEW_AFTER_SECONDS = 600.0
LOOK_AGAIN_SECONDS = 1.0
ROTATE_AT_BYTES = 50 * 1000 * 1000
_UNAUTHORIZED = frozenset({401, 403})
_WORD = re.compile(r"\{((?:secret:)?[a-z][a-z0-9_]*)\}")
_log = structlog.get_logger("prober")


class ProbeJournal:
    """One line an action, in two files at most; a lost line at a crash costs nothing."""

    def __init__(self, path: Path, rotate_at_bytes: int = ROTATE_AT_BYTES) -> None:
        """Append to ``path``; a full file becomes ``<path>.1``."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._rotate_at_bytes = rotate_at_bytes
        self._file = self._opened()

    def append(self, *, at: datetime, ok: bool, seconds: float) -> None:
        """Write one line."""
        line = {"at": at.isoformat(), "ok": ok, "seconds": round(seconds, 4)}
        self._file.write(json.dumps(line) + "\n")
        if self._file.tell() >= self._rotate_at_bytes:
            self._file.close()
            self._path.replace(self._path.with_name(self._path.name + ".1"))
            self._file = self._opened()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _opened(self) -> IO[str]:
        # A fresh line first: the last one may have been torn by a crash. Readers skip empty lines.
        file = self._path.open("a", buffering=1)
        if file.tell() > 0:
            file.write("\n")
        return file


class Prober:
    """A user who is signed in and sends messages, one at a time."""

    def __init__(self, stack: Stack, engines: Callable[[], Engine], variables: dict[str, str]) -> None:
        """``variables`` is what ``env:`` references are read from."""
        calls = {call.name: call for call in stack.journey.calls}
        self._sign_in = calls.get("sign in")
        self._send = calls.get("send")
        self._stack = stack
        self._engines = engines
        self._variables = variables
        self._engine: Engine | None = None
        self._client: httpx.Client | None = None
        self._looked_at = 0.0
        self._words: dict[str, str] = {}
        self._captured: dict[str, str] = {}
        self._signed_in_at = 0.0
        self.trouble = ""
        """Why the last action was not acknowledged; holds no secret."""

    @property
    def able(self) -> bool:
        """Tell whether the stack file says how a message is sent."""
        return self._send is not None

    def act(self) -> bool:
        """Send one message; return whether it was acknowledged."""
        if self._send is None or not self._ready():
            return False
        if self._sign_in is not None and time.monotonic() - self._signed_in_at > RENEW_AFTER_SECONDS:
            self._renew(self._sign_in)
        if self._sign_in is not None and not self._captured:
            return False
        answer = self._ask(self._send)
        if answer is not None and answer.status_code in _UNAUTHORIZED:
            self._signed_in_at = 0.0
            self._captured = {}
        if answer is None:
            return False
        right = _right(self._send, answer)
        self.trouble = "" if right else f"{self._send.name} answered {answer.status_code}"
        return right

    def close(self) -> None:
        """Let go of the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _ready(self) -> bool:
        """Look for the entrance, at most once a second: it may have moved."""
        if self._client is not None:
            return True
        if time.monotonic() - self._looked_at < LOOK_AGAIN_SECONDS:
            return False
        self._looked_at = time.monotonic()
        try:
            self._engine = self._engine or self._engines()
            secrets = Secrets(self._engine, self._variables)
            place = find_place(self._engine, secrets, entrance_of_stack(self._stack))
            # Only those that are used: the secret of an absent service must not stop the prober.
            used = {word for call in (self._sign_in, self._send) if call for word in _words_of(call)}
            self._words = {
                f"secret:{name}": secrets.reveal(reference, self._stack.project)
                for name, reference in self._stack.journey.secrets.items()
                if f"secret:{name}" in used
            }
        except DrError as error:
            self.trouble = error.what
            return False
        except docker.errors.DockerException:
            self.trouble = "the Docker engine does not answer"
            return False
        self._client = httpx.Client(
            base_url=f"http://{place.host}:{place.port}", timeout=TIMEOUT_SECONDS, trust_env=False
        )
        return True

    def _renew(self, call: Call) -> None:
        answer = self._ask(call, SIGN_IN_TIMEOUT_SECONDS)
        if answer is None:
            return
        if not _right(call, answer):
            self.trouble = f"{call.name} answered {answer.status_code}"
            # An old token may still be good for sending: keep it until it is refused.
            return
        self._captured = {name: _value(answer, path) for name, path in call.capture.items()}
        self._signed_in_at = time.monotonic()

    def _ask(self, call: Call, timeout_seconds: float = TIMEOUT_SECONDS) -> httpx.Response | None:
        if self._client is None:
            return None
        words = {**self._words, **self._captured, "nonce": uuid.uuid4().hex}
        try:
            return self._client.request(
                call.method,
                str(_filled(call.path, words)),
                headers={key: str(_filled(value, words)) for key, value in call.headers.items()},
                json=_filled(call.body, words) if call.body is not None else None,
                timeout=timeout_seconds,
            )
        except (httpx.HTTPError, ValueError) as error:
            self.trouble = f"{call.name}: {type(error).__name__}"
            self.close()
            return None


def _right(call: Call, answer: httpx.Response) -> bool:
    return answer.status_code == call.expect_status and (call.expect_text or "") in answer.text


def _words_of(call: Call) -> list[str]:
    return _WORD.findall(json.dumps([call.path, call.headers, call.body]))


def _filled(value: object, words: dict[str, str]) -> object:
    if isinstance(value, str):
        return _WORD.sub(lambda found: words.get(found[1], found[0]), value)
    if isinstance(value, dict):
        return {key: _filled(item, words) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, words) for item in value]
    return value


def _value(answer: httpx.Response, path: str) -> str:
    found: object = None
    with suppress(ValueError):
        found = answer.json()
    for part in path.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return "" if found is None else str(found)


def run_prober(
    stack: Stack,
    state: Path,
    stop: threading.Event,
    *,
    engines: Callable[[], Engine],
    variables: dict[str, str],
    per_second: float,
) -> None:
    """Act ``per_second`` times a second until ``stop`` is set; never two requests at once."""
    prober = Prober(stack, engines, variables)
    if not prober.able:
        _log.warning("no prober: the journey of the stack file has no call named send")
        return
    journal = ProbeJournal(LedgerFiles(state, stack.stack).probe)
    pause = 1 / per_second
    due = time.monotonic()
    said: bool | None = None
    while not stop.wait(max(0.0, due - time.monotonic())):
        # Actions that were missed while one took long are not made up for.
        due = max(due + pause, time.monotonic())
        at, began = datetime.now(UTC), time.monotonic()
        try:
            ok = prober.act()
            journal.append(at=at, ok=ok, seconds=time.monotonic() - began)
        except Exception:  # noqa: BLE001 - one odd action must not end all that follow
            _log.exception("an action was left out")
            continue
        if ok is not said:
            said = ok
            _log.info("user actions are acknowledged" if ok else f"no user action works: {prober.trouble}")
    prober.close()
    journal.close()
