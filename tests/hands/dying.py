"""Attempts that die at one of their effects, in this process: none of their ``finally`` cleans up any more.

An effect is what others can see: a change that Docker, a store or Hasura was asked for and carried out, or a
name that changed below the shelf or the state. Death before an effect is death after the one before it,
with whatever was written since under no name that counts.
"""

import fcntl
import functools
import json
import math
import os
import re
import shutil
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
import redis
from botocore.httpsession import URLLib3Session
from docker.api.client import APIClient

from tests.faults.harness.plan import masked
from tests.faults.record import Seen

Side = Literal["before", "after"]
MEMORY = Path("/dev/shm")  # noqa: S108 - where clear text is unpacked
SIDES = [
    pytest.param("before", marks=pytest.mark.fault("A1", at_length=True)),
    pytest.param("after", marks=pytest.mark.fault("A2", nightly=True)),
]
"""The same to the outside but for what lies written and unnamed: so both are run at night alone."""
AT_NIGHT = pytest.mark.fault("A1", nightly=True)
"""The mark of the second one of two alike."""
AT_ONCE = 4
"""So often dies what is done once; the next attempt gets further each time."""
_READS = {"GET", "HEAD", "OPTIONS"}
_CHANGED = 300
_REDIS = {"CONFIG SET", "BGSAVE", "SAVE", "BGREWRITEAOF"}
_HASURA_READS = {"export_metadata", "get_inconsistent_metadata"}
_NAMES = ("rename", "replace", "unlink", "remove", "mkdir", "rmdir", "link", "symlink")
_STAYING = {".pgpass", ".incoming"}
_DRAFT = re.compile(r".*\.[0-9a-f]{32}|\..*\.new")


class DeadError(BaseException):
    """The worker is no more."""


@dataclass(frozen=True)
class Place:
    """An effect, as it is known again in another attempt: what is done, and how often before."""

    label: str
    nth: int

    def __str__(self) -> str:
        return f"{self.label} (#{self.nth})"


class Trial(ABC):
    """One hand, and how its end is judged."""

    def __init__(self, *roots: Path) -> None:
        """Names that change below ``roots`` are effects."""
        self.roots = roots
        self.number = 0
        self.died: list[Place] = []
        """Where the attempts died that are judged now."""

    def begin(self) -> None:
        """Make everything ready for the hand to do its work once more."""
        self.number += 1

    @abstractmethod
    def act(self) -> Any:
        """Make one attempt at it."""

    @abstractmethod
    def judge(self, said: Any) -> None:
        """Assert that it ended as an undisturbed one, and that nothing is left over."""


class Life:
    """One attempt: it ends at the first of the places that it comes to."""

    def __init__(self, roots: tuple[Path, ...], doom: list[Place], side: Side) -> None:
        """``doom`` is where it may die."""
        self.effects: list[Place] = []
        self.died_at: Place | None = None
        self._roots = tuple(root.resolve() for root in roots)
        self._doom, self._side = set(doom), side
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._inside = threading.local()

    def around(
        self, label: str, effect: Callable[[], Any], happened: Callable[[Any], bool] = lambda _: True
    ) -> Any:
        """Have an effect, unless this life is over; effects inside an effect are part of it."""
        if getattr(self._inside, "now", False):
            return effect()
        with self._lock:
            self._refuse_dead()
            self._counts[masked(label)] += 1
            place = Place(masked(label), self._counts[masked(label)])
            self._strike(place, "before")
        self._inside.now = True
        try:
            answer = effect()
        finally:
            self._inside.now = False
        with self._lock:
            if happened(answer):
                self.effects.append(place)
                self._refuse_dead()
                self._strike(place, "after")
        return answer

    def place_of(self, path: Any, directory: int | None) -> str | None:
        """Return where a name is below the roots, or ``None`` for one elsewhere."""
        if isinstance(path, int):
            return None
        above = Path(f"/proc/self/fd/{directory}").readlink() if directory is not None else Path.cwd()
        # A link in the last part is itself what is changed.
        whole = above / os.fsdecode(path)
        whole = whole.parent.resolve() / whole.name
        for root in self._roots:
            if whole.is_relative_to(root):
                return str(whole.relative_to(root))
        return None

    def _refuse_dead(self) -> None:
        if self.died_at is not None:
            raise DeadError

    def _strike(self, place: Place, side: Side) -> None:
        if side == self._side and place in self._doom:
            self.died_at = place
            raise DeadError


@contextmanager
def living(roots: tuple[Path, ...], doom: list[Place], side: Side) -> Iterator[Life]:
    """Count the effects of what is done meanwhile, and let it die at its first place of ``doom``."""
    life = Life(roots, doom, side)
    with pytest.MonkeyPatch.context() as patch:
        _docker(life, patch)
        _stores(life, patch)
        _files(life, patch)
        yield life


def _docker(life: Life, patch: pytest.MonkeyPatch) -> None:
    original = APIClient.request

    def request(self: APIClient, method: str, url: str, *given: Any, **named: Any) -> Any:
        def effect() -> Any:
            return original(self, method, url, *given, **named)

        path = re.sub(r"^.*?/v[0-9.]+/", "", url.split("?", maxsplit=1)[0])
        # What is executed in a container here only asks it something.
        if method.upper() in _READS or path.startswith("exec/") or path.endswith("/exec"):
            return effect()
        name = (named.get("params") or {}).get("name", "")
        if path in {"volumes/create", "networks/create"}:
            name = json.loads(named.get("data") or "{}").get("Name", "")
        label = f"docker {method.upper()} {path} {name}".strip()
        return life.around(label, effect, lambda answer: bool(answer.status_code < _CHANGED))

    patch.setattr(APIClient, "request", request)


def _stores(life: Life, patch: pytest.MonkeyPatch) -> None:
    command, send, handle = (
        redis.Redis.execute_command,
        URLLib3Session.send,
        httpx.HTTPTransport.handle_request,
    )

    def asked(self: Any, *words: Any, **named: Any) -> Any:
        def effect() -> Any:
            return command(self, *words, **named)  # type: ignore[no-untyped-call]  # redis has none

        said = " ".join(str(word) for word in words)
        return life.around(f"redis {said}", effect) if words[0] in _REDIS else effect()

    def sent(self: Any, request: Any) -> Any:
        def effect() -> Any:
            return send(self, request)

        if request.method in _READS:
            return effect()
        path = httpx.URL(request.url).raw_path.decode()
        return life.around(
            f"s3 {request.method} {path}", effect, lambda answer: answer.status_code < _CHANGED
        )

    def handled(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        def effect() -> httpx.Response:
            return handle(self, request)

        what = _asked_of_hasura(request)
        if request.method in _READS or what in _HASURA_READS:
            return effect()
        answer: httpx.Response = life.around(
            f"http {request.method} {request.url.path} {what}".strip(), effect
        )
        return answer

    patch.setattr(redis.Redis, "execute_command", asked)
    patch.setattr(URLLib3Session, "send", sent)
    patch.setattr(httpx.HTTPTransport, "handle_request", handled)


def _asked_of_hasura(request: httpx.Request) -> str:
    if request.url.path != "/v1/metadata":
        return ""
    return str(json.loads(request.read()).get("type", ""))


def _files(life: Life, patch: pytest.MonkeyPatch) -> None:
    def around(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        @functools.wraps(original)
        def change(*given: Any, **named: Any) -> Any:
            made = given[1] if name in {"rename", "replace", "link", "symlink"} else given[0]
            directory = named.get("dst_dir_fd", named.get("dir_fd"))
            place = life.place_of(made, directory)
            if place is None:
                return original(*given, **named)
            return life.around(f"file {name} {place}", lambda: original(*given, **named))

        patch.setattr(owner, name, change)

    for name in _NAMES:
        around(os, name)
    around(shutil, "rmtree")


def dies_everywhere(trial: Trial, seen: Seen, side: Side, *, at_least: int) -> None:
    """Let attempts die at every effect that the hand has, each followed by one that ends it."""
    places = _undisturbed(trial)
    assert len(places) >= at_least, "\n".join(map(str, places))
    rounds = math.ceil(len(places) / AT_ONCE)
    # Those of a round lie apart and in order, so that each attempt gets further than the one before.
    missed = [place for turn in range(rounds) for place in _struck(trial, places[turn::rounds], side)]
    for place in missed:
        assert not _struck(trial, [place], side), f"void, it was not come to: {place}"
    seen(f"died {side} each of {len(places)} effects, from {places[0]} to {places[-1]}")


def _undisturbed(trial: Trial) -> list[Place]:
    """Return the effects that there are each time; one that comes and goes cannot be aimed at."""
    found = []
    for _ in range(2):
        trial.begin()
        with living(trial.roots, [], "after") as life:
            said = trial.act()
        trial.died = []
        trial.judge(said)
        found.append(life.effects)
    return [place for place in found[0] if place in set(found[1])]


def _struck(trial: Trial, places: list[Place], side: Side) -> list[Place]:
    """Do the work once through all these deaths, judge its end, and return where nothing came to."""
    trial.begin()
    left, said, ended = list(places), None, False
    while not ended:
        with living(trial.roots, left, side) as life:
            try:
                said, ended = trial.act(), True
            except DeadError:
                assert life.died_at is not None
                left.remove(life.died_at)
        assert not ended or life.died_at is None, f"it went on after its death: {life.died_at}"
    trial.died = [one for one in places if one not in left]
    try:
        trial.judge(said)
    except BaseException as error:
        error.add_note(f"died {side}: {'; '.join(map(str, trial.died))}")
        raise
    return left


def remains(shelf: Path, state: Path) -> list[str]:
    """Return what a dead attempt may leave in files: nothing of it may be there once its work has ended."""
    hidden = [
        path
        for path in shelf.rglob("*")
        if any(part[0] == "." for part in path.relative_to(shelf).parts) and path.name not in _STAYING
    ]
    drafts = [path for path in state.rglob("*") if _DRAFT.fullmatch(path.name)]
    held = [path for path in (state / "locks").glob("*") if is_held(path)]
    return [str(path) for path in (*hidden, *drafts, *held, *(state / "sockets").glob("*"))]


def is_held(path: Path) -> bool:
    """Tell whether somebody still holds a lock."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
