"""The WAL off-site has to follow the base backup that is there: a gap is named before anybody needs it."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from activities.alone import alone
from activities.bucket import Bucket, FarObject
from tests.hands.offsite.place import BASE, NOW, SEGMENT_BYTES, SEGMENTS, Place, some_bytes


def judged(place: Place) -> tuple[bool | None, str]:
    """Return whether the WAL follows the base backup off-site, and what is said of it."""
    (found,) = [one for one in place.list().entries if one.id == BASE]
    return found.follows, found.wal


def lose(place: Place, *names: str) -> None:
    """Remove segments from the far side, as only somebody else can."""
    keys = [key for key in place.far() if "/wal/" in key and key[:-7].rsplit("/", 1)[-1] in names]
    assert len(keys) == len(names)
    for key in keys:
        place.client.delete_object(Bucket=place.bucket, Key=key)


def add(place: Place, *names: str) -> None:
    for number, name in enumerate(names):
        path = place.shelf / "postgres/wal/0001" / name
        path.write_bytes(some_bytes(SEGMENT_BYTES, 50 + number))


def test_wal_that_follows_the_base_backup_to_the_newest_there_is_said(place: Place) -> None:
    place.copy()
    assert judged(place) == (True, f"4 WAL segments from {SEGMENTS[1]} to {SEGMENTS[-1]}")


@pytest.mark.parametrize("number", [1, 2, 3], ids=["the end of the backup", "in the middle", "just before"])
def test_a_segment_that_is_missing_behind_the_base_backup_is_named(place: Place, number: int) -> None:
    place.copy()
    lose(place, SEGMENTS[number])
    follows, said = judged(place)
    assert follows is False
    assert SEGMENTS[number] in said
    # What lies before the start of the backup is not missed.
    place.copy()
    lose(place, SEGMENTS[0])
    assert judged(place)[0] is True


def test_a_base_backup_with_no_wal_at_all_proves_nothing(place: Place) -> None:
    own = place.shelf / "postgres/base" / BASE / "data/pg_wal" / SEGMENTS[1]
    own.write_bytes(some_bytes(SEGMENT_BYTES, 1))
    place.copy()
    lose(place, *SEGMENTS)
    follows, said = judged(place)
    assert follows is False
    assert f"{SEGMENTS[1]} is missing" in said
    place.copy()
    lose(place, SEGMENTS[1])
    assert judged(place)[0] is True, "the backup brings this one itself"


def test_a_segment_that_a_copying_is_bringing_just_now_is_not_missed(place: Place) -> None:
    place.copy()
    lose(place, SEGMENTS[2])
    with alone(place.directory / "state", "offsite-lab"):
        follows, said = judged(place)
        assert follows is True
        assert f"a copying is at work, which brings {SEGMENTS[2]}" in said
        (place.shelf / "postgres/wal/0001" / SEGMENTS[2]).unlink()
        assert judged(place)[0] is False, "this one nobody brings"


def test_wal_of_a_later_timeline_is_followed_by_its_history_or_missed_without(place: Place) -> None:
    later = [f"0000000200000000000000{number:02X}" for number in (7, 8, 9)]
    add(place, *later)
    place.copy()
    assert judged(place) == (True, f"5 WAL segments from {SEGMENTS[1]} to {later[-1]}")
    lose(place, later[1])
    assert later[1] in judged(place)[1]
    lose(place, "00000002.history")
    follows, said = judged(place)
    assert follows is False
    assert "00000002.history is missing" in said


def test_wal_that_lay_there_before_the_backup_began_is_of_another_server_and_none_of_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    strange = "0000000100000000000000FF"
    add(place, strange)
    place.copy()
    assert judged(place)[0] is False
    listed = Bucket.listed

    def earlier(bucket: Bucket, prefix: str, **given: str) -> Iterator[FarObject]:
        for one in listed(bucket, prefix, **given):
            yield replace(one, modified=NOW - timedelta(days=9)) if strange in one.key else one

    monkeypatch.setattr(Bucket, "listed", earlier)
    assert judged(place)[0] is True


def test_without_the_key_the_wal_is_not_called_followed(place: Place) -> None:
    place.copy()
    (place.directory / "state" / "keys").rename(place.directory / "elsewhere")
    assert judged(place)[0] is None
