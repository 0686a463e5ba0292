"""The narrow client to the search engine: ids out, documents in, and tasks waited for."""

import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import httpx

from activities.pulse import beat
from domain.errors import Unavailable

_PAGE = 10_000
_TASK_SECONDS = 120.0


class SearchIndex:
    """One index of a MeiliSearch server; every failure is ``Unavailable``."""

    def __init__(self, client: httpx.Client, uid: str) -> None:
        """Speak through ``client``, which carries the address and the key."""
        self._client = client
        self.uid = uid

    def exists(self) -> bool:
        """Tell whether the index is there."""
        return self._send("GET", f"/indexes/{self.uid}", missing_is_fine=True) is not None

    def versions(self) -> dict[str, float | None]:
        """Return the id of every document with the time it was changed, as Unix seconds, if it says."""
        found: dict[str, float | None] = {}
        offset = 0
        while True:
            page = self._send(
                "GET",
                f"/indexes/{self.uid}/documents?fields=id,updated_at&limit={_PAGE}&offset={offset}",
                missing_is_fine=True,
            )
            rows = page["results"] if page else []
            found.update((str(row["id"]), _seconds(row.get("updated_at"))) for row in rows)
            offset += len(rows)
            beat(f"search: {len(found)} documents of {self.uid} read")
            if len(rows) < _PAGE:
                return found

    def add(self, documents: Sequence[object]) -> int:
        """Add or replace documents; return the number of the task."""
        path = f"/indexes/{self.uid}/documents?primaryKey=id"
        return _task(self._send("POST", path, json=list(documents)))

    def delete(self, ids: Sequence[str]) -> int:
        """Delete documents by id; return the number of the task."""
        path = f"/indexes/{self.uid}/documents/delete-batch"
        return _task(self._send("POST", path, json=list(ids)))

    def wait(self, tasks: Sequence[int]) -> None:
        """Wait until every task has ended well."""
        deadline = time.monotonic() + _TASK_SECONDS
        for number in tasks:
            for state in self._states(number):
                if state["status"] in {"failed", "canceled"}:
                    reason = (state.get("error") or {}).get("code", "no reason")
                    raise self._trouble(f"task {number} {state['status']}: {reason}")
                if state["status"] == "succeeded":
                    break
                if time.monotonic() > deadline:
                    raise self._trouble(f"task {number} is still {state['status']}")

    def _states(self, number: int) -> Iterator[dict[str, Any]]:
        pause = 0.05
        while True:
            yield self._send("GET", f"/tasks/{number}") or {}
            beat(f"search: waiting for task {number}")
            time.sleep(pause)
            pause = min(pause * 2, 1.0)

    def _send(
        self, method: str, path: str, *, json: object = None, missing_is_fine: bool = False
    ) -> dict[str, Any] | None:
        try:
            answer = self._client.request(method, path, json=json)
            body = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise self._trouble(type(error).__name__) from None
        if answer.status_code == httpx.codes.NOT_FOUND and missing_is_fine:
            return None
        if not answer.is_success or not isinstance(body, dict):
            code = body.get("code", "") if isinstance(body, dict) else ""
            raise self._trouble(f"status {answer.status_code} {code}".rstrip())
        return body

    def _trouble(self, what: str) -> Unavailable:
        return Unavailable(f"search: {what}", where=f"index {self.uid}", code="search-unavailable")


def _task(body: dict[str, Any] | None) -> int:
    return int((body or {})["taskUid"])


def _seconds(value: object) -> float | None:
    if isinstance(value, int | float):
        return float(value)
    if not isinstance(value, str):
        return None
    try:
        return datetime.fromisoformat(value).timestamp()
    except ValueError:
        return None
