"""An index that there was no time to read to its end was not measured."""

from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest

from activities.postgres import index_pages
from domain.diagnosis import Finding

WHOLE = bytes(8192)
INDEX = ("public.words", "base/5/1", 1024, 8192, 131072)


class Pages:
    """A server with one index of empty pages."""

    def execute(self, *_: object, **_more: object) -> "Pages":
        return self

    def fetchall(self) -> list[tuple[object, ...]]:
        return [INDEX]

    def fetchone(self) -> tuple[bytes]:
        return (WHOLE * 128,)


@pytest.mark.parametrize(("seconds", "finding"), [(3.5, Finding.NOT_MEASURED), (1e6, Finding.SOUND)])
def test_an_index_that_was_not_read_to_its_end_is_not_called_sound(
    seconds: float, finding: Finding, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = count()
    stepping = SimpleNamespace(monotonic=lambda: float(next(clock)))
    monkeypatch.setattr("activities.postgres.index_pages.time", stepping)
    monkeypatch.setattr(index_pages, "beat", lambda _: None)
    connection: Any = Pages()
    found = index_pages.look_at_index_pages(connection, limit_seconds=seconds)
    assert found is not None
    assert found.finding is finding
