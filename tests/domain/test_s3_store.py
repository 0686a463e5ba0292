"""One description of an S3 store, for the off-site copies and for the second store of the objects."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.objects_policy import SecondStore
from domain.offsite import OffsitePolicy
from domain.s3_store import MOST_PARTS, S3Store

LEAST = {"bucket": "copies", "access_key": "env:A", "secret_key": "env:B"}
NOW = datetime(2026, 11, 22, tzinfo=UTC)
BOTH = pytest.mark.parametrize("kind", [OffsitePolicy, SecondStore])


def store(kind: type[S3Store], **changes: Any) -> S3Store:
    return kind.model_validate(LEAST | changes)


@BOTH
def test_three_lines_describe_a_store_and_what_lies_there_has_a_place_of_its_own(kind: type[S3Store]) -> None:
    found = store(kind)
    assert (found.endpoint, found.region, found.parallel) == (None, "us-east-1", 4)
    assert (found.root("shop"), store(kind, prefix="dr").root("shop")) == ("shop/", "dr/shop/")


@BOTH
@given(size=st.integers(0, 2**47))
def test_no_object_has_more_parts_than_a_store_takes(kind: type[S3Store], size: int) -> None:
    part = store(kind).part_bytes(size)
    assert -(-size // part) <= MOST_PARTS
    assert part >= store(kind).part_size


@BOTH
@pytest.mark.parametrize("size", ["4MiB", "513MiB"])
def test_parts_that_no_store_takes_are_refused(kind: type[S3Store], size: str) -> None:
    with pytest.raises(ValidationError, match="from 5MiB to 512MiB"):
        store(kind, part_size=size)


@pytest.mark.parametrize(
    "endpoint", [None, "https://store.example", "http://127.0.0.1:9000", "http://localhost/"]
)
def test_a_way_that_nobody_reads_needs_no_word(endpoint: str | None) -> None:
    assert store(SecondStore, endpoint=endpoint).confidential
    assert store(OffsitePolicy, endpoint=endpoint, encrypt=False).confidential


@pytest.mark.parametrize(
    "endpoint", ["http://store.example", "http://localhost.example", "http://127.0.0.1.example:9000"]
)
def test_a_way_in_clear_is_refused_also_to_a_host_whose_name_begins_like_this_one(endpoint: str) -> None:
    with pytest.raises(ValidationError, match="travel in clear"):
        store(SecondStore, endpoint=endpoint)
    with pytest.raises(ValidationError, match="travel in clear"):
        store(OffsitePolicy, endpoint=endpoint, encrypt=False)


def test_each_store_is_written_to_as_its_own_facts_say() -> None:
    assert store(SecondStore).written_with(NOW) == {}
    assert store(SecondStore, storage_class="STANDARD_IA").written_with(NOW) == {
        "StorageClass": "STANDARD_IA"
    }
    far = store(OffsitePolicy, kms_key="ours", object_lock={"days": 365})
    assert far.written_with(NOW) == {
        "StorageClass": "STANDARD_IA",
        "ServerSideEncryption": "aws:kms",
        "SSEKMSKeyId": "ours",
        "ObjectLockMode": "GOVERNANCE",
        "ObjectLockRetainUntilDate": datetime(2027, 11, 22, tzinfo=UTC),
    }
    plain = store(OffsitePolicy, storage_class="STANDARD", sse="none", encrypt=False)
    assert (plain.written_with(NOW), plain.takes_sealed_alone) == ({}, False)
    assert store(OffsitePolicy).takes_sealed_alone


def test_what_only_off_site_copies_have_is_unknown_in_a_second_store() -> None:
    for key in ("sse", "kms_key", "encrypt", "exclude", "object_lock", "lifecycle"):
        with pytest.raises(ValidationError, match=key):
            store(SecondStore, **{key: None})
