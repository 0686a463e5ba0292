"""What is decided about Redis' files without touching any."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import Refused
from domain.redis_backups import (
    Census,
    RedisFiles,
    aof_limitation,
    count_limitation,
    key_of,
    manifest_files,
    manifest_limitation,
    refuse,
    spelled,
    version_limitation,
    version_of,
)

MANIFEST = """file appendonly.aof.2.base.rdb seq 2 type b
file appendonly.aof.1.incr.aof seq 1 type h
file appendonly.aof.2.incr.aof seq 2 type i
"""


@given(st.binary(max_size=60))
def test_every_key_is_spelled_so_that_it_is_found_again(key: bytes) -> None:
    assert key_of(spelled(key)) == key
    assert spelled(key).isprintable()


def test_a_key_that_looks_like_our_spelling_of_another_is_not_taken_for_it() -> None:
    assert spelled(b"user:1") == "user:1"
    assert spelled(b"hex:00") != "hex:00"
    assert key_of(spelled(b"hex:00")) == b"hex:00"


@pytest.mark.parametrize(
    ("backup", "server", "limited"),
    [
        ("7.0.15", "7.0.5", False),
        ("7.0.15", "8.0.6", False),
        ("8.0.6", "7.4.1", True),
        ("7.4.0", "7.2.9", True),
        ("10.0.0", "9.9.9", True),
        ("", "7.0.5", False),
        ("7.0.15", "nobody knows", True),
    ],
)
def test_what_a_newer_redis_wrote_is_not_given_to_an_older_one(
    backup: str,
    server: str,
    limited: bool,  # noqa: FBT001 - a parameter of the table
) -> None:
    reason = version_limitation(backup, server)
    assert (reason is not None) is limited
    if reason and backup == "8.0.6":
        assert "8.0.6" in reason


def test_a_version_is_its_first_two_numbers() -> None:
    assert version_of("8.0.2") == (8, 0)
    assert version_of("v=7.10.1 sha=00") == (7, 10)
    assert version_of("unknown") is None


@pytest.mark.parametrize(
    ("paths", "said"),
    [
        (("appendonly.aof",), "appendonly.aof alone is no append-only directory"),
        (("appendonlydir/appendonly.aof.1.incr.aof",), "the manifest is missing"),
        (("a/x.manifest", "b/x.manifest"), "2 manifests"),
        ((), "the manifest is missing"),
    ],
)
def test_what_is_no_whole_append_only_directory_is_named(paths: tuple[str, ...], said: str) -> None:
    assert said in (aof_limitation(paths) or "")


def test_a_whole_append_only_directory_is_taken() -> None:
    assert aof_limitation(("d/a.aof.manifest", "d/a.aof.1.base.rdb", "d/a.aof.1.incr.aof")) is None


def test_a_manifest_is_read_and_compared_with_the_files_beside_it() -> None:
    names = [name for name, _ in manifest_files(MANIFEST)]
    assert [kind for _, kind in manifest_files(MANIFEST)] == ["b", "h", "i"]
    assert manifest_limitation(MANIFEST, names) is None
    assert "which is not there" in (manifest_limitation(MANIFEST, names[:1]) or "")
    assert "lists no file" in (manifest_limitation("# nothing\n", names) or "")


@pytest.mark.parametrize("name", ["../x", "a/b", "", "a b", "-x", "$(x)"])
def test_a_file_name_that_leads_elsewhere_is_refused(name: str) -> None:
    for field in ("snapshot", "aof_directory", "aof_name"):
        with pytest.raises(Refused):
            RedisFiles.model_validate({field: name}).checked()


def test_a_reason_becomes_a_refusal_and_none_does_not() -> None:
    refuse(None, "x", "backup-torn")
    with pytest.raises(Refused, match="because") as refused:
        refuse("because", "x", "backup-torn")
    assert refused.value.code == "backup-torn"


@pytest.mark.parametrize(
    ("before", "after", "held", "well"),
    [
        ((200, 10), (200, 14), 200, True),
        ((200, 10), (200, 14), 196, True),
        ((200, 10), (200, 14), 195, False),
        ((200, 10), (200, 14), 0, False),
        ((200, 10), (200, 14), 205, False),
        ((200, 10), (100, 10**6), 50, True),
        ((200, 10), (100, 10**6), 49, False),
        ((1, 10), (1, 10**6), 0, False),
        ((0, 10), (0, 12), 0, True),
        ((0, 10), (900, 10**6), 0, True),
        ((0, 10), (900, 10**6), 800, True),
        ((200, 10**6), (200, 5), 99, False),
        ((200, 10**6), (200, 5), 100, True),
    ],
)
def test_a_copy_that_holds_too_few_or_too_many_keys_is_none_of_that_server(
    before: tuple[int, int], after: tuple[int, int], held: int, *, well: bool
) -> None:
    first, last = (Census(keys=keys, done=done) for keys, done in (before, after))
    said = count_limitation(first, last, held)
    assert (said is None) is well, said
    if said is not None:
        assert f"{held:,} keys" in said
