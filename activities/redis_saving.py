"""Makes a server write what is to be copied: a snapshot of its own, append-only files that nobody rewrites.

The rewriting of append-only files is switched off while they are copied. What the setting was is on disk
before it is changed, so that a killed worker's next attempt puts it back (F-J3).
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from activities.offsite_progress import Progress
from activities.pulse import beat
from activities.records import Records
from activities.redis_server import LOADING, BusyError, RedisServer
from activities.room import no_room
from domain.errors import Refused, Unavailable
from domain.progress import keys

KIND = "redis-rewrite"
_SETTING = "auto-aof-rewrite-percentage"
_OFF = "0"
_LIMIT_SECONDS = 4 * 3600.0
_POLL_SECONDS = 0.1


def ensure_saved(server: RedisServer, why_not: Callable[[], str]) -> int:
    """Have the server finish a snapshot that it began after this call; return since when, by its clock.

    One that runs already is waited for and does not count: it may be older than what was asked for.
    ``why_not`` tells what the server's log says. Raises ``Unavailable`` (``redis-save-failed``) or
    ``Refused`` (``no-room``).
    """
    deadline = time.monotonic() + _LIMIT_SECONDS
    while True:
        # What Redis writes down comes from a clock that lags behind this one by a tick.
        asked = server.seconds() - 1
        try:
            server.save_in_background()
            break
        except BusyError as busy:
            _pause(deadline, server, f"waiting until Redis can begin a snapshot: {busy}")
        except Unavailable as error:
            if error.code == LOADING:
                raise
            raise _failed(server, why_not() or error.what) from None
    progress = saving("Redis writes its snapshot")
    while (state := server.info("persistence")).get("rdb_bgsave_in_progress"):
        _pause(deadline, server, how_far(progress, state))
    if state.get("rdb_last_bgsave_status") != "ok":
        raise _failed(server, why_not())
    if int(state.get("rdb_last_save_time", 0)) < asked:
        raise _failed(server, "it ended, and the time of the last snapshot did not move")
    return asked


@contextmanager
def rewrites_held_back(server: RedisServer, records: Records, name: str) -> Iterator[None]:
    """Let nothing rewrite the append-only files meanwhile; one that runs is waited for.

    Afterwards the setting is what it was, also when an attempt before this one died in here.
    """
    settle_rewrites(server, records, name)
    was = server.setting(_SETTING)
    if was is not None and was != _OFF:
        records.write(KIND, name, {"was": was})
        server.set(_SETTING, _OFF)
    try:
        deadline = time.monotonic() + _LIMIT_SECONDS
        while rewrites(server):
            _pause(deadline, server, "waiting for the rewrite of the append-only files to end")
        yield
    finally:
        settle_rewrites(server, records, name)


def settle_rewrites(server: RedisServer, records: Records, name: str) -> None:
    """Put the setting back that an attempt has changed; what people have set since then stays."""
    record = records.read(KIND, name)
    if record is None:
        return
    if server.setting(_SETTING) == _OFF:
        server.set(_SETTING, str(record["was"]))
    records.remove(KIND, name)


def rewrites(server: RedisServer) -> bool:
    """Tell whether the append-only files are rewritten, or will be as soon as possible."""
    state = server.info("persistence")
    return bool(state.get("aof_rewrite_in_progress") or state.get("aof_rewrite_scheduled"))


def _failed(server: RedisServer, said: str) -> Refused | Unavailable:
    what = f"Redis could not write its snapshot: {said or 'its log does not say why'}"
    if "no space left" in said.lower():
        return no_room(what, server.where)
    return Unavailable(
        what,
        where=server.where,
        hint="look at its log, its disk and vm.overcommit_memory of the host",
        code="redis-save-failed",
    )


def _pause(deadline: float, server: RedisServer, sentence: str) -> None:
    if time.monotonic() > deadline:
        raise Unavailable(f"no end of it: {sentence}", where=server.where, code="redis-save-slow")
    beat(sentence)
    time.sleep(_POLL_SECONDS)


def saving(what: str) -> Progress:
    """Return what counts the keys that a child of the server has written."""
    return Progress(what, None, unit=keys)


def how_far(progress: Progress, state: Mapping[str, Any]) -> str:
    """Return how far such a child is, as the server says it; older ones do not."""
    total = int(state.get("current_save_keys_total", 0))
    if total:
        progress.at(int(state.get("current_save_keys_processed", 0)), total)
    return progress.sentence()
