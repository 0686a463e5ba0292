"""Segments without the zeros at their end come back as they were."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import BackupUnusable
from domain.trimming import HEADER_BYTES, MAGIC, trimmed, untrimmed

contents = st.builds(lambda held, zeros: held + bytes(zeros), st.binary(max_size=300), st.integers(0, 300))


@given(contents, st.integers(1, 40))
def test_any_content_comes_back_however_it_arrives(content: bytes, step: int) -> None:
    small = trimmed(content)
    pieces = [small[at : at + step] for at in range(0, len(small), step)]
    assert b"".join(untrimmed(pieces)) == content


@given(contents)
def test_no_zero_at_the_end_is_kept(content: bytes) -> None:
    assert len(trimmed(content)) == HEADER_BYTES + len(content.rstrip(b"\0"))


@given(st.binary(max_size=300).filter(lambda held: not held.startswith(MAGIC)), st.integers(1, 40))
def test_what_was_never_trimmed_passes_as_it_is(content: bytes, step: int) -> None:
    pieces = [content[at : at + step] for at in range(0, len(content), step)]
    assert b"".join(untrimmed(pieces)) == content


def test_a_segment_that_is_mostly_zeros_is_small_and_one_of_many_megabytes_comes_back() -> None:
    segment = b"\x10\xd1" + b"x" * 1000 + bytes(16 * 1024 * 1024 - 1002)
    assert len(trimmed(segment)) < 1100
    assert b"".join(untrimmed([trimmed(segment)])) == segment


@pytest.mark.parametrize("length", [0, 2, 2**40, 2**64 - 1])
def test_a_length_that_no_segment_has_is_refused_before_anything_is_made_of_it(length: int) -> None:
    with pytest.raises(BackupUnusable, match="offsite-damaged"):
        b"".join(untrimmed([MAGIC + length.to_bytes(8, "big") + b"xyz"]))
