"""Keeps users working through the proxy and counts what was acknowledged.

Each user signs in, sends messages, reads them back, searches, uploads and fetches files; an outage makes
actions fail and nothing else. Acknowledged message ids go to ``traffic.jsonl`` before they are counted, the
figures to ``traffic.json``, both in the lab's folder. SIGTERM ends it cleanly.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from infra.lab.settings import LabSettings, read_env

ACCOUNTS = ("owner", "admin", "mod", "support", "helper", "user")
CHANNELS = ("11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222")
SHARES = {"send": 45, "read": 30, "search": 10, "upload": 5, "fetch": 7, "sign_in": 3}
"""How often each action is chosen, in hundredths."""
TIMEOUT_SECONDS = 5.0
SUMMARY_SECONDS = 1.0
TOKEN_SECONDS = 600


class ActionFailed(Exception):
    """The stack did not acknowledge an action."""


class User:
    """One account with its session and what it has sent."""

    def __init__(self, client: httpx.AsyncClient, name: str, env: dict[str, str], journal: Journal) -> None:
        self._client, self._name, self._env, self._journal = client, name, env, journal
        self._token, self._signed_in_at = "", 0.0
        self._messages: list[str] = []
        self._files: list[tuple[str, bytes]] = []
        self._number = 0

    async def act(self, action: str) -> None:
        """Carry out one action; raises ``ActionFailed`` or an httpx error when it was not acknowledged."""
        if action != "sign_in" and time.monotonic() - self._signed_in_at > TOKEN_SECONDS:
            await self.sign_in()
        actions: dict[str, Callable[[], Awaitable[None]]] = {
            "send": self.send,
            "read": self.read,
            "search": self.search,
            "upload": self.upload,
            "fetch": self.fetch,
            "sign_in": self.sign_in,
        }
        await actions[action]()

    async def sign_in(self) -> None:
        """Open a new session."""
        body = {"email": f"{self._name}@nself.org", "password": self._env["LAB_USER_PASSWORD"]}
        said = good(await self._client.post("/v1/auth/signin/email-password", json=body))
        self._token, self._signed_in_at = str(said["session"]["accessToken"]), time.monotonic()

    async def send(self) -> None:
        """Send a message; it counts once its id is in the journal."""
        self._number += 1
        content = f"{self._name} says {self._number} at {datetime.now(UTC).isoformat()}"
        body = {"channel_id": random.choice(CHANNELS), "content": content}  # noqa: S311 - no secret
        said = good(await self._client.post("/functions/message-send", json=body, headers=self._who()))
        self._journal.append({"id": said["id"], "created_at": said["created_at"], "user": self._name})
        self._messages = [*self._messages[-50:], str(said["id"])]

    async def read(self) -> None:
        """Read a message of one's own through GraphQL; a message that is gone is a failure."""
        if not self._messages:
            return await self.send()
        wanted = random.choice(self._messages)  # noqa: S311 - no secret
        query = "query($id: uuid!) { nchat_messages_by_pk(id: $id) { id content } }"
        body = {"query": query, "variables": {"id": wanted}}
        said = good(await self._client.post("/v1/graphql", json=body, headers=self._who()))
        if said.get("errors"):
            raise ActionFailed("the query was refused")
        if said["data"]["nchat_messages_by_pk"] is None:
            self._messages.remove(wanted)
            raise ActionFailed("the message is gone")
        return None

    async def search(self) -> None:
        """Search the messages."""
        headers = {"Authorization": f"Bearer {self._env['MEILI_MASTER_KEY']}"}
        good(
            await self._client.post(
                "/search/indexes/messages/search", json={"q": self._name, "limit": 5}, headers=headers
            )
        )

    async def upload(self) -> None:
        """Upload a small file."""
        content = os.urandom(2048)
        url = f"/functions/upload?filename={self._name}.bin"
        said = good(await self._client.post(url, content=content, headers=self._who()))
        self._files = [*self._files[-10:], (str(said["id"]), content)]

    async def fetch(self) -> None:
        """Fetch a file of one's own and compare it."""
        if not self._files:
            return await self.upload()
        wanted = random.choice(self._files)  # noqa: S311 - no secret
        said = await self._client.get(f"/functions/files/{wanted[0]}", headers=self._who())
        if said.status_code == httpx.codes.NOT_FOUND:
            self._files.remove(wanted)
        if not said.is_success or said.content != wanted[1]:
            raise ActionFailed(f"the file came back as {said.status_code}")
        return None

    def _who(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"}


def good(said: httpx.Response) -> dict[str, Any]:
    """Return the JSON object of an answer; raises ``ActionFailed`` for anything but success."""
    if not said.is_success:
        raise ActionFailed(f"answered {said.status_code}")
    body = said.json()
    if not isinstance(body, dict):
        raise ActionFailed("the answer is no object")
    return body


class Journal:
    """Acknowledged messages, on disk before they are counted, and the figures of the run."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / "traffic.jsonl").open("a")
        self._summary = folder / "traffic.json"
        self._acknowledged: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._last: dict[str, str] = {}
        self._begun = datetime.now(UTC)

    def append(self, entry: dict[str, str]) -> None:
        """Write an acknowledged message to disk."""
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def count(self, action: str, problem: str | None) -> None:
        """Count an action."""
        if problem is None:
            self._acknowledged[action] += 1
            self._last["acknowledged_at"] = datetime.now(UTC).isoformat()
        else:
            self._failed[action] += 1
            self._last |= {
                "failed_at": datetime.now(UTC).isoformat(),
                "failed_because": f"{action}: {problem}",
            }

    def summarise(self) -> None:
        """Write the figures; a reader never sees half of them."""
        body = {
            "started_at": self._begun.isoformat(),
            "updated_at": datetime.now(UTC).isoformat(),
            "acknowledged": {action: self._acknowledged[action] for action in SHARES},
            "failed": {action: self._failed[action] for action in SHARES},
            "last": self._last,
        }
        scratch = self._summary.with_suffix(".new")
        scratch.write_text(json.dumps(body, indent=1) + "\n")
        scratch.replace(self._summary)


async def one_action(user: User, action: str, journal: Journal) -> None:
    """Carry out and count one action."""
    problem = None
    try:
        await user.act(action)
    except (ActionFailed, httpx.HTTPError, ValueError, KeyError) as error:
        problem = str(error) or type(error).__name__
    journal.count(action, problem)


async def drive(users: Sequence[User], rate: float, journal: Journal, stop: asyncio.Event) -> None:
    """Start ``rate`` actions a second until told to stop; at most five seconds' worth are under way."""
    under_way: set[asyncio.Task[None]] = set()
    turn, written = 0, 0.0
    while not stop.is_set():
        if len(under_way) < rate * TIMEOUT_SECONDS:
            action = random.choices(list(SHARES), weights=list(SHARES.values()))[0]  # noqa: S311 - no secret
            task = asyncio.create_task(one_action(users[turn % len(users)], action, journal))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            turn += 1
        if time.monotonic() - written > SUMMARY_SECONDS:
            written = time.monotonic()
            journal.summarise()
        try:
            await asyncio.wait_for(stop.wait(), 1 / rate)
        except TimeoutError:
            continue
    await asyncio.gather(*under_way)
    journal.summarise()


async def run(settings: LabSettings, rate: float) -> None:
    """Keep users working until SIGTERM or SIGINT."""
    env, stop = read_env(settings.env_file), asyncio.Event()
    if not env:
        sys.exit(f"no lab {settings.project} under {settings.state}: start it with `python -m infra.lab up`")
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    journal = Journal(settings.folder)
    url = f"http://127.0.0.1:{env['PORT_PROXY']}"
    async with httpx.AsyncClient(base_url=url, timeout=TIMEOUT_SECONDS, trust_env=False) as client:
        await drive([User(client, name, env, journal) for name in ACCOUNTS], rate, journal, stop)


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m infra.lab.traffic", description="Users of the lab.")
    parser.add_argument(
        "--lab-state", type=Path, default=Path(".dr"), help="the state folder given to the lab"
    )
    parser.add_argument("--project", default="dr-lab", help="the lab's Compose project")
    parser.add_argument("--rate", type=float, default=10.0, help="actions a second")
    given = parser.parse_args()
    if given.rate <= 0:
        parser.error("--rate must be more than 0")
    asyncio.run(run(LabSettings(state=given.lab_state, project=given.project), given.rate))


if __name__ == "__main__":
    main()
