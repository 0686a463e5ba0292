"""A worker that dies after any of its effects: the next attempt ends as if nothing had happened.

Death is more than an error: once it has come, nothing of the attempt has an effect any more, so that none of
its ``finally`` cleans up.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from activities import entries
from activities.engine import Engine
from activities.postgres.release import Releasing
from activities.records import Records
from activities.redis_saving import KIND as JOURNAL
from activities.redis_server import RedisServer
from activities.tokens import Tokens
from domain.redis_restore import RedisRestoreOrder
from domain.release import ReleaseOrder
from tests.hands.redis_store.conftest import Store

pytestmark = [pytest.mark.hand, pytest.mark.long]

REWRITES = "auto-aof-rewrite-percentage"
EFFECTS: dict[Any, tuple[str, ...]] = {
    Engine: ("ensure_job", "start", "stop", "remove", "set_restart", "ensure_volume", "remove_volume"),
    RedisServer: ("set", "save_in_background"),
    Records: ("write", "write_once", "remove"),
    entries: ("publish",),
    shutil: ("rmtree",),
}


class DeadError(BaseException):
    """The worker is no more."""


@contextmanager
def dying_after(number: int) -> Iterator[list[str]]:
    """Let the worker die after so many effects; give out the names of those it had."""
    had: list[str] = []

    def around(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def effect(*given: Any, **named: Any) -> Any:
            if len(had) >= number:
                raise DeadError
            answer = original(*given, **named)
            had.append(name)
            if len(had) >= number:
                raise DeadError
            return answer

        return effect

    with pytest.MonkeyPatch.context() as patch:
        for owner, names in EFFECTS.items():
            for name in names:
                patch.setattr(owner, name, around(name, getattr(owner, name)))
        yield had


def test_a_backup_that_was_killed_after_any_effect_is_taken_by_the_next_attempt(store: Store) -> None:
    number, ended = 0, False
    while not ended:
        number += 1
        with dying_after(number) as had:
            try:
                store.back_up(f"attempt {number}")
                ended = True
            except DeadError:
                pass
        made = store.back_up(f"attempt {number}")
        found, strangers = entries.read_entries(store.shelf)
        assert sorted(entry.kind for entry in found) == ["aof", "rdb"], had
        assert {entry.id for entry in found} == {entry.id for entry in made.entries}, had
        assert (strangers, store.left()) == ([], []), had
        assert Records(store.state).read(JOURNAL, f"{store.project}-redis") is None, had
        with store.connect() as client:
            assert client.config_get(REWRITES)[REWRITES] == "100", had
        shutil.rmtree(store.shelf)
    assert number > 20


def test_a_restore_that_was_killed_after_any_effect_is_ended_by_the_next_attempt(store: Store) -> None:
    store.back_up()
    entry = next(e for e in entries.read_entries(store.shelf)[0] if e.kind == "rdb")
    number, ended = 0, False
    while not ended:
        number += 1
        rid = f"20261122T1600Z-{number:08x}"
        order = RedisRestoreOrder(target=store.target, entry_id=entry.id, recovery_id=rid)
        with store.connect() as client:
            client.flushall()
            client.set("lost", number)
        with dying_after(number) as had:
            try:
                store.restoring.ensure_redis_restored(order)
                ended = True
            except DeadError:
                pass
        made = store.restoring.ensure_redis_restored(order)
        assert made.keys == 207, had
        with store.connect() as client:
            assert client.get("lost") is None, had
        assert store.raw["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped", had
        Releasing(store.engine, Tokens(store.state), store.state).ensure_released(
            ReleaseOrder(release_of=rid)
        )
        assert store.left() == [], had
    assert number > 20
