"""Contents of objects off-site: names that reveal nothing, and a life that no copy's end ends."""

from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from domain.entries import Entry
from domain.objects_copy import ObjectVersion
from domain.offsite import OffsitePolicy, early_expiry
from domain.offsite_contents import ContentNames, contents_in, contents_root, wanted_rules
from domain.offsite_copies import FarEntry, place_of
from domain.offsite_look import OffsiteList
from domain.sealing import BackupKey, sealed_bytes
from domain.stack import Name
from domain.verification_far import look_far

KEY, OTHER = BackupKey(b"k" * 32), BackupKey(b"o" * 32)
LEAST = {"bucket": "copies", "access_key": "env:A", "secret_key": "env:B", "prefix": "dr"}
ROOT = "dr/lab.objects/"
NOW = datetime(2026, 11, 22, tzinfo=UTC)


def policy(**changes: Any) -> OffsitePolicy:
    return OffsitePolicy.model_validate(LEAST | changes)


@given(st.binary(max_size=64))
def test_a_sealed_content_has_a_name_that_only_its_key_makes(content: bytes) -> None:
    digest = sha256(content).hexdigest()
    name = ContentNames(ROOT, KEY).of(digest)
    assert name == ContentNames(ROOT, KEY).of(digest)
    assert name != ContentNames(ROOT, OTHER).of(digest)
    assert digest not in name
    assert sha256(bytes.fromhex(digest)).hexdigest() not in name
    assert name.startswith(ROOT)
    assert name.endswith(".sealed")


def test_two_contents_have_two_names_and_in_clear_the_digest_is_the_name() -> None:
    digests = [sha256(bytes([n])).hexdigest() for n in range(50)]
    assert len({ContentNames(ROOT, KEY).of(one) for one in digests}) == 50
    assert ContentNames(ROOT, None).of(digests[0]) == f"{ROOT}{digests[0][:2]}/{digests[0]}"
    assert ContentNames(ROOT, None).far_bytes(7) == 7
    assert ContentNames(ROOT, KEY).far_bytes(7) == sealed_bytes(7)


def test_contents_lie_where_the_end_of_copies_does_not_reach() -> None:
    copies, contents = wanted_rules(policy(), "lab")
    assert contents["Filter"] == {"Prefix": contents_root(policy(), "lab")} == {"Prefix": ROOT}
    assert not ROOT.startswith(copies["Filter"]["Prefix"])
    assert copies["Expiration"] == {"Days": 365}
    assert "Expiration" not in contents
    assert contents["Transitions"] == copies["Transitions"]
    assert contents["ID"] != copies["ID"]
    assert early_expiry([copies, contents], ROOT) is None
    assert early_expiry([copies, contents], policy().root("lab")) is None


def test_the_names_of_both_rules_stay_apart_where_they_are_cut_off() -> None:
    long = policy(prefix="p" * 200)
    first, second = wanted_rules(long, "s" * 63)
    assert first["ID"] != second["ID"]
    assert max(len(first["ID"]), len(second["ID"])) <= 255


def test_no_stack_can_be_called_as_the_contents_of_another_one() -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Name).validate_python("lab.objects")
    assert place_of(f"{ROOT}ab/abc.sealed", policy().root("lab")) is None


def test_where_objects_stay_here_no_rule_is_made_for_them() -> None:
    assert len(wanted_rules(policy(objects=False), "lab")) == 1


def test_what_was_deleted_is_no_content() -> None:
    one = ObjectVersion(bucket="uploads", key="a", version="1", modified=NOW, bytes=3, sha256="ab" * 32)
    same = one.model_copy(update={"key": "b"})
    marker = ObjectVersion(bucket="uploads", key="c", version="2", modified=NOW, deleted=True)
    assert contents_in([one, same, marker]) == {"ab" * 32: 3}


@pytest.mark.parametrize(("contents", "said"), [(12, "12 contents of objects"), (None, "are not off-site")])
def test_a_look_at_the_far_side_says_whether_the_objects_are_there(contents: int | None, said: str) -> None:
    far = FarEntry(
        id="20261122T012500Z-copy",
        store="minio",
        kind="copy",
        bytes=1,
        objects=3,
        finished=True,
        copied_at=NOW,
        checked=True,
        contents=contents,
    )
    entry = far_entry(far)
    (_, found) = look_far(OffsiteList(entries=(far,)), [entry], within=None, as_of=NOW)
    assert found.passed
    assert said in found.evidence


def far_entry(far: FarEntry) -> Entry:
    """Return what the shelf has of it; only its kind and its end matter."""
    return Entry(
        id=far.id,
        store=far.store,
        kind=far.kind,
        path=f"{far.store}/{far.kind}/{far.id}",
        started_at=NOW,
        ended_at=NOW,
        bytes=1,
        sha256="0" * 64,
    )
