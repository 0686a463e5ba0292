"""Decorated clients: every change that a worker makes outside itself is numbered, and may be disturbed.

The worker is the product's own program. What is decorated is where its clients meet the outside: requests
to the Docker engine that are not reads, SQL that changes something, HTTP requests that are not reads, and
changes of files below the state and the shelf. Beginning and end of each hand are numbered too: they are the
boundaries of the steps.
"""

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import psycopg
from docker.api.client import APIClient
from temporalio import activity

from tests.faults.harness import stores
from tests.faults.harness.plan import Effect, Folder, Side, masked
from worker.liveness import _Alive

_CHANGING = re.compile(
    r"^\s*(INSERT|UPDATE|DELETE|CREATE|ALTER|DROP|TRUNCATE|REINDEX|VACUUM|CHECKPOINT|GRANT|REVOKE|COMMENT|CALL)\b"
    r"|\bpg_(switch_wal|promote|terminate_backend|cancel_backend|create_\w*slot|create_restore_point"
    r"|drop_replication_slot|reload_conf|wal_replay_(pause|resume)|logical_emit_message)\(",
    re.IGNORECASE,
)
_CHANGING_PROGRAMS = re.compile(r"kill -HUP|pg_terminate_backend|\b(mv|rm|cp) ")
_READS = {"GET", "HEAD", "OPTIONS"}


class InjectedFault(RuntimeError):
    """What a caller sees of an effect that was made to fail."""


class Numbering:
    """Numbers the effects of a worker across its deaths, and strikes where the plan says."""

    def __init__(self, folder: Folder) -> None:
        """Go on where the worker that died stopped counting."""
        self._folder = folder
        self._lock = threading.Lock()
        self._inside = threading.local()

    @property
    def forgetful(self) -> str:
        """The step whose hand is made not to be safe to run twice, or an empty text."""
        return self._folder.forgetful()

    @property
    def wide(self) -> bool:
        """Whether what happens by handle is numbered too."""
        return self._folder.wide

    def around(self, client: str, label: str, effect: Callable[[], Any]) -> Any:
        """Run an effect between its two sides; effects inside an effect are part of it."""
        if getattr(self._inside, "now", False) or not activity.in_activity() or not self._folder.armed:
            return effect()
        made = self._number(client, label)
        self.strike(made, "before")
        self._inside.now = True
        try:
            answer = effect()
        finally:
            self._inside.now = False
        self.strike(made, "after")
        return answer

    async def hand(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """Run a hand between its two sides, which are the boundaries of its step."""
        if not self._folder.armed:
            return await call()
        made = self._number("step", "hand")
        await asyncio.to_thread(self.strike, made, "before")
        answer = await call()
        await asyncio.to_thread(self.strike, made, "after")
        return answer

    def _number(self, client: str, label: str) -> Effect:
        info = activity.info()
        # A hand without a step of its own has a number for its id, which other faults shift.
        step = info.activity_type if info.activity_id.isdigit() else info.activity_id
        label = masked(label)
        with self._lock:
            known = self._folder.effects()
            same = Counter((e.step, e.client, e.label) for e in known)[step, client, label]
            made = Effect(len(known) + 1, step, client, label, same + 1, os.getpid())
            self._folder.add(made)
        return made

    def strike(self, effect: Effect, side: Side) -> None:
        """Do what a plan says when this is its place."""
        plan = self._folder.fire(effect, side)
        if plan is None:
            return
        if plan.act == "raise":
            raise InjectedFault(f"{side} {effect}")
        if plan.act == "delay":
            time.sleep(plan.seconds)
            return
        number = signal.SIGKILL if plan.act == "kill" else signal.SIGSTOP
        # The worker comes last: it cannot kill anybody afterwards.
        for victim in sorted(plan.victims):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._folder.victim(victim), number)


def install(folder: Folder, roots: tuple[Path, ...]) -> None:
    """Decorate the clients of this process."""
    numbering = Numbering(folder)
    _docker(numbering)
    _sql(numbering)
    _http(numbering)
    _files(numbering, roots)
    _by_handle(numbering)
    stores.install(numbering)
    _hands(numbering)


def _hands(numbering: Numbering) -> None:
    original = _Alive.execute_activity

    async def execute(self: _Alive, input: Any) -> Any:  # noqa: A002 - the SDK names it so
        _forget(numbering, input)
        return await numbering.hand(lambda: original(self, input))

    _Alive.execute_activity = execute  # type: ignore[method-assign] # that is the decoration


def _forget(numbering: Numbering, given: Any) -> None:
    """Make the hand of a step forget what its earlier attempts did, when a test asks for that."""
    info = activity.info()
    if numbering.forgetful == info.activity_id:
        order = given.args[0]
        given.args = [order.model_copy(update={"label": f"{order.label}-{info.attempt}"})]


def _docker(numbering: Numbering) -> None:
    original = APIClient.request
    programs: dict[str, str] = {}

    def request(self: APIClient, method: str, url: str, *given: Any, **named: Any) -> Any:
        def effect() -> Any:
            return original(self, method, url, *given, **named)

        if method.upper() in _READS:
            return effect()
        path = re.sub(r"^.*?/v[0-9.]+/", "", url.split("?", maxsplit=1)[0])
        if path.endswith("/exec"):
            # What is created here changes nothing before it is started, by an id of its own.
            answer = effect()
            command = json.loads(named.get("data") or "{}").get("Cmd") or [""]
            programs[str(answer.json().get("Id", ""))] = " ".join(str(word) for word in command)
            return answer
        label = f"{method.upper()} {path} {(named.get('params') or {}).get('name', '')}".strip()
        if path.startswith("exec/"):
            line = programs.pop(path.split("/")[1], "")
            if not _CHANGING_PROGRAMS.search(line):
                return effect()
            label = f"exec {line.split()[0]} {' '.join(line.split()[-3:])}"
        return numbering.around("docker", label, effect)

    APIClient.request = request  # type: ignore[method-assign,assignment] # that is the decoration


def _sql(numbering: Numbering) -> None:
    original = psycopg.Cursor.execute

    def execute(self: Any, query: Any, *given: Any, **named: Any) -> Any:
        text = (
            query
            if isinstance(query, str)
            else query.decode()
            if isinstance(query, bytes)
            else query.as_string(None)
        )
        found = _CHANGING.search(text)
        if found is None:
            return original(self, query, *given, **named)
        label = " ".join(text.split())[:60]
        return numbering.around("sql", label, lambda: original(self, query, *given, **named))

    psycopg.Cursor.execute = execute  # type: ignore[method-assign]


def _http(numbering: Numbering) -> None:
    original = httpx.HTTPTransport.handle_request

    def handle(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        if request.method in _READS:
            return original(self, request)
        label = f"{request.method} {request.url.path}"
        answer: httpx.Response = numbering.around("http", label, lambda: original(self, request))
        return answer

    httpx.HTTPTransport.handle_request = handle  # type: ignore[method-assign]


def _by_handle(numbering: Numbering) -> None:
    """Decorate what changes names relative to an open directory, where a test asks for that."""
    rename, mkdir = os.rename, os.mkdir

    def renamed(src: Any, dst: Any, *given: Any, **named: Any) -> None:
        if named.get("src_dir_fd") is None or not numbering.wide:
            rename(src, dst, *given, **named)
            return
        numbering.around("file", f"name {dst}", lambda: rename(src, dst, *given, **named))

    def made(path: Any, *given: Any, **named: Any) -> None:
        above = named.get("dir_fd")
        # What is there already is not made: that could not fail after it happened.
        if above is None or not numbering.wide or os.access(path, os.F_OK, dir_fd=above):
            mkdir(path, *given, **named)
            return
        numbering.around("file", f"make {path}", lambda: mkdir(path, *given, **named))

    os.rename, os.mkdir = renamed, made


def _files(numbering: Numbering, roots: tuple[Path, ...]) -> None:
    def ours(path: Any) -> bool:
        return any(Path(str(path)).is_relative_to(root) for root in roots)

    def decorated(owner: Any, method: str) -> None:
        original = getattr(owner, method)

        def change(path: Any, *given: Any, **named: Any) -> Any:
            reads = method == "open" and not set("wax+") & set(
                str((given[:1] or [named.get("mode", "r")])[0])
            )
            # A draft beside its place is nothing to anybody before it is renamed.
            if (
                reads
                or not ours(path)
                or (method == "open" and "a" not in str(given[:1] or named.get("mode", "r")))
            ):
                return original(path, *given, **named)
            root = next(root for root in roots if Path(str(path)).is_relative_to(root))
            place = str(Path(str(path)).relative_to(root))
            return numbering.around("file", f"{method} {place}", lambda: original(path, *given, **named))

        setattr(owner, method, change)

    for method in ("replace", "rename", "unlink", "mkdir", "hardlink_to", "open"):
        decorated(Path, method)
    decorated(shutil, "rmtree")
