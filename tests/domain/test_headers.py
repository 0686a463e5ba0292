"""What files say of themselves in their first bytes."""

import struct
from datetime import datetime

import pytest

from domain import dump_header, wal_header

SYSTEM = "7412345678901234567"
NAME = "000000010000000000000003"
SIZE = 16 * 1024 * 1024


def page(**other: int) -> bytes:
    stated = {"flags": 2, "timeline": 1, "position": 3 * SIZE, "system": int(SYSTEM), "size": SIZE} | other
    return struct.pack(
        "=HHIQI4xQII",
        *(0xD113, stated["flags"], stated["timeline"], stated["position"], 0),
        *(stated["system"], stated["size"], 8192),
    )


def test_a_segment_that_begins_as_it_is_named_is_its_own() -> None:
    assert wal_header.is_of(page(), NAME, SIZE, SYSTEM)
    assert wal_header.is_of(page(), NAME, SIZE, "")
    # The first segment of a timeline begins with pages of the one that was left.
    assert wal_header.is_of(page(), "00000002" + NAME[8:], SIZE, SYSTEM)


@pytest.mark.mutant("M6")
@pytest.mark.parametrize(
    "first",
    [
        page(system=7),
        page(position=2 * SIZE),
        page(size=SIZE * 2),
        page(flags=0),
        bytes(40),
        b"",
        page()[:39],
    ],
    ids=["another cluster", "another place", "another size", "no first page", "zeroes", "empty", "cut off"],
)
def test_a_segment_with_other_wal_than_its_name_says_is_none(first: bytes) -> None:
    assert not wal_header.is_of(first, NAME, SIZE, SYSTEM)


def number(value: int) -> bytes:
    return b"\0" + value.to_bytes(4, "little")


def dump(minor: int, *, form: int = 1) -> bytes:
    compression = b"\x01" if minor >= 15 else b"\x01" + (1).to_bytes(4, "little")
    times = b"".join(number(one) for one in (30, 15, 2, 22, 10, 126, 0))
    return b"PGDMP" + bytes([1, minor, 0, 4, 8, form]) + compression + times + bytes(40)


@pytest.mark.parametrize("minor", [14, 15, 16])
def test_a_dump_states_when_it_was_made(minor: int) -> None:
    assert dump_header.made_at(dump(minor)) == datetime(2026, 11, 22, 2, 15, 30)  # noqa: DTZ001 - local


@pytest.mark.parametrize(
    "first", [b"", b"PGDMP", dump(15, form=3), b"\x1f\x8b" + bytes(80), b"PGDMP" + b"\xff" * 80]
)
def test_what_is_no_dump_states_nothing(first: bytes) -> None:
    assert dump_header.made_at(first) is None
