"""Asks a search engine for its tasks and documents; snapshots and dumps are waited for."""

import time
from collections.abc import Callable
from typing import Any

import httpx

from activities.answers import ask, json_in
from activities.pulse import beat
from domain.errors import Unavailable

_LIMIT_BYTES = 64 * 1024 * 1024
_TASK_SECONDS = 4 * 3600.0
_POLL_SECONDS = 0.5
_FIRST_POLL_SECONDS = 0.05


class SearchServer:
    """One engine that runs; every failure is ``Unavailable`` (``search-unavailable``)."""

    def __init__(self, client: httpx.Client) -> None:
        """Speak through ``client``, which carries the address and the key."""
        self._client = client

    def get(self, path: str) -> dict[str, Any] | None:
        """Return the JSON object at a path, ``None`` when there is none."""
        return self._send("GET", path)

    def version(self) -> str:
        """Return the version of the program."""
        return str((self.get("/version") or {}).get("pkgVersion") or "")

    def size_bytes(self) -> int:
        """Return the size of its data."""
        return int((self.get("/stats") or {}).get("databaseSize") or 0)

    def do(self, path: str, what: str, told: Callable[[int], object] = lambda _: None) -> dict[str, Any]:
        """Have a task done and return it when it has succeeded; ``told`` gets its number at once."""
        number = int((self._send("POST", path) or {})["taskUid"])
        told(number)
        deadline, pause = time.monotonic() + _TASK_SECONDS, _FIRST_POLL_SECONDS
        while True:
            task = self.task(number)
            if task.get("status") == "succeeded":
                return task
            if task.get("status") in {"failed", "canceled"}:
                reason = (task.get("error") or {}).get("code", "no reason")
                raise _trouble(f"{what} {task['status']}: {reason}")
            if time.monotonic() > deadline:
                raise _trouble(f"{what} is still {task.get('status')}")
            beat(f"search: {what}, task {number} is {task.get('status')}")
            time.sleep(pause)
            pause = min(pause * 2, _POLL_SECONDS)

    def task(self, number: int) -> dict[str, Any]:
        """Return what is known of a task; nothing of one that the engine has forgotten."""
        return self.get(f"/tasks/{number}") or {}

    def _send(self, method: str, path: str) -> dict[str, Any] | None:
        try:
            answer = ask(self._client, method, path, limit_bytes=_LIMIT_BYTES)
        except httpx.HTTPError as error:
            raise _trouble(f"no answer: {type(error).__name__}") from None
        body = json_in(answer)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        if not answer.is_success or not isinstance(body, dict):
            code = body.get("code", "") if isinstance(body, dict) else ""
            raise _trouble(f"status {answer.status_code} {code}".rstrip())
        return body


def _trouble(what: str) -> Unavailable:
    return Unavailable(f"search: {what}", where="search", code="search-unavailable")
