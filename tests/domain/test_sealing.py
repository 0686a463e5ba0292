"""The sealed form: what was changed in any way does not open, and what is sealed again is the same."""

import os
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.sealing import (
    LISTING,
    SUFFIX,
    Clear,
    FindKey,
    Held,
    Sealed,
    digest_of,
    open_directory,
    open_file,
    opened_chunks,
    repeatable,
    seal_directory,
    seal_file,
)
from domain.errors import BackupUnusable, Refused
from domain.sealing import (
    HEADER_BYTES,
    MAGIC,
    OVERHEAD_BYTES,
    SALT_BYTES,
    BackupKey,
    Header,
    Seal,
    read_header,
    repeatable_salt,
    sealed_bytes,
)

KEY = BackupKey(b"k" * 32)
OTHER = BackupKey(b"o" * 32)
CHUNK = 64
CONTEXT = "lab/redis/rdb/one/dump.rdb"
CONTENT = bytes(range(256)) * 2  # eight full chunks: the last one is full too
STEP = CHUNK + OVERHEAD_BYTES
contents = st.binary(max_size=5 * CHUNK)


def find(*keys: BackupKey) -> FindKey:
    known = {key.id: key for key in keys}

    def found(key_id: str) -> BackupKey:
        if key_id not in known:
            raise Refused("no such key", code="backup-key-missing")
        return known[key_id]

    return found


def sealed_form(plain: bytes, key: BackupKey = KEY, context: str = CONTEXT) -> Sealed:
    held = Held(plain)
    header = Header(key.id, repeatable_salt(key, context, digest_of(held)), CHUNK)
    return Sealed(held, Seal(key, header, context))


def closed(plain: bytes, key: BackupKey = KEY, context: str = CONTEXT) -> bytes:
    form = sealed_form(plain, key, context)
    return form.read(0, form.size)


def opened(sealed: bytes, key: BackupKey = KEY, context: str = CONTEXT) -> bytes:
    return b"".join(opened_chunks([sealed], find(key), context))


def pieces(text: bytes, sizes: Iterable[int]) -> list[bytes]:
    found, at = [], 0
    for size in sizes:
        found.append(text[at : at + size])
        at += size
    return [*found, text[at:]]


@given(contents, st.lists(st.integers(0, 3 * STEP), max_size=8))
def test_any_bytes_come_back_however_the_sealed_ones_are_cut_into_blocks(
    plain: bytes, sizes: list[int]
) -> None:
    sealed = closed(plain)
    assert len(sealed) == sealed_bytes(len(plain), CHUNK)
    assert b"".join(opened_chunks(pieces(sealed, sizes), find(KEY), CONTEXT)) == plain


@given(contents, st.integers(0, 6 * STEP), st.integers(0, 6 * STEP))
def test_sealed_bytes_are_the_same_from_whatever_place_they_are_read(
    plain: bytes, offset: int, length: int
) -> None:
    assert sealed_form(plain).read(offset, length) == closed(plain)[offset : offset + length]


@given(contents)
def test_what_is_sealed_twice_is_the_same_and_what_differs_shares_no_nonce(plain: bytes) -> None:
    assert closed(plain) == closed(plain)
    changed = closed(plain + b"!")
    nonces = {changed[at : at + 12] for at in range(HEADER_BYTES, len(changed), STEP)}
    mine = closed(plain)
    assert not nonces & {mine[at : at + 12] for at in range(HEADER_BYTES, len(mine), STEP)}


def test_a_file_that_changes_after_it_was_hashed_meets_no_nonce_twice() -> None:
    """The salt was derived from other bytes than those that are sealed: a counter would be used again."""
    seal = Seal(KEY, Header(KEY.id, b"s" * SALT_BYTES, CHUNK), CONTEXT)
    before, after = seal.close(3, b"a" * CHUNK, last=False), seal.close(3, b"b" * CHUNK, last=False)
    assert before[:12] != after[:12]
    assert seal.close(3, b"a" * CHUNK, last=False) == before
    assert seal.close(4, b"a" * CHUNK, last=False)[:12] != before[:12]


@pytest.mark.parametrize("plain", [b"", b"x", CONTENT, CONTENT[:-1]], ids=["empty", "one", "full", "short"])
def test_every_truncation_is_refused(plain: bytes) -> None:
    sealed = closed(plain)
    for length in range(len(sealed)):
        with pytest.raises((BackupUnusable, Refused)):
            opened(sealed[:length])


@pytest.mark.parametrize("plain", [b"", b"x", CONTENT], ids=["empty", "one", "full"])
def test_every_flipped_bit_is_refused(plain: bytes) -> None:
    sealed = closed(plain)
    for at in range(len(sealed)):
        for bit in range(8):
            changed = bytearray(sealed)
            changed[at] ^= 1 << bit
            with pytest.raises((BackupUnusable, Refused)):
                opened(bytes(changed))


@given(contents, st.binary(min_size=1, max_size=2 * STEP))
def test_whatever_is_added_behind_is_refused(plain: bytes, more: bytes) -> None:
    with pytest.raises(BackupUnusable, match="seal-broken"):
        opened(closed(plain) + more)


def chunk(sealed: bytes, number: int) -> bytes:
    begins = HEADER_BYTES + number * STEP
    return sealed[begins : begins + STEP]


@pytest.mark.parametrize(
    "order",
    [(1, 0, 2, 3, 4, 5, 6, 7), (0, 0, 2, 3, 4, 5, 6, 7), (0, 1, 2, 3, 4, 5, 7, 6), (0, 1, 2, 4, 5, 6, 7)],
    ids=["exchanged", "repeated", "the last one earlier", "one left out"],
)
def test_chunks_in_another_order_are_refused(order: tuple[int, ...]) -> None:
    sealed = closed(CONTENT)
    with pytest.raises(BackupUnusable, match="seal-broken"):
        opened(sealed[:HEADER_BYTES] + b"".join(chunk(sealed, number) for number in order))


def test_a_chunk_of_another_file_is_refused_even_in_its_own_place() -> None:
    mine, other = closed(CONTENT), closed(CONTENT, context=f"{CONTEXT}.old")
    mixed = mine[: HEADER_BYTES + 2 * STEP] + chunk(other, 2) + mine[HEADER_BYTES + 3 * STEP :]
    with pytest.raises(BackupUnusable, match="seal-broken"):
        opened(mixed)
    assert opened(mine) == opened(other, context=f"{CONTEXT}.old") == CONTENT


def test_a_file_that_was_moved_to_another_name_is_refused() -> None:
    with pytest.raises(BackupUnusable, match="seal-broken"):
        opened(closed(CONTENT), context="lab/redis/rdb/two/dump.rdb")


def test_a_header_that_names_another_key_of_ours_opens_nothing() -> None:
    sealed = bytearray(closed(CONTENT))
    sealed[len(MAGIC) : len(MAGIC) + 8] = bytes.fromhex(OTHER.id)
    with pytest.raises(BackupUnusable, match="seal-broken"):
        b"".join(opened_chunks([bytes(sealed)], find(KEY, OTHER), CONTEXT))


@pytest.mark.mutant("M16")
def test_without_its_key_nothing_opens() -> None:
    """M16: the key is missing, or a file of its name holds another one."""
    with pytest.raises(Refused, match="backup-key-missing"):
        opened(closed(CONTENT), key=OTHER)
    with pytest.raises(Refused, match="backup-key-wrong"):
        b"".join(opened_chunks([closed(CONTENT)], lambda _: OTHER, CONTEXT))


@pytest.mark.mutant("M16")
@pytest.mark.parametrize("text", [b"", b"PGDMP", b"x" * 4096, MAGIC, MAGIC[:-1] + b"\x02" + bytes(200)])
def test_what_is_in_clear_is_not_taken_for_sealed(text: bytes) -> None:
    """M16: plaintext where encryption is required, and forms that nobody knows."""
    with pytest.raises(Refused, match="not-sealed"):
        opened(text)


@pytest.mark.parametrize("claimed", [0, 1, 63, 65, 8 * 1024 * 1024, 2**32 - 1])
def test_a_header_chooses_no_size_of_its_own(claimed: int) -> None:
    header = Header(KEY.id, b"s" * SALT_BYTES, claimed).encoded()
    with pytest.raises(Refused, match="not-sealed"):
        read_header(header)
    with pytest.raises(Refused, match="not-sealed"):
        opened(header + bytes(1000))


@given(contents, st.integers(0, 6 * STEP), st.integers(1, 6 * STEP))
def test_the_border_lets_sealed_bytes_pass_from_any_place(plain: bytes, offset: int, length: int) -> None:
    form = sealed_form(plain)
    body = form.read(offset, length)
    if body:
        form.require(body, offset)


@given(st.binary(min_size=1, max_size=5 * CHUNK), st.integers(0, 4 * STEP), st.integers(1, 4 * STEP))
def test_the_border_stops_what_is_not_sealed(plain: bytes, offset: int, length: int) -> None:
    form = sealed_form(CONTENT)
    for body in (
        (plain * (1 + length // len(plain)))[:length],
        closed(CONTENT, OTHER)[offset : offset + length],
        closed(CONTENT, context="another")[offset : offset + length],
    ):
        if body and body != form.read(offset, len(body)):
            with pytest.raises(Refused, match="offsite-clear-data"):
                form.require(body, offset)


def test_a_key_does_not_show_its_secret() -> None:
    assert KEY.secret.hex() not in repr(KEY)
    assert "kkkk" not in repr(KEY)
    assert KEY.id != OTHER.id
    with pytest.raises(Refused, match="backup-key-unusable"):
        BackupKey(b"short")


def test_a_file_is_sealed_and_opened_and_chance_makes_each_sealing_another(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(os.urandom(3 * 1024 * 1024 + 17))
    seal_file(tmp_path / "plain", tmp_path / "one", KEY, CONTEXT)
    seal_file(tmp_path / "plain", tmp_path / "two", KEY, CONTEXT)
    assert (tmp_path / "one").read_bytes() != (tmp_path / "two").read_bytes()
    assert (tmp_path / "one").stat().st_mode & 0o777 == 0o600
    open_file(tmp_path / "one", tmp_path / "back", find(KEY), CONTEXT)
    assert (tmp_path / "back").read_bytes() == (tmp_path / "plain").read_bytes()


def test_a_file_that_does_not_open_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"x" * (2 * 1024 * 1024))
    seal_file(tmp_path / "plain", tmp_path / "sealed", KEY, CONTEXT)
    whole = (tmp_path / "sealed").read_bytes()
    (tmp_path / "sealed").write_bytes(whole[:-1])
    with pytest.raises(BackupUnusable):
        open_file(tmp_path / "sealed", tmp_path / "back", find(KEY), CONTEXT)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plain", "sealed"]


def test_a_file_that_becomes_shorter_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "plain"
    path.write_bytes(b"x" * 1000)
    with path.open("rb") as file:
        plain = Clear(file.fileno())
        os.truncate(path, 10)
        with pytest.raises(BackupUnusable, match="file-changed"):
            repeatable(plain, bytes(32), KEY, CONTEXT).read(0, 2000)


def test_a_directory_comes_back_and_a_file_that_is_missing_is_missed(tmp_path: Path) -> None:
    source, target, back = (tmp_path / name for name in ("source", "target", "back"))
    (source / "inner").mkdir(parents=True)
    (source / "inner" / "one.conf").write_bytes(b"secret\n")
    (source / "two").write_bytes(b"")
    target.mkdir()
    back.mkdir()
    seal_directory(source, target, KEY, CONTEXT)
    assert {path.name for path in target.rglob("*") if path.is_file()} == {
        f"one.conf{SUFFIX}",
        f"two{SUFFIX}",
        LISTING,
    }
    assert b"secret" not in b"".join(path.read_bytes() for path in target.rglob("*") if path.is_file())
    open_directory(target, back, find(KEY), CONTEXT)
    assert (back / "inner" / "one.conf").read_bytes() == b"secret\n"
    assert (back / "two").read_bytes() == b""
    (target / f"two{SUFFIX}").unlink()
    with pytest.raises(FileNotFoundError):
        open_directory(target, back, find(KEY), CONTEXT)


def test_a_link_in_a_directory_is_not_followed(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "link").symlink_to("/etc/hostname")
    with pytest.raises(Refused, match="shelf-unusable"):
        seal_directory(source, tmp_path, KEY, CONTEXT)
